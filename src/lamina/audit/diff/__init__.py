"""
Compare two states of a service: what changes in its layers and packages, and what would be published.

::

    argument ──open_side──▶ Side ─┐
    argument ──open_side──▶ Side ─┴─compare──▶ SideChanges ──▶ text, JSON, Markdown
"""
