"""
Provide the wheels, sources and segments of one target to the build stages.

Each artifact comes from the local store, or else from the remote store. If neither has it, lamina downloads or creates it.

::

    Pin ──provider──▶ Wheel ──splice──▶ Segment ──▶ Contribution ──compose──▶ Layer
                         └──index──▶ imports ──follow──▶ BytecodeChoice

The other stages do not depend on where an artifact came from.
"""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from lamina.archive.collisions import are_settled, member_paths, paths_of_own_code, shared_paths
from lamina.archive.layer import (
    Composed,
    Contribution,
    compose_package,
    contributed,
    contributions,
    ending,
    in_order,
    package_ending,
)
from lamina.archive.own_code import OWN_CODE, own_code_segment
from lamina.archive.package import Packed, write_package
from lamina.archive.segment import AREA, find_segment, segment_path, splice
from lamina.bytecode.choice import follow, known_choice
from lamina.bytecode.segment import AREA as BYTECODE_AREA
from lamina.bytecode.segment import (
    CompiledModules,
    bytecode_key,
    bytecode_segment,
    own_code_bytecode,
    sources_bytecode,
)
from lamina.bytecode.toolchain import Toolchain
from lamina.core.errors import DamagedFileError, LaminaError
from lamina.core.frozen import replace
from lamina.fetch.provider import WheelProvider
from lamina.pipeline.layers import LayerPlan, compose_layer, describe_layer, distributions, extents, fit, fitting
from lamina.project.service import BytecodeMode
from lamina.project.sources import PackageSources, fingerprint, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
    from typing import BinaryIO

    from lamina.archive.segment import Recipe, Segment
    from lamina.bytecode.choice import BytecodeChoice, Closure
    from lamina.bytecode.imports.index import Code
    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.core.values import Layer, Pin, Sha256, SourcePin, Wheel
    from lamina.pipeline.context import BuildContext
    from lamina.pipeline.layers import LayerDraft
    from lamina.pipeline.previous import Previous
    from lamina.project.service import Service
    from lamina.project.sources import SourceTree

_WHEELS_AT_ONCE = 4

_Result = TypeVar("_Result")
_Made = TypeVar("_Made", "Layer", "Packed")


class ArtifactProvider:
    """The source of wheels, sources and segments for one target of a build; a context manager."""

    def __init__(self, context: BuildContext, target: Target) -> None:
        self._context = context
        self._store = context.store
        self._remote = context.remote
        self.imports = context.store if context.remote is None else context.remote.imports
        """The store of the scanned imports."""
        self.toolchain = Toolchain(target.python, context.store, installer=context.installer)
        self._compiled = CompiledModules(target.python)
        self._fetching = threading.Lock()
        self._trees: dict[tuple[tuple[str, ...], tuple[str, ...]], SourceTree] = {}
        self.wheels = WheelProvider(context.store, context.index, context.reporter, target=target)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.toolchain.__exit__()

    def sources(
        self, service: Service, local: Sequence[SourcePin], *, fetch: bool
    ) -> tuple[PackageSources, ...] | None:
        """
        Return the sources of each function package of *service*, each including the content of its *local* packages.

        Without *fetch*, return ``None`` if a local package must be built first. Raises the errors of building.
        """
        project = self._context.project
        packages = tuple(
            PackageSources(config=config, tree=self._tree(config.source, service.include))
            for config in service.packages
        )
        if not local:
            return packages
        wheels = self.wheels.all(local) if fetch else self.wheels.known(local)
        if wheels is None or not all(map(self.wheels.is_intact, wheels)):
            return None
        from lamina.fetch.source.unpack import unpack

        return unpack(packages, wheels, local, root=project, store=self._store)

    def _tree(self, source: tuple[str, ...], include: tuple[str, ...]) -> SourceTree:
        # Several packages, and the layouts of a comparison, have the same sources.
        if (source, include) not in self._trees:
            self._trees[source, include] = walk(self._context.project, source, include)
        return self._trees[source, include]

    def choose_bytecode(
        self,
        service: Service,
        asked: Sequence[tuple[Closure, Collection[Pin]]],
        packages: Sequence[PackageSources] | None,
        *,
        fetch: bool,
    ) -> list[BytecodeChoice | None]:
        """
        Return the modules of each layer in *asked* to compile, following imports if the configuration does not decide the choice.

        A layer is asked for with its closure and its own pins; those of a function's zip are empty, because nothing is compiled for the directory of layers.
        If imports must be followed, the choice is ``None`` without the sources of the *packages*. Without *fetch*, it is also
        ``None`` if a wheel of the closure must be downloaded or built first, or if the target's interpreter is missing, and wheels
        are only read. With *fetch*, wheels of a layer's own pins are spliced as they arrive, and reached modules
        are compiled. Raises the errors of `known_choice`, `follow` and fetching, such as BytecodeError if the target's
        interpreter is missing.
        """
        found = [
            known_choice(service, closure, packages, toolchain=self.toolchain, store=self.imports)
            for closure, _ in asked
        ]
        if packages is None:
            return found
        undecided = [
            number
            for number, (closure, _) in enumerate(asked)
            if found[number] is None
            and (fetch or (self.wheels.known(closure.pins) is not None and self.toolchain.is_installed))
        ]
        for numbers in _together([(number, *asked[number]) for number in undecided]):
            own = {pin.sha256: pin for number in numbers for pin in asked[number][1] if fetch}
            choices = self._follow(service, [asked[number][0] for number in numbers], packages, own.values())
            for number, choice in zip(numbers, choices, strict=True):
                found[number] = choice
        return found

    def _follow(
        self,
        service: Service,
        closures: Sequence[Closure],
        packages: Sequence[PackageSources],
        own: Collection[Pin],
    ) -> tuple[BytecodeChoice, ...]:
        """Return the choice for each of *closures*, as `choose_bytecode` does."""
        pins = {pin.name: pin for closure in closures for pin in closure.pins}
        every = replace(closures[0], pins=tuple(pins[name] for name in sorted(pins)))

        # Closed explicitly, so that an error stops the downloads at once.
        def following() -> tuple[BytecodeChoice, ...]:
            with closing(self.codes(every, own)) as codes:
                return follow(
                    service,
                    closures,
                    packages,
                    codes,
                    toolchain=self.toolchain,
                    store=self.imports,
                    # Other wheels than those of a layer are not compiled, or below another directory than that of layers.
                    compiled=self._compiled if own else None,
                )

        return _repaired(following, self.imports)

    def plan(self, draft: LayerDraft, bytecode: BytecodeChoice, previous: Previous) -> LayerPlan:
        """Return the plan for *draft* with *bytecode*, as far as the layer fits with it, and the *previous* build."""
        return LayerPlan.of(draft, fitting(draft, bytecode, self._store), previous)

    def fitted(
        self, plan: LayerPlan, make: Callable[[LayerPlan], _Made], previous: Previous
    ) -> tuple[LayerPlan, _Made]:
        """Return *plan* with as much bytecode as fits, and what *make* returns for it, which writes or measures the zip."""
        made = make(plan)
        lighter = self.fit(plan, made, previous)
        return (plan, made) if lighter is None else self.fitted(lighter, make, previous)

    def fit(self, plan: LayerPlan, layer: Layer | Packed, previous: Previous) -> LayerPlan | None:
        """Return *plan* with less bytecode if *layer* is too large only because of bytecode; see `lamina.pipeline.layers.fit`."""
        return fit(plan, layer, previous, self._store)

    def codes(self, closure: Closure, own: Collection[Pin]) -> Generator[Code]:
        """Yield the wheels of *closure*: first those with an index, then the others as they arrive. Splice those of *own*."""
        from lamina.bytecode.imports.index import index_place
        from lamina.bytecode.modules import WheelCode

        self._context.reporter.stage("following imports")
        new: dict[str, WheelCode] = {}
        for pin in closure.pins:
            code = WheelCode(pin=pin, recipe=closure.recipe, fetch=self._wheel)
            if index_place(code.distribution, code.key, self.imports, python=self.toolchain.python).is_file():
                # A wheel that is only partly indexed is fetched on demand.
                yield code
            else:
                new[pin.sha256] = code
        for wheel in self.wheels.arriving(code.pin for code in new.values()):
            yield new[wheel.pin.sha256]
            self._splice_ahead(wheel, closure.recipe, own)
        if new:
            self._context.reporter.stage("following imports and compiling bytecode")

    def _wheel(self, pin: Pin) -> Wheel:
        # Several threads of the compiler may read modules of wheels that are not in the store.
        with self._fetching:
            return self.wheels.all([pin])[0]

    def fetch(self, layers: Sequence[LayerPlan]) -> None:
        """
        Fetch the wheels of *layers* in parallel, and splice each as soon as it arrives.

        With a remote store, do nothing: it may have the segments, so only missing wheels are fetched later.
        """
        if self._remote is None:
            pins = [pin for layer in layers for pin in layer.selection.pins]
            if pins:
                self._context.reporter.stage("splicing wheels")
            self.wheels.prove_ahead(
                pin
                for layer in layers
                for pin in layer.selection.pins
                if not self._store.entry(AREA, layer.recipe.key(pin.sha256), ".seg").is_file()
            )
            with closing(self.wheels.arriving(pins)) as arriving:
                for wheel in arriving:
                    for layer in layers:
                        self._splice_ahead(wheel, layer.recipe, layer.selection.pins)

    def _splice_ahead(self, wheel: Wheel, recipe: Recipe, pins: Collection[Pin]) -> None:
        """Splice *wheel* while others are downloaded, if it is one of *pins*."""
        # `contributions` splices again what failed here, and raises the error in the order of the lock.
        is_wanted = self._remote is None and any(pin.sha256 == wheel.pin.sha256 for pin in pins)
        with suppress(LaminaError):
            if is_wanted and find_segment(segment_path(wheel, recipe, self._store), self._store) is None:
                splice(self._wheel(wheel.pin), recipe, self._store)

    def layer(self, plan: LayerPlan, destination: Path) -> Layer:
        """
        Write the planned layer to *destination*, atomically.

        Raises PathCollisionError if two distributions conflict, and the errors of fetching, splicing and compiling. Also
        raises DamagedFileError if a file of the store is damaged again after lamina made it again, and AwsError if the remote
        store fails.
        """
        return _repaired(lambda: self._layer(plan, destination), self._store)

    def _layer(self, plan: LayerPlan, destination: Path) -> Layer:
        reporter = self._context.reporter
        reporter.stage(f"splicing layer {plan.name}")
        compose = compose_layer if self._remote is None else self._remote.compose
        while True:
            # After a failed `compose`, the remote store offers fewer segments, so the loop ends.
            parts = self.contributions(plan)
            pins = [self.wheels.built(pin) for pin in plan.selection.pins]
            reporter.stage(f"writing layer {plan.name}")
            if (layer := compose(plan, pins, parts, destination)) is not None:
                return layer

    def measure(self, plan: LayerPlan) -> Layer:
        """
        Return the layer that `layer` writes from the same *plan*, with the same sizes, without writing it.

        Its path is empty, and its SHA-256 is unknown. The store keeps the distributions' files and compiled modules, but not each
        choice of modules. Raises the errors of `layer`.
        """
        return _repaired(lambda: self._measured(plan), self._store)

    def _measured(self, plan: LayerPlan) -> Layer:
        parts = self.contributions(plan, measures=True)
        sizes = ending([part.segment for part in in_order(parts)], plan.identity, plan.digest)
        pins = [self.wheels.built(pin) for pin in plan.selection.pins]
        return describe_layer(plan, pins, parts, Path(), sizes, sha256=None)

    def package(self, plan: LayerPlan, sources: PackageSources, mode: BytecodeMode, directory: Path) -> Packed:
        """
        Write the zips of *sources* with the distributions of *plan* into *directory*, atomically.

        Your own files win over those of distributions. *mode* decides whether they are compiled. Raises the errors of `layer`, and those of
        reading and compiling the sources.
        """
        return _repaired(lambda: self._package(plan, sources, mode, directory), self._store)

    def _package(self, plan: LayerPlan, sources: PackageSources, mode: BytecodeMode, directory: Path) -> Packed:
        parts = self._package_parts(plan, sources, mode)

        def write(file: BinaryIO) -> Packed:
            return self._packed(plan, sources, parts, compose_package(file, parts))

        self._context.reporter.stage("packing functions")
        return write_package(sources.config, directory, write)

    def measure_package(self, plan: LayerPlan, sources: PackageSources, mode: BytecodeMode) -> Packed:
        """
        Return what `package` returns for the same arguments, with the same sizes, without writing a zip.

        The SHA-256 is empty. The store keeps what it keeps for `measure`. Raises the errors of `package`.
        """

        def measured() -> Packed:
            parts = self._package_parts(plan, sources, mode, measures=True)
            sizes = package_ending([part.segment for part in in_order(parts)])
            composed = Composed("", sizes.zipped_bytes, sizes.unzipped_bytes, sizes.files)
            return self._packed(plan, sources, parts, composed)

        return _repaired(measured, self._store)

    def _packed(
        self, plan: LayerPlan, sources: PackageSources, parts: Sequence[Contribution], composed: Composed
    ) -> Packed:
        pins = [self.wheels.built(pin) for pin in plan.selection.pins]
        return Packed(
            **composed._asdict(),
            fingerprint=fingerprint((file.path, file.sha256) for file in sources.tree.files),
            distributions=tuple(distributions(pins, parts)),
            extents=extents(parts),
        )

    def _package_parts(
        self, plan: LayerPlan, sources: PackageSources, mode: BytecodeMode, *, measures: bool = False
    ) -> list[Contribution]:
        own = own_code_segment(sources.tree.files, self._store, prefix=plan.recipe.prefix)
        parts = self._bundled(plan, own, measures=measures)
        parts.append(Contribution(name=OWN_CODE, segment=own))
        if mode is not BytecodeMode.NONE:
            compiled = sources_bytecode(sources.tree, self.toolchain, self._store)
            parts.append(Contribution(name=OWN_CODE, segment=compiled, is_bytecode=True))
        return parts

    def _bundled(self, plan: LayerPlan, own: Segment, *, measures: bool) -> list[Contribution]:
        """
        Return the segments of the distributions in a zip, including bytecode, without the paths of *own*, your own files.

        With *measures*, the sizes of all segments are exact, but those of bytecode may not exist.
        """

        def compare(segments: dict[str, Segment]) -> dict[str, frozenset[str]]:
            mine, shared = paths_of_own_code(own, segments), self._shared_paths(plan, segments)
            return {name: mine.get(name, frozenset()) | shared.get(name, frozenset()) for name in (*mine, *shared)}

        spliced = contributions(
            [pin.name for pin in plan.selection.pins], partial(self._segments, plan), compare=compare
        )
        return [*spliced, *self._bytecode(plan, {part.name: part.omitted for part in spliced}, measures=measures)]

    def paths(self, draft: LayerDraft) -> frozenset[str]:
        """Return the paths of the files of *draft*'s distributions, relative to a directory of ``sys.path``, without bytecode. Raises the errors of `layer`."""

        def found() -> frozenset[str]:
            segments = self._segments(draft, {pin.name: frozenset() for pin in draft.selection.pins})
            paths = (path.decode() for segment in segments.values() for path in member_paths(segment))
            return frozenset(path.removeprefix(draft.recipe.prefix) for path in paths)

        return _repaired(found, self._store)

    def contributions(self, plan: LayerPlan, *, measures: bool = False) -> list[Contribution]:
        """
        Return the segments of the planned layer, including bytecode. Each path is in exactly one segment.

        With *measures*, the sizes of all segments are exact, but those of bytecode may not exist.
        """
        names = [pin.name for pin in plan.selection.pins] + ([OWN_CODE] if plan.own_code else [])
        spliced = self._settled(plan)
        if spliced is None:
            spliced = contributions(names, partial(self._segments, plan), compare=partial(self._shared_paths, plan))
        return [*spliced, *self._bytecode(plan, {part.name: part.omitted for part in spliced}, measures=measures)]

    def _settled(self, plan: LayerPlan) -> list[Contribution] | None:
        """
        Return the segments, without the shared paths that the remote store lists for them.

        Return ``None`` if there is no remote store, if its list is missing or does not fit the segments, or if the layer has
        own code, which is not in the list.
        """
        if self._remote is None or plan.own_code:
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
        """Return the paths to omit from each distribution, fetching a wheel if its content must be compared."""
        pins = {pin.name: pin for pin in plan.selection.pins}
        while True:
            try:
                return shared_paths(segments, note=self._context.reporter.note)
            except FileNotFoundError as error:
                # The remote store has this segment, but this machine does not.
                name = next(name for name, segment in segments.items() if str(segment.path) == str(error.filename))
                segments[name] = splice(self._wheel(pins[name]), plan.recipe, self._store)

    def _segments(self, plan: LayerDraft, omitted: Mapping[str, frozenset[str]]) -> dict[str, Segment]:
        """
        Return the segments of the distributions in *omitted*, without the paths that it lists for each, in lock order.

        A segment that neither store has is spliced. Implements `SegmentSource`.
        """
        pins = [pin for pin in plan.selection.pins if pin.name in omitted]
        keys = {pin.name: plan.recipe.key(pin.sha256, omitted=omitted[pin.name]) for pin in pins}
        found = self._found(plan, {name: self._store.entry(AREA, key, ".seg") for name, key in keys.items()})
        absent = [pin for pin in pins if pin.name not in found]
        # Sequential: splicing is CPU-bound Python, so threads would not help.
        for pin, wheel in zip(absent, self.wheels.all(absent), strict=True):
            found[pin.name] = splice(wheel, plan.recipe, self._store, omitted=omitted[pin.name])
        segments = {pin.name: found[pin.name] for pin in pins}
        if OWN_CODE in omitted:
            segments[OWN_CODE] = own_code_segment(plan.own_code, self._store, omitted=omitted[OWN_CODE])
        return segments

    def _found(self, plan: LayerDraft, paths: Mapping[str, Path]) -> dict[str, Segment]:
        """
        Return the segments that the local or the remote store has, given their *paths* in the local store.

        Those of a function's zip are only searched in the local store, because the whole zip is written on this machine.
        """
        found = {
            name: segment for name, path in paths.items() if (segment := find_segment(path, self._store)) is not None
        }
        if self._remote is not None and not plan.is_bundle and len(found) < len(paths):
            absent = {name: path for name, path in paths.items() if name not in found}
            described = self._remote.segments(tuple(absent.values()))
            found |= {name: described[path] for name, path in absent.items() if path in described}
        return found

    def _bytecode(
        self, plan: LayerPlan, omitted: Mapping[str, frozenset[str]], *, measures: bool
    ) -> list[Contribution]:
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
        reporter.stage("adding bytecode", total=len(pins), unit="distributions")
        found = self._found(plan, {name: self._store.entry(BYTECODE_AREA, key, ".seg") for name, key in keys.items()})
        reporter.advance(len(found))
        absent = [pin for pin in pins if pin.name not in found]

        if absent:
            from concurrent.futures import ThreadPoolExecutor

            wheels, compiler = self.wheels.all(absent), self.toolchain.compiler

            def compiled(wheel: Wheel) -> Segment:
                name = wheel.pin.name
                return bytecode_segment(
                    wheel,
                    plan.recipe,
                    compiler=compiler,
                    store=self._store,
                    modules=modules[name],
                    omitted=omitted[name],
                    compiled={} if plan.is_bundle else self._compiled.of(wheel.pin.sha256),
                    measures=measures,
                ).segment

            # Several wheels at once, so that the compiler's processes do not wait for the last module of each.
            with ThreadPoolExecutor(_WHEELS_AT_ONCE, thread_name_prefix="bytecode") as pool:
                for pin, segment in zip(absent, pool.map(compiled, wheels), strict=True):
                    found[pin.name] = segment
                    reporter.advance(1)
        segments = {pin.name: found[pin.name] for pin in pins}
        if plan.own_code:
            segments[OWN_CODE] = own_code_bytecode(
                plan.own_code, self.toolchain, self._store, omitted=omitted[OWN_CODE]
            )
        return [Contribution(name=name, segment=segment, is_bytecode=True) for name, segment in segments.items()]


def _repaired(work: Callable[[], _Result], store: Store) -> _Result:
    """
    Return the result of *work*. If it finds a damaged file in *store*, discard the file, and do the work again.

    Raises `DamagedFileError` if the same file is damaged again.
    """
    damaged: set[Path] = set()
    while True:
        try:
            return work()
        except DamagedFileError as error:
            if error.path in damaged:
                raise
            damaged.add(error.path)
            store.discard(error.path)


def _together(asked: Iterable[tuple[int, Closure, Collection[Pin]]]) -> list[list[int]]:
    """Return the numbers of *asked* in groups that one search can follow: with the same recipe, and one file of each distribution."""
    groups: list[tuple[object, dict[str, Sha256], list[int]]] = []
    for number, closure, own in asked:
        kind = closure.recipe, bool(own)
        hashes = {pin.name: pin.sha256 for pin in closure.pins}
        for other, known, numbers in groups:
            if kind == other and all(known.get(name, sha256) == sha256 for name, sha256 in hashes.items()):
                known.update(hashes)
                numbers.append(number)
                break
        else:
            groups.append((kind, hashes, [number]))
    return [numbers for _, _, numbers in groups]


def _has_source(modules: frozenset[str] | None) -> bool:
    """Return whether *modules* include a source; ``None`` means all modules."""
    return modules is None or any(module.endswith(".py") for module in modules)
