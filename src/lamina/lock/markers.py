"""Evaluate markers as locks mean them: with several extras at once, where the marker of a requirement knows one (PEP 751)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from packaging.markers import Marker

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from packaging.markers import Environment

# Both operands are literals, so text is enough; the marker's own grammar checks the rest.
_EXTRA = re.compile(r"""\bextra\s*(==|!=)\s*(['"])([^'"]*)\2""")


def parse_marker(text: str) -> Marker:
    """Return *text* as a marker for `holds`; `ValueError` where it is none."""
    return Marker(_EXTRA.sub(lambda found: f"'{found[3]}' {'in' if found[1] == '==' else 'not in'} extras", text))


def holds(marker: Marker | None, extras: Collection[str], markers: Environment, groups: Collection[str] = ()) -> bool:
    """Return whether *marker* holds under *markers* where all of *extras* and *groups* are chosen at once."""
    variables = {"extras": frozenset(extras), "dependency_groups": frozenset(groups)}
    return marker is None or marker.evaluate({**cast("Mapping[str, str]", markers), **variables}, context="lock_file")
