"""
The wheels, sources and segments of one target: from this machine's store first, then from the remote store, else made.

::

    Pin ──provider──▶ Wheel ──splice──▶ Segment ──▶ Contribution ──compose──▶ Layer
                         └──index──▶ imports ──follow──▶ BytecodeChoice

The rest of the pipeline does not know where anything came from.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Self

from lamina.archive.collisions import are_settled, shared_paths
from lamina.archive.layer import Contribution, contributed, contributions
from lamina.archive.segment import AREA, find_segment, splice
from lamina.bytecode.choice import follow, known_choice
from lamina.bytecode.segment import AREA as BYTECODE_AREA
from lamina.bytecode.segment import bytecode_key, bytecode_segment
from lamina.bytecode.toolchain import Toolchain
from lamina.fetch.provider import WheelProvider
from lamina.pipeline.layers import compose_layer
from lamina.project.service import BytecodeMode
from lamina.project.sources import walk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lamina.archive.segment import Segment
    from lamina.bytecode.choice import BytecodeChoice, Closure
    from lamina.core.target import Target
    from lamina.core.values import Layer, Pin, SourcePin, Wheel
    from lamina.pipeline.context import BuildContext
    from lamina.pipeline.layers import LayerPlan
    from lamina.project.service import Service
    from lamina.project.sources import SourceTree


class ArtifactProvider:
    """Where the stages of a build get wheels, sources and segments for one target; a context manager."""

    def __init__(self, context: BuildContext, target: Target) -> None:
        """Read nothing yet."""
        self._context = context
        self._store = context.store
        self._remote = context.remote
        self._imports = context.store if context.remote is None else context.remote.imports
        self.toolchain = Toolchain(target.python, context.store)
        self.wheels = WheelProvider(context.store, context.index, context.reporter, target=target)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.toolchain.__exit__()

    def sources(self, service: Service, local: Sequence[SourcePin], *, fetch: bool) -> SourceTree | None:
        """
        Return the first-party sources of *service* with the content of its *local* packages.

        Without *fetch*, return ``None`` if a local package has not been built yet.
        """
        tree = walk(self._context.project, service.source, service.include)
        if not local:
            return tree
        wheels = self.wheels.all(local) if fetch else self.wheels.known(local)
        if wheels is None:
            return None
        from lamina.fetch.source.unpack import unpack

        inputs = dict.fromkeys(path for pin in local for path in pin.inputs)
        return unpack(tree, wheels, inputs, root=self._context.project, store=self._store)

    def choose_bytecode(
        self, service: Service, closure: Closure, tree: SourceTree | None, *, fetch: bool
    ) -> BytecodeChoice | None:
        """
        Return which modules of a layer are compiled, following imports where the configuration does not decide it.

        Without *fetch*, return ``None`` if a wheel of the *closure* would have to be fetched for that.
        Raises BytecodeError where sources must be read and the target's interpreter is missing.
        """
        known = known_choice(service, closure, tree, toolchain=self.toolchain, store=self._imports)
        if known is not None or tree is None:
            return known
        if not fetch and self.wheels.known(closure.pins) is None:
            return None
        from lamina.bytecode.imports.index import index_place
        from lamina.bytecode.modules import WheelCode

        codes = [WheelCode(pin=pin, recipe=closure.recipe, fetch=self._wheel) for pin in closure.pins]
        places = [
            index_place(code.distribution, code.key, self._imports, python=service.target.python) for code in codes
        ]
        # All at once: one by one come only those of which some modules have been read before.
        self.wheels.all(pin for pin, place in zip(closure.pins, places, strict=True) if not place.is_file())
        return follow(service, closure, tree, codes, toolchain=self.toolchain, store=self._imports)

    def _wheel(self, pin: Pin) -> Wheel:
        return self.wheels.all([pin])[0]

    def fetch(self, layers: Sequence[LayerPlan]) -> None:
        """Fetch the wheels of *layers* together, in parallel, unless the remote store may have their segments."""
        if self._remote is None:
            self.wheels.all(pin for layer in layers for pin in layer.selection.pins)

    def layer(self, plan: LayerPlan, destination: Path) -> Layer:
        """
        Write the planned layer to *destination*, atomically.

        Raises PathCollisionError, ArchiveError and its kinds, and whatever fetching, splicing and compiling raise.
        """
        self._context.reporter.stage(f"Splicing layer {plan.name}")
        compose = compose_layer if self._remote is None else self._remote.compose
        while True:
            # Each time that the remote store fails to compose it knows less, and in the end nothing.
            parts = self.contributions(plan)
            pins = [self.wheels.built(pin) for pin in plan.selection.pins]
            if (layer := compose(plan, pins, parts, destination)) is not None:
                return layer

    def contributions(self, plan: LayerPlan) -> list[Contribution]:
        """Return the segments of the planned layer, with every path in one of them only."""
        names = [pin.name for pin in plan.selection.pins]
        spliced = self._settled(plan)
        if spliced is None:
            spliced = contributions(names, partial(self._segments, plan), compare=partial(self._shared_paths, plan))
        return [*spliced, *self._bytecode(plan, {part.name: part.omitted for part in spliced})]

    def _settled(self, plan: LayerPlan) -> list[Contribution] | None:
        """Return the segments without the paths that the remote store says are shared, if its answer fits them."""
        if self._remote is None:
            return None
        pins, recipe = plan.selection.pins, plan.recipe
        shared = self._remote.shared_paths(pins, recipe)
        if shared is None:
            return None
        segments = self._segments(plan, {pin.name: shared.get(pin.name, frozenset()) for pin in pins})
        if are_settled(segments, shared):
            return contributed(segments, shared)
        self._remote.refuse_shared_paths(pins, recipe)
        return None

    def _shared_paths(self, plan: LayerPlan, segments: dict[str, Segment]) -> dict[str, frozenset[str]]:
        """Return the paths to omit from each distribution; a wheel whose content must be compared is fetched for it."""
        pins = {pin.name: pin for pin in plan.selection.pins}
        while True:
            try:
                return shared_paths(segments)
            except FileNotFoundError as error:
                # A segment that only the remote store has.
                name = next(name for name, segment in segments.items() if str(segment.path) == str(error.filename))
                segments[name] = splice(self._wheel(pins[name]), plan.recipe, self._store)

    def _segments(self, plan: LayerPlan, omitted: Mapping[str, frozenset[str]]) -> dict[str, Segment]:
        """Return the segments of wheels without the paths to omit, in the order of the lock; a `SegmentSource`."""
        pins = [pin for pin in plan.selection.pins if pin.name in omitted]
        keys = {pin.name: plan.recipe.key(pin.sha256, omitted=omitted[pin.name]) for pin in pins}
        found = self._found({name: self._store.entry(AREA, key, ".seg") for name, key in keys.items()})
        absent = [pin for pin in pins if pin.name not in found]
        # Sequential: splicing is CPU-bound Python, so threads would not help.
        for pin, wheel in zip(absent, self.wheels.all(absent), strict=True):
            found[pin.name] = splice(wheel, plan.recipe, self._store, omitted=omitted[pin.name])
        return {pin.name: found[pin.name] for pin in pins}

    def _found(self, paths: Mapping[str, Path]) -> dict[str, Segment]:
        """Return the segments that this machine's store or the remote one has, given their *paths* in the former."""
        found = {name: segment for name, path in paths.items() if (segment := find_segment(path)) is not None}
        if self._remote is not None and len(found) < len(paths):
            absent = {name: path for name, path in paths.items() if name not in found}
            described = self._remote.segments(tuple(absent.values()))
            found |= {name: described[path] for name, path in absent.items() if path in described}
        return found

    def _bytecode(self, plan: LayerPlan, omitted: Mapping[str, frozenset[str]]) -> list[Contribution]:
        choice = plan.bytecode
        if choice is None or choice.mode is BytecodeMode.NONE:
            return []
        modules = {pin.name: choice.of(pin.name) for pin in plan.selection.pins}
        pins = [pin for pin in plan.selection.pins if _has_source(modules[pin.name])]
        interpreter, reporter = self.toolchain.interpreter, self._context.reporter
        keys = {
            pin.name: bytecode_key(
                pin.sha256,
                plan.recipe,
                interpreter=interpreter,
                modules=modules[pin.name],
                omitted=omitted[pin.name],
            )
            for pin in pins
        }
        reporter.stage("Compiling bytecode", total=len(pins), unit="distributions")
        found = self._found({name: self._store.entry(BYTECODE_AREA, key, ".seg") for name, key in keys.items()})
        reporter.advance(len(found))
        absent = [pin for pin in pins if pin.name not in found]
        for pin, wheel in zip(absent, self.wheels.all(absent), strict=True):
            found[pin.name] = bytecode_segment(
                wheel,
                plan.recipe,
                compiler=self.toolchain.compiler,
                store=self._store,
                modules=modules[pin.name],
                omitted=omitted[pin.name],
            ).segment
            reporter.advance(1)
        return [Contribution(name=pin.name, segment=found[pin.name], is_bytecode=True) for pin in pins]


def _has_source(modules: frozenset[str] | None) -> bool:
    """Return whether any of *modules* is compiled; ``None`` means all modules."""
    return modules is None or any(module.endswith(".py") for module in modules)
