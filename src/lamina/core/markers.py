"""Evaluate the markers of requirements, which may be of somebody else and mean nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.version import InvalidVersion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packaging.markers import Marker


def evaluated(marker: Marker, environment: Mapping[str, str]) -> bool | None:
    """Return whether *marker* is true in *environment*; ``None`` if it cannot be evaluated, such as ``'a' < 'b'``."""
    try:
        return marker.evaluate(dict(environment))
    except (InvalidVersion, KeyError, UndefinedComparison, UndefinedEnvironmentName):
        # packaging 26.1 looks up even what is not a variable.
        return None
