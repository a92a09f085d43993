"""Name the layers of a layout like those that the service has, so that they stay the same layers in AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.frozen import replace
from lamina.core.names import unused
from lamina.project.functions import DEFAULT_LAYER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.advise.values import Layout, LayoutLayer, Needs
    from lamina.project.service import Service


def named(layout: Layout, service: Service, needs: Needs, current: Layout | None) -> Layout:
    """Return *layout* with names of today's layers, so that no other layer is published in their place, the open layer first."""
    everything = frozenset(each.name for each in needs.distributions)
    known, first = {layer.name for layer in service.selected}, first_name(service)
    names: dict[str, str] = {}
    if layout.is_zipped:
        names = {each.name: first for each in layout.layers if each.distributions == everything}
    elif len(layout.layers) > 1 and current is not None:
        names = _same(
            layout, [each for each in current.layers if each.name in known and each.distributions != everything], needs
        )
    taken = {name.lower() for name in names.values()}
    others = {each.name.lower() for each in layout.layers} - {DEFAULT_LAYER}
    sizes = {each.name: each.unzipped_bytes for each in needs.distributions}
    for each in layout.layers:
        if each.name not in names:
            wanted = first if each.name == DEFAULT_LAYER and first.lower() not in others else each.name
            largest = max(sorted(each.distributions), key=lambda name: sizes[name], default=each.name)
            names[each.name] = (
                wanted if wanted.lower() not in taken else unused(largest, {*taken, *map(str.lower, names)})
            )
            taken.add(names[each.name].lower())
    layers = [replace(each, name=names[each.name]) for each in layout.layers]
    return replace(
        layout,
        layers=tuple(sorted(layers, key=lambda each: each.name != first)),
        functions=tuple(replace(each, layers=tuple(names[name] for name in each.layers)) for each in layout.functions),
    )


def first_name(service: Service) -> str:
    """Return the name of the layer of *service* that a new dependency is in."""
    known = [layer.name for layer in sorted(service.selected, key=lambda layer: layer.only is not None)]
    return DEFAULT_LAYER if DEFAULT_LAYER in known or not known else known[0]


def _same(layout: Layout, current: Sequence[LayoutLayer], needs: Needs) -> dict[str, str]:
    """Return the names of *current* layers for those of *layout* that have more than half of their bytes in common."""
    sizes = {each.name: each.unzipped_bytes for each in needs.distributions}

    def weight(names: frozenset[str]) -> int:
        return sum(sizes.get(name, 0) for name in names)

    pairs = sorted(
        (-weight(new.distributions & old.distributions), new.name, old.name)
        for new in layout.layers
        for old in current
        if weight(new.distributions & old.distributions) * 2 > weight(new.distributions | old.distributions)
    )
    found: dict[str, str] = {}
    for _, new, old in pairs:
        if new not in found and old not in found.values():
            found[new] = old
    return found
