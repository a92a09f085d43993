"""
Build what a lock holds only as sources into wheels: source distributions, directories, commits.

::

    Source ──identify──▶ SourcePin ──build──▶ Wheel ──unpack──▶ files of the function packages
                         digest known here     admitted to the store under that digest

The digest of a layer covers the sources' identity and not the built bytes, so that it is known before anything is built. Each
identity is built once per store, whoever asks first. Building runs the project's own code; it is announced every time.
"""
