"""
Evaluate markers with several extras selected at once, as locks need (PEP 751).

In the marker of a requirement, ``extra`` is a single name. Here, ``extra == "x"`` is true if ``x`` is among the extras.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from packaging.markers import Marker

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from packaging.markers import Environment

# A regular expression is enough, because both operands are literals; `Marker` validates everything else.
_EXTRA = re.compile(r"""\bextra\s*(==|!=)\s*(['"])([^'"]*)\2""")


def parse_marker(text: str) -> Marker:
    """Parse *text* into a marker for `holds`, with ``extra`` compared as a set. Raises `ValueError` if it is not a marker."""
    return Marker(_EXTRA.sub(lambda found: f"'{found[3]}' {'in' if found[1] == '==' else 'not in'} extras", text))


def holds(marker: Marker | None, extras: Collection[str], markers: Environment, groups: Collection[str] = ()) -> bool:
    """
    Return whether *marker* is true for the marker variables *markers*, with all of *extras* and *groups* selected.

    ``None`` as *marker* is always true.
    """
    variables = {"extras": frozenset(extras), "dependency_groups": frozenset(groups)}
    return marker is None or marker.evaluate({**cast("Mapping[str, str]", markers), **variables}, context="lock_file")
