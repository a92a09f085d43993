"""Splice wheels into a store and return their contributions, like a build without a remote store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.archive import layer
from lamina.archive.segment import splice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lamina.archive.layer import Contribution
    from lamina.archive.segment import Recipe, Segment
    from lamina.core.store import Store
    from lamina.core.values import Wheel


def contributions(wheels: Sequence[Wheel], recipe: Recipe, store: Store) -> list[Contribution]:
    by_name = {wheel.pin.name: wheel for wheel in wheels}

    def source(omitted: Mapping[str, frozenset[str]]) -> dict[str, Segment]:
        return {name: splice(by_name[name], recipe, store, omitted=paths) for name, paths in omitted.items()}

    return layer.contributions(by_name, source)
