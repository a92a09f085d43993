"""Say what planned layers will weigh before their wheels are fetched, from the ends of the files alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.archive.placement import Outline, outline
from lamina.archive.zip.directory import locate_directory
from lamina.archive.zip.zipformat import END
from lamina.core.errors import ArchiveError
from lamina.core.values import SourcePin
from lamina.fetch.ranges import Tail, fetch_tails
from lamina.pipeline.layers import LayerPlan

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.values import Layer, Pin
    from lamina.pipeline.context import BuildContext
    from lamina.pipeline.layers import LayerDraft
    from lamina.pipeline.plan import BuildPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class DistributionEstimate:
    """What one distribution will add to a layer, as far as that is known."""

    pin: Pin
    outline: Outline | None
    """``None`` where the server gives no ranges, so that only the download will tell."""
    in_store: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What one layer will be, without bytecode and manifest."""

    name: str
    shares: tuple[DistributionEstimate, ...]

    @property
    def zipped_bytes(self) -> int:
        """Bytes of the zip, of the shares that are known."""
        return sum(share.outline.zipped_bytes for share in self.shares if share.outline)

    @property
    def unzipped_bytes(self) -> int:
        """Bytes that Lambda will count, of the shares that are known: never more than the layer will have."""
        return sum(share.outline.unzipped_bytes for share in self.shares if share.outline)

    @property
    def complete(self) -> bool:
        """Whether every share is known."""
        return all(share.outline for share in self.shares)


def estimate(plan: BuildPlan, context: BuildContext) -> tuple[tuple[Estimate, ...], ...]:
    """
    Return for each target of *plan* the estimate of each of its layers.

    A wheel that is not in the store is asked of its server in small ranges, once for all targets. A layer that would be reused
    has the sizes that were recorded, with bytecode.
    """
    layers = [layer for target in plan.targets for layer in target.layers if _reused(layer) is None]
    pins = {pin.sha256: pin for layer in layers for pin in layer.selection.pins}
    # What is built from sources has no end to look at before.
    wheels = {sha256: pin for sha256, pin in pins.items() if not isinstance(pin, SourcePin)}
    paths = {sha256: context.store.wheel(sha256, pin.filename) for sha256, pin in wheels.items()}
    missing = [] if context.options.offline else [pin for sha256, pin in wheels.items() if paths[sha256] is None]
    tails = dict(zip((pin.sha256 for pin in missing), fetch_tails(missing, context.index, reach=_reach), strict=True))
    for sha256, path in paths.items():
        if path is not None:
            tails[sha256] = _local_tail(path)

    def share(pin: Pin, layer: LayerDraft) -> DistributionEstimate:
        reused = _reused(layer)
        found = _outline(tails.get(pin.sha256), pin, layer) if reused is None else _recorded(reused, pin)
        return DistributionEstimate(
            pin=pin, outline=found, in_store=context.store.wheel(pin.sha256, pin.filename) is not None
        )

    return tuple(
        tuple(
            Estimate(name=layer.name, shares=tuple(share(pin, layer) for pin in layer.selection.pins))
            for layer in target.layers
        )
        for target in plan.targets
    )


def _reused(layer: LayerDraft) -> Layer | None:
    return layer.reused if isinstance(layer, LayerPlan) else None


def _recorded(layer: Layer, pin: Pin) -> Outline | None:
    found = next((each for each in layer.distributions if each.sha256 == pin.sha256), None)
    if found is None:
        return None
    return Outline(zipped_bytes=found.zipped_bytes, unzipped_bytes=found.unzipped_bytes + found.bytecode_bytes)


def _outline(tail: Tail | None, pin: Pin, layer: LayerDraft) -> Outline | None:
    if tail is None:
        return None
    try:
        return outline(tail.data, total=tail.total, name=pin.filename, excluded=layer.recipe.excluded())
    except ArchiveError:
        # Unverified bytes prove nothing: the build itself will fetch the file, check its hash and say what is wrong.
        return None


def _reach(tail: Tail) -> int:
    try:
        return locate_directory(tail.data, total=tail.total, name="a remote wheel").offset
    except ArchiveError:
        return tail.start


def _local_tail(path: Path) -> Tail:
    with path.open("rb") as file:
        total = file.seek(0, os.SEEK_END)
        start = max(0, total - (END.size + 0xFFFF))
        file.seek(start)
        tail = Tail(start=start, data=file.read(), total=total)
        start = _reach(tail)
        file.seek(start)
        return Tail(start=start, data=file.read(), total=total)
