"""Name the colours of charts. The style sheet defines each for light and dark pages, with enough contrast to text in `INK`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

INK = "var(--ink)"
BAR = "var(--bar)"
"""A bar that is not compared by colour."""
MARKED_BAR = "var(--marked-bar)"
"""The bar of what is configured."""
STANDARD_LIBRARY = "var(--grey-1)"
RUNTIME = "var(--grey-2)"
OWN_CODE = "var(--own)"
_CATEGORIES = 12
"""The number of colours `--c0`, `--c1` … in the style sheet. Neighbours in this order differ most."""


def palette(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each of *names*. After `_CATEGORIES` names, colours repeat."""
    return {name: f"var(--c{number % _CATEGORIES})" for number, name in enumerate(dict.fromkeys(names))}
