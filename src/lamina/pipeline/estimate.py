"""Estimate the sizes of planned layers before their wheels are downloaded, from the central directory of each wheel."""

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

    from lamina.core.values import Layer, Package, Pin
    from lamina.pipeline.context import BuildContext
    from lamina.pipeline.layers import LayerDraft
    from lamina.pipeline.plan import BuildPlan, TargetPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class DistributionEstimate:
    """The estimated size that one distribution adds to a layer."""

    pin: Pin
    outline: Outline | None
    """The distribution's sizes; ``None`` if unknown, such as for a source, offline, or without range requests."""
    in_store: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """The estimated size of one layer, without the manifest, and without bytecode unless the layer is reused."""

    name: str
    shares: tuple[DistributionEstimate, ...]
    has_own_code: bool = False
    """Whether the layer also contains the service's own code, which the sizes do not include."""

    @property
    def zipped_bytes(self) -> int:
        """The size of the zip in bytes, counting only distributions of known size."""
        return sum(share.outline.zipped_bytes for share in self.shares if share.outline)

    @property
    def unzipped_bytes(self) -> int:
        """The unzipped size in bytes, counting only distributions of known size; never more than the built layer's size."""
        return sum(share.outline.unzipped_bytes for share in self.shares if share.outline)

    @property
    def complete(self) -> bool:
        """Whether the sizes include everything in the layer: the size of every distribution is known, and there is no own code."""
        return not self.has_own_code and all(share.outline for share in self.shares)


def estimate(plan: BuildPlan, context: BuildContext) -> tuple[tuple[Estimate, ...], ...]:
    """
    Return the estimates of the layers of *plan*, and then of what packages contain, as in `TargetPlan.contents`, grouped by target.

    For a wheel that is not in the store, lamina requests only the end of the file, once for all targets; offline, its size
    is unknown. A layer or zip that would be reused has its recorded sizes, including bytecode.
    """
    planned = [tuple(zip(target.contents, _reused(target), strict=True)) for target in plan.targets]
    layers = [layer for target in planned for layer, reused in target if reused is None]
    pins = {pin.sha256: pin for layer in layers for pin in layer.selection.pins}
    # A distribution that is built from source has no wheel to read yet.
    wheels = {sha256: pin for sha256, pin in pins.items() if not isinstance(pin, SourcePin)}
    paths = {sha256: context.store.wheel(sha256, pin.filename) for sha256, pin in wheels.items()}
    missing = [] if context.options.offline else [pin for sha256, pin in wheels.items() if paths[sha256] is None]
    if missing:
        context.reporter.stage("reading the file indexes of wheels")
    tails = dict(zip((pin.sha256 for pin in missing), fetch_tails(missing, context.index, reach=_reach), strict=True))
    for sha256, path in paths.items():
        if path is not None:
            tails[sha256] = _local_tail(path)

    def share(pin: Pin, layer: LayerDraft, reused: Layer | Package | None) -> DistributionEstimate:
        found = _outline(tails.get(pin.sha256), pin, layer) if reused is None else _recorded(reused, pin)
        return DistributionEstimate(
            pin=pin, outline=found, in_store=context.store.wheel(pin.sha256, pin.filename) is not None
        )

    return tuple(
        tuple(
            Estimate(
                name=layer.name,
                shares=tuple(share(pin, layer, reused) for pin in layer.selection.pins),
                has_own_code=bool(layer.own_code),
            )
            for layer, reused in target
        )
        for target in planned
    )


def _reused(plan: TargetPlan) -> list[Layer | Package | None]:
    """Return the layer or the first zip of the last build that each of `TargetPlan.contents` would reuse; ``None`` if it would be built."""
    layers = [layer.reused if isinstance(layer, LayerPlan) else None for layer in plan.layers]
    packages = plan.packages or (None,) * len(plan.bundles)
    zips = [
        package.reused[0] if package is not None and package.reused else None
        for bundle, package in zip(plan.bundles, packages, strict=True)
        if bundle is not None
    ]
    return [*layers, *zips]


def _recorded(layer: Layer | Package, pin: Pin) -> Outline | None:
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
        # The bytes are not verified yet. The build downloads the file, checks its hash, and reports any error.
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
