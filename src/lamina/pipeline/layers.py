"""What one layer is to hold, and how it is composed of its segments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.archive.layer import Contribution, Identity, compose, in_order
from lamina.core.files import writing
from lamina.core.frozen import frozen
from lamina.core.values import Distribution, Extent, Layer
from lamina.pipeline.previous import changes, difference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from lamina.archive.layer import Composed, Ending
    from lamina.archive.segment import Recipe
    from lamina.bytecode.choice import BytecodeChoice
    from lamina.core.values import Pin, Selection
    from lamina.pipeline.previous import Previous
    from lamina.project.service import LayerConfig


@frozen
class LayerDraft:
    """What one layer is to hold, as far as configuration and lock say it."""

    config: LayerConfig
    selection: Selection
    recipe: Recipe
    reason: str = ""
    """Why the digest is not known."""
    differs: bool = False
    """Whether the layer certainly differs from what the last build left, though its digest is not known."""

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.config.name


@frozen
class LayerPlan(LayerDraft):
    """What one layer holds. *reason* is why it is reused or built, in a few words."""

    bytecode: BytecodeChoice | None
    """Which modules are compiled; ``None`` if that need not be known, because nothing has changed since the last build."""
    digest: str
    reused: Layer | None
    """The layer that the last build left, if it has this digest."""

    @classmethod
    def of(cls, draft: LayerDraft, bytecode: BytecodeChoice, previous: Previous) -> LayerPlan:
        """Return *draft* with *bytecode*, its digest, and what the *previous* build left of it."""
        digest = _identity(draft, bytecode).digest()
        left = previous.layer(draft.name)
        reused = left if left is not None and left.digest == digest else None
        reason = "unchanged" if reused else _why(draft, digest, previous)
        return cls(
            config=draft.config,
            selection=draft.selection,
            recipe=draft.recipe,
            reason=reason,
            bytecode=bytecode,
            digest=digest,
            reused=reused,
        )

    @classmethod
    def unchanged(cls, draft: LayerDraft, left: Layer) -> LayerPlan:
        """Return the plan for a layer of which nothing has changed since the last build *left* it."""
        return cls(
            config=draft.config,
            selection=draft.selection,
            recipe=draft.recipe,
            reason="unchanged",
            bytecode=None,
            digest=left.digest,
            reused=left,
        )

    @property
    def identity(self) -> Identity:
        """What decides the layer's content; raises ValueError for a layer that is not to be made."""
        if self.bytecode is None:
            raise ValueError(f"layer `{self.name}` has not changed")
        return _identity(self, self.bytecode)


def compose_layer(plan: LayerPlan, pins: Sequence[Pin], parts: Sequence[Contribution], destination: Path) -> Layer:
    """
    Write the planned layer of *parts* to *destination*, atomically; *pins* are those of its wheels.

    Raises CorruptArchiveError for a segment that was damaged in the store; the file that was there then stays.
    """
    with writing(destination) as file:
        composed = compose(file, parts, plan.identity, plan.digest)
    return describe_layer(plan, pins, parts, destination, composed, sha256=composed.sha256)


def describe_layer(
    plan: LayerPlan,
    pins: Sequence[Pin],
    parts: Sequence[Contribution],
    path: Path,
    sizes: Composed | Ending,
    *,
    sha256: str | None,
) -> Layer:
    """Return the layer that was composed of *parts* at *path*; *pins* are those of its wheels."""
    return Layer(
        name=plan.name,
        path=path,
        digest=plan.digest,
        sha256=sha256,
        zipped_bytes=sizes.zipped_bytes,
        unzipped_bytes=sizes.unzipped_bytes,
        files=sizes.files,
        distributions=tuple(_distributions(pins, parts)),
        extents=extents(parts),
    )


def extents(parts: Iterable[Contribution]) -> tuple[Extent, ...]:
    """Return the extent of each of *parts*, in the order of the zip."""
    return tuple(
        Extent(name=part.name, size=part.segment.entries_bytes, segment=part.segment.path.stem)
        for part in in_order(parts)
    )


def _distributions(pins: Iterable[Pin], parts: Iterable[Contribution]) -> Iterator[Distribution]:
    """Yield the share of each of *pins* in a layer of *parts*, sorted by name."""
    found: dict[str, list[Contribution]] = {}
    for part in parts:
        found.setdefault(part.name, []).append(part)
    for pin in sorted(pins, key=lambda pin: pin.name):
        segments = found.get(pin.name, [])
        yield Distribution(
            name=pin.name,
            version=pin.version,
            artifact=pin.filename,
            sha256=pin.sha256,
            zipped_bytes=sum(part.segment.zipped_bytes for part in segments),
            unzipped_bytes=sum(part.segment.unzipped_bytes for part in segments if not part.is_bytecode),
            bytecode_bytes=sum(part.segment.unzipped_bytes for part in segments if part.is_bytecode),
        )


def _identity(layer: LayerDraft, bytecode: BytecodeChoice) -> Identity:
    return Identity(
        target=layer.selection.target, pins=layer.selection.pins, recipe=layer.recipe, bytecode=bytecode.identity()
    )


def known_difference(layer: LayerDraft, previous: Previous) -> str:
    """Return how *layer* differs from what the *previous* build left, whatever is compiled; empty if it may not."""
    target = previous.build.target if previous.build else None
    known = previous.known_layer(layer.name)
    return difference(known, layer.selection.pins, layer.selection.target, target)


def _why(layer: LayerDraft, digest: str, previous: Previous) -> str:
    known = previous.known_layer(layer.name)
    if known is not None and known.digest == digest:
        return "its zip was changed or removed"
    target = previous.build.target if previous.build else None
    return changes(known, layer.selection.pins, layer.selection.target, target)
