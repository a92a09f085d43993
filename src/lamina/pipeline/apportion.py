"""
Divide what the lock holds among the layers: a distribution that two layers would hold goes into one of them.

Pure set algebra on selections; a layer's ``minus`` is read after that of the layers it names, so order does not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.errors import LockError
from lamina.core.frozen import replace

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from lamina.core.values import Pin, Selection
    from lamina.project.service import LayerConfig


def apportion(
    layers: Sequence[LayerConfig], selections: Mapping[str, Selection], *, everywhere: Collection[str] = ()
) -> dict[str, Selection]:
    """
    Return by name what each of *layers* is to hold of its own share of *selections*, in their order.

    A layer leaves out its ``without``, what the layers of its ``minus`` hold with the same artifact, and the names in
    *everywhere*. Raises LockError naming every distribution of which two such layers would hold different artifacts.
    """
    by_name = {layer.name: layer for layer in layers}
    done: dict[str, Selection] = {}
    conflicts: list[str] = []

    def share(layer: LayerConfig) -> Selection:
        if layer.name not in done:
            others = {other: share(by_name[other]) for other in layer.minus}
            left_out = {*layer.without, *everywhere}
            pins = [pin for pin in selections[layer.name].pins if pin.name not in left_out]
            for other, selection in others.items():
                held = {pin.name: pin for pin in selection.pins}
                conflicts.extend(
                    f"`{pin.name}` is {_difference(pin, held[pin.name])} in layers `{layer.name}` and `{other}`"
                    for pin in pins
                    if pin.name in held and pin.sha256 != held[pin.name].sha256
                )
                pins = [pin for pin in pins if pin.name not in held]
            done[layer.name] = replace(selections[layer.name], pins=tuple(pins))
        return done[layer.name]

    shares = {layer.name: share(layer) for layer in layers}
    if conflicts:
        raise LockError(
            f"Layers cannot leave out what others hold differently: {'; '.join(sorted(conflicts))}",
            hint="choose groups and extras for the two that lock one version, or take the layer out of `minus`",
        )
    return shares


def _difference(pin: Pin, other: Pin) -> str:
    if pin.version != other.version:
        return f"{pin.version} and {other.version}"
    return f"`{pin.filename}` and `{other.filename}`"
