"""
Divide the locked distributions among the layers, following each layer's ``minus``, ``without`` and ``only``.

Pure: selections in, selections out. The order of the layers does not matter, because the layers in a layer's ``minus``
are computed first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamina.core.errors import LockError
from lamina.core.frozen import replace
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from lamina.core.values import Pin, Selection
    from lamina.project.service import LayerConfig


def apportion(
    layers: Sequence[LayerConfig], selections: Mapping[str, Selection], *, everywhere: Collection[str] = ()
) -> dict[str, Selection]:
    """
    Return the distributions that each of *layers* contains, by layer name, in the order of *layers*.

    *selections* are the locked distributions of each layer before anything is left out, by layer name. A layer leaves out
    the names in its ``without`` and in *everywhere*, those that are not in its ``only``, and every distribution of the layers
    in its ``minus``. Raises LockError if a distribution has different files in a layer and in a layer of its ``minus``; the
    error lists all such distributions.
    """
    by_name = {layer.name: layer for layer in layers}
    done: dict[str, Selection] = {}
    conflicts: list[str] = []

    def share(layer: LayerConfig) -> Selection:
        if layer.name not in done:
            others = {other: share(by_name[other]) for other in layer.minus}
            left_out = {*layer.without, *everywhere}
            pins = [
                pin
                for pin in selections[layer.name].pins
                if pin.name not in left_out and (layer.only is None or pin.name in layer.only)
            ]
            for other, selection in others.items():
                held = {pin.name: pin for pin in selection.pins}
                conflicts.extend(
                    f"`{pin.name}` differs between layers `{layer.name}` and `{other}` ({_difference(pin, held[pin.name])})"
                    for pin in pins
                    if pin.name in held and pin.sha256 != held[pin.name].sha256
                )
                pins = [pin for pin in pins if pin.name not in held]
            done[layer.name] = replace(selections[layer.name], pins=tuple(pins))
        return done[layer.name]

    shares = {layer.name: share(layer) for layer in layers}
    if conflicts:
        raise LockError(
            f"layers linked by `minus` lock different files: {'; '.join(sorted(conflicts))}",
            hint="select groups and extras that lock the same version in both layers, or remove the layer from `minus`",
        )
    return shares


class UnlockedName(NamedTuple):
    """A name in ``only`` of a layer that its groups and extras do not select for one target."""

    layer: str
    name: str
    known: frozenset[str]
    """The names that they select, for a suggestion."""


def not_locked(
    layers: Sequence[LayerConfig], selections: Mapping[str, Selection], everywhere: Collection[str]
) -> tuple[UnlockedName, ...]:
    """Return each name in ``only`` of *layers* that their groups and extras do not select for one target."""
    found: list[UnlockedName] = []
    for layer in layers:
        selection = selections[layer.name]
        known = frozenset({*(pin.name for pin in selection.pins), *selection.left_out, *everywhere})
        found += [UnlockedName(layer.name, name, known) for name in layer.only or () if name not in known]
    return tuple(found)


def check_locked(targets: Sequence[Iterable[UnlockedName]]) -> None:
    """Raise LockError if ``only`` names a distribution that is locked for none of the *targets*, each as `not_locked` returns it."""
    first, *others = targets
    elsewhere = [{(each.layer, each.name) for each in target} for target in others]
    unknown = [
        f"`{each.name}` in `only` of layer `{each.layer}`{did_you_mean(each.name, each.known)}"
        for each in first
        if all((each.layer, each.name) in names for names in elsewhere)
    ]
    if unknown:
        raise LockError(
            f"not locked for the layer's groups and extras: {'; '.join(unknown)}",
            hint="correct the names, or add the distributions to the dependencies and lock again",
        )


def _difference(pin: Pin, other: Pin) -> str:
    if pin.version != other.version:
        return f"versions {pin.version} and {other.version}"
    return f"files `{pin.filename}` and `{other.filename}`"
