"""Evaluate the markers of requirements, which may be of somebody else and mean nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.version import InvalidVersion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.markers import Marker

    from lamina.core.target import Target


def applies(marker: Marker | None, targets: Iterable[Target], extras: Iterable[str] = ()) -> bool:
    """Return whether *marker* is true for one of *targets*, without an extra or with one of *extras*; also if it cannot be evaluated."""
    if marker is None:
        return True
    environments = [
        {**{name: str(value) for name, value in target.markers.items()}, "extra": extra}
        for target in targets
        for extra in ("", *extras)
    ]
    try:
        return any(marker.evaluate(environment) for environment in environments)
    except (InvalidVersion, KeyError, UndefinedComparison, UndefinedEnvironmentName):
        # packaging 26.1 looks up even what is not a variable, as in `'a' < 'b'`.
        return True
