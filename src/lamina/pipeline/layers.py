"""Plan the content of one layer, and compose the layer from its segments."""

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
    """The planned content of one layer, as far as the configuration and the lock file define it."""

    config: LayerConfig
    selection: Selection
    recipe: Recipe
    reason: str = ""
    """Why the digest is unknown."""
    differs: bool = False
    """Whether the layer certainly differs from the last build's layer, even though its digest is unknown."""

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.config.name


@frozen
class LayerPlan(LayerDraft):
    """The complete plan for one layer. *reason* states briefly why the layer is reused or built."""

    bytecode: BytecodeChoice | None
    """The modules to compile; ``None`` if nothing has changed since the last build, so the choice is not needed."""
    digest: str
    reused: Layer | None
    """The last build's layer, if that layer has this digest."""

    @classmethod
    def of(cls, draft: LayerDraft, bytecode: BytecodeChoice, previous: Previous) -> LayerPlan:
        """Return *draft* with its *bytecode* and digest, and with the layer of the *previous* build if that can be reused."""
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
        """Return the plan for a layer that has not changed since the last build, whose layer is *left*."""
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
        """The values that decide the layer's content. Raises ValueError for an unchanged layer, because its bytecode is unknown."""
        if self.bytecode is None:
            raise ValueError(f"layer `{self.name}` has not changed")
        return _identity(self, self.bytecode)


def compose_layer(plan: LayerPlan, pins: Sequence[Pin], parts: Sequence[Contribution], destination: Path) -> Layer:
    """
    Compose *parts* into the planned layer and write the zip to *destination*, atomically; *pins* are the layer's wheels.

    Raises CorruptArchiveError if a segment in the store is damaged; an existing file then stays in place.
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
    """Return the description of the layer at *path*, which was composed of *parts*; *pins* are the layer's wheels."""
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
    """Return the extent of each of *parts*, in zip order."""
    return tuple(
        Extent(name=part.name, size=part.segment.entries_bytes, segment=part.segment.path.stem)
        for part in in_order(parts)
    )


def _distributions(pins: Iterable[Pin], parts: Iterable[Contribution]) -> Iterator[Distribution]:
    """Yield the sizes of each of *pins* in a layer of *parts*, sorted by name."""
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
    """Return how *layer* differs from the *previous* build's, regardless of bytecode; an empty string if no difference is certain."""
    target = previous.build.target if previous.build else None
    known = previous.known_layer(layer.name)
    return difference(known, layer.selection.pins, layer.selection.target, target)


def _why(layer: LayerDraft, digest: str, previous: Previous) -> str:
    known = previous.known_layer(layer.name)
    if known is not None and known.digest == digest:
        return "its zip was changed or removed"
    target = previous.build.target if previous.build else None
    return changes(known, layer.selection.pins, layer.selection.target, target)
