"""Decide whether the requirement of a layer counts for a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.markers import evaluated

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
    answers = [evaluated(marker, environment) for environment in environments]
    return None in answers or any(answers)
