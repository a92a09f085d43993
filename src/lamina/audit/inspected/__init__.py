"""
Show what is inside a layer by ARN, a function or a zip that somebody else built.

::

    subject ──locate──▶ zips, in the order in which Lambda unpacks them
        each zip ──contents──▶ distributions and other files
                 ──files─────▶ changed files, binaries, bytecode
                 ──matching──▶ modules without metadata, identified by the hashes of their files
        all zips ──shadowing─▶ modules that several zips have

Nothing is unpacked and no code of a zip runs.
"""
