"""
Build wheels from the sources in a lock: source distributions, local directories and git commits.

::

    Source ──identify──▶ SourcePin ──build──▶ Wheel ──unpack──▶ files of the function packages
                         has the digest        stored under that digest

The digest of a layer covers the sources instead of the built wheels, so that it can be computed before a build. The same
sources are built once per store. A build runs the project's own code, so lamina prints a note before each build.
"""
