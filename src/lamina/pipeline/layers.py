"""Bring planned layers to disk: fetch, splice, compose; or find that what is there is them already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.archive.layer import Contribution, Identity, compose, contributions, in_order
from lamina.bytecode.choice import Closure, bytecode_contributions
from lamina.core.files import writing
from lamina.core.frozen import frozen
from lamina.core.values import Distribution, Extent, Layer, SourcePin
from lamina.pipeline.previous import changes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from lamina.archive.segment import Recipe
    from lamina.bytecode.choice import BytecodeChoice
    from lamina.bytecode.toolchain import Toolchain
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.values import Pin, Selection, Wheel
    from lamina.pipeline.previous import Previous
    from lamina.project.service import LayerConfig, Service

__all__ = [
    "Draft",
    "LayerPlan",
    "Outcome",
    "closure_of",
    "distributions",
    "extents",
    "make_layer",
    "missing_pins",
    "reuse",
    "why",
]


@frozen
class Draft:
    """What configuration and lock say of a layer, before it is known which modules are compiled."""

    config: LayerConfig
    selection: Selection
    recipe: Recipe

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.config.name


@frozen
class LayerPlan:
    """What one layer is to be; its identity is known."""

    config: LayerConfig
    selection: Selection
    recipe: Recipe
    bytecode: BytecodeChoice
    """Which modules are compiled."""

    @classmethod
    def of(cls, draft: Draft, bytecode: BytecodeChoice) -> LayerPlan:
        """Complete *draft*."""
        return cls(config=draft.config, selection=draft.selection, recipe=draft.recipe, bytecode=bytecode)

    @property
    def identity(self) -> Identity:
        """What decides the content of the layer."""
        return Identity(
            target=self.selection.target,
            pins=self.selection.pins,
            recipe=self.recipe,
            bytecode=self.bytecode.identity(),
        )

    @property
    def digest(self) -> str:
        """The layer's digest, known before anything is fetched."""
        return self.identity.digest()


@frozen
class Outcome:
    """What happened to one output, and why."""

    name: str
    reused: bool
    reason: str


def reuse(plan: LayerPlan, previous: Previous) -> Layer | None:
    """Return the layer that the last build left, if it is the planned one."""
    layer = previous.layer(plan.config.name)
    return layer if layer is not None and layer.digest == plan.digest else None


def make_layer(
    plan: LayerPlan,
    wheels: Sequence[Wheel],
    *,
    output: Path,
    store: Store,
    toolchain: Toolchain,
    reporter: Reporter,
) -> Layer:
    """
    Write the planned layer of *wheels* into the *output* directory, atomically.

    Raises ArchiveError and its kinds; the file that was there then still stands.
    """
    reporter.stage(f"Splicing layer {plan.config.name}")
    parts = contributions(wheels, plan.recipe, store)
    parts += bytecode_contributions(
        plan.bytecode, wheels, parts, plan.recipe, toolchain=toolchain, store=store, reporter=reporter
    )
    identity, digest = plan.identity, plan.digest
    destination = output / "layers" / f"{plan.config.name}.zip"
    with writing(destination) as file:
        composed = compose(file, parts, identity, digest)
    return Layer(
        name=plan.config.name,
        path=destination,
        digest=digest,
        sha256=composed.sha256,
        zipped_bytes=composed.zipped_bytes,
        unzipped_bytes=composed.unzipped_bytes,
        files=composed.files,
        distributions=tuple(distributions([wheel.pin for wheel in wheels], parts)),
        extents=extents(parts),
    )


def extents(parts: Iterable[Contribution]) -> tuple[Extent, ...]:
    """Return where *parts* stand in the zip."""
    return tuple(
        Extent(name=part.name, size=part.segment.entries_bytes, segment=part.segment.path.stem)
        for part in in_order(parts)
    )


def distributions(pins: Iterable[Pin], parts: Iterable[Contribution]) -> Iterator[Distribution]:
    """Yield what each of *pins* has to do with a layer of *parts*, sorted by name."""
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


def why(plan: LayerPlan, previous: Previous) -> str:
    """Return in a few words why the planned layer had to be made."""
    known = previous.known_layer(plan.config.name)
    if known is not None and known.digest == plan.digest:
        return "its zip was changed or removed"
    old_target = previous.build.target if previous.build else None
    return changes(known, plan.selection.pins, plan.selection.target, old_target)


def closure_of(draft: Draft, drafts: Sequence[Draft], service: Service) -> Closure:
    """Return what the functions of the drafted layer can import from, of all *drafts*."""
    functions = tuple(function for function in service.functions if draft.name in function.layers)
    others = {name for function in functions for name in function.layers} - {draft.name}
    pins = {pin.name: pin for pin in draft.selection.pins}
    for other in drafts:
        if other.name in others:
            pins = {pin.name: pin for pin in other.selection.pins} | pins
    return Closure(functions=functions, pins=tuple(pins[name] for name in sorted(pins)), recipe=draft.recipe)


def missing_pins(drafts: Iterable[Draft], store: Store) -> tuple[Pin, ...]:
    """Return the artifacts of *drafts* that the store does not hold, each once."""
    pins = {pin.sha256: pin for draft in drafts for pin in draft.selection.pins}
    return tuple(
        pin for pin in pins.values() if not isinstance(pin, SourcePin) and store.wheel(pin.sha256, pin.filename) is None
    )
