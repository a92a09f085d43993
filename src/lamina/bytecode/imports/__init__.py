"""
Which modules of which distributions a service's handlers can import, found without running any of them.

::

    sources ──scan──▶ Scan ──index──▶ Index (kept in the store) ──resolve──▶ Reachable

Every source is read by an interpreter of the target's minor, so that the answer is the same on every machine.
What it cannot see, a recorded profile adds (`lamina coldstart --record`).
"""

from __future__ import annotations

__all__ = ["FIRST_PARTY", "RECIPE", "version"]

FIRST_PARTY = ""
"""Stands for the service's own code where a distribution's name is asked for."""

RECIPE = 2
"""Number of the way modules are read. Whatever changes what is found in the same source raises it."""


def version() -> str:
    """Return what decides the answer beside the code that is read: this package's own rules."""
    from lamina.bytecode.imports.dynamic import rules_digest  # noqa: PLC0415 - only builds with bytecode ask

    return f"{RECIPE}:{rules_digest()}"
