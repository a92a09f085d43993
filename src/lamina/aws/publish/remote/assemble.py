"""
Put layers together from what a bucket has, on a machine that lacks their wheels: the way of `lamina publish` and `lamina deploy`
around the build.

::

    lock ──select──▶ pins ──shelf──▶ Fragment ─┐
                      └─fetch─▶ Wheel ─splice─▶ Segment ──▶ Layer (a zip with holes), Patchwork ──▶ plan, apply

The bucket's shelf (`lamina.aws.publish.remote.index`) says what has to be known of segments, and S3 has their bytes. A wheel is fetched only where
the shelf does not know its segment, where something of it must be read that nobody has read before, or where its bytes have gone. What
comes from the shelf is held against what lamina would have written, and whatever is wrong is done without, and replaced.

Nothing is written into the project, and nothing from the bucket into the machine's store.
"""

from __future__ import annotations

import hashlib
import time
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.archive.layer import ending, in_order
from lamina.archive.zip.zipformat import end_of_directory
from lamina.aws.publish.manifest import decode as decode_record
from lamina.aws.publish.parts import layout_parts
from lamina.aws.publish.remote.index import RemoteIndex, shelved
from lamina.aws.publish.remote.metadata import absent_codes, is_fine, is_of_imports, note_places, source_tree
from lamina.aws.publish.remote.segments import RemoteSegments, sharing_name, sharing_note
from lamina.aws.publish.zip_source import SparseLayerZip
from lamina.bytecode.choice import follow, known_choice
from lamina.bytecode.imports.index import index_place
from lamina.bytecode.toolchain import Toolchain
from lamina.core.frozen import replace
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.core.target import quotas
from lamina.core.values import Build, Layer, Package
from lamina.pipeline.checks import finished
from lamina.pipeline.layers import LayerPlan, closure_of, distributions, extents, reuse
from lamina.pipeline.packages import pack_anew
from lamina.pipeline.plan import BuildContext, plan_for
from lamina.pipeline.previous import Previous
from lamina.pipeline.report import place_of
from lamina.project import config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from lamina.archive.layer import Contribution
    from lamina.aws.api.protocols import Objects
    from lamina.aws.publish.config import PublishConfig
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.aws.publish.remote.segments import SparseZip
    from lamina.aws.publish.survey import Destination
    from lamina.aws.publish.zip_source import LayerZip
    from lamina.bytecode.choice import BytecodeChoice, Closure
    from lamina.core.reporter import Reporter
    from lamina.core.values import Finding
    from lamina.fetch.provider import WheelProvider
    from lamina.pipeline.plan import BuildOptions, BuildPlan
    from lamina.project.service import Service
    from lamina.project.sources import SourceTree

__all__ = ["Assembled", "assemble"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assembled:
    """Layers that were put together without all of their wheels."""

    builds: tuple[Build, ...]
    """One for each target."""
    _sources: Mapping[str, Callable[[DesiredLayer], LayerZip]]

    def source(self, wanted: DesiredLayer) -> LayerZip | None:
        """Return the zip of a layer, as far as it is here; nothing for a layer that the last build left."""
        make = self._sources.get(wanted.layer.digest)
        return None if make is None else make(wanted)


def assemble(
    project: Path,
    settings: PublishConfig,
    options: BuildOptions,
    connect: Callable[[], Sequence[Destination]],
    *,
    directory: Path,
    packing: bool = False,
    store: Store | None = None,
    reporter: Reporter = SILENT,
) -> Assembled | None:
    """
    Return the layers of *project* from what the bucket of the first place has; their zips are in *directory*.

    With *packing* the function packages are made there, too; else the builds have none.
    Return nothing where that has no use, or is not wanted: without a bucket, with all wheels in the store, where the bucket knows none of them, and where a
    check has to read what is not here. AWS is not asked before it may help.
    Raises what planning, fetching, splicing and compiling raise, and AwsError and its kinds.
    """
    session = BuildContext.open(project, options, store=store, reporter=reporter)
    if settings.bucket is None or settings.fetches or options.offline:
        return None
    with session.store.in_use():
        service = config.load(project, options.overrides)
        services = [replace(service, target=target, others=()) for target in (service.target, *service.others)]
        plans = [plan_for(session, each) for each in services]
        if not any(planned.missing for planned in plans) or _stand(plans, session):
            return None
        places = connect()
        place = places[0]
        objects = place.objects
        if objects is None:
            return None
        bench = _Bench(session, objects, place, directory, several=len(places) > 1, packing=packing)
        builds = []
        for planned in plans:
            build = bench.build(planned)
            if build is None:
                return None
            builds.append(build)
    return Assembled(builds=tuple(builds), _sources=bench.sources)


def _omitted(parts: Iterable[Contribution]) -> dict[str, frozenset[str]]:
    return {part.name: part.omitted for part in parts if not part.is_bytecode}


def _stand(plans: Sequence[BuildPlan], session: BuildContext) -> bool:
    """Return whether the last build left all layers as they are to be, which needs no wheel."""
    for planned in plans:
        previous = Previous.of(session.project, session.output)
        with Toolchain(planned.service.target.python, session.store) as toolchain:
            for draft in planned.layers:
                closure = closure_of(draft, planned.layers, planned.service)
                tree = source_tree(planned, session)
                choice = known_choice(planned.service, closure, tree, toolchain=toolchain, store=session.store)
                if choice is None or reuse(LayerPlan.of(draft, choice), previous) is None:
                    return False
    return True


@dataclass
class _Bench:
    """Where the layers of all targets of a service are put together."""

    session: BuildContext
    objects: Objects
    place: Destination
    directory: Path
    several: bool
    """Whether other buckets may have to get what this one knows."""
    packing: bool
    sources: dict[str, Callable[[DesiredLayer], LayerZip]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shelf = RemoteIndex(self.objects, self.place.keys)
        # What the shelf says of modules is used here, and gone afterwards.
        self.notes = Store(self.directory / "notes")

    def build(self, planned: BuildPlan) -> Build | None:
        """Return the build for one target; nothing where it has to be made in full."""
        started, service, session = time.perf_counter(), planned.service, self.session
        supply = session.provider(service.target)
        session.reporter.stage("Looking at what the bucket knows")
        names = {draft.recipe.key(pin.sha256) for draft in planned.layers for pin in draft.selection.pins}
        names |= {sharing_name(draft.selection.pins, draft.recipe) for draft in planned.layers}
        if not self.shelf.look(names):
            return None
        tree = source_tree(planned, session)
        with Toolchain(service.target.python, session.store) as toolchain:
            pieces = RemoteSegments(
                self.shelf, self.objects, self.place.keys, supply=supply, toolchain=toolchain, store=session.store
            )
            noted = self._bring_notes(planned, tree)
            layers = []
            for draft in planned.layers:
                closure = closure_of(draft, planned.layers, service)
                choice = self._choice(closure, planned, tree, supply, toolchain)
                layers.append(self._layer(LayerPlan.of(draft, choice), pieces, noted))
            packages: tuple[Package, ...] = ()
            if self.packing:
                functions = self.directory / place_of(service.target) / "functions"
                packages = pack_anew(service, tree, functions, layers, toolchain=toolchain, store=session.store)
        findings = self._check(layers, packages or self._stand_ins(layers, service), service)
        if findings is None:
            return None
        return Build(
            service=service.name,
            target=service.target,
            layers=tuple(layers),
            packages=packages,
            findings=(*planned.findings, *findings),
            reused=False,
            seconds=time.perf_counter() - started,
        )

    def _bring_notes(self, planned: BuildPlan, tree: SourceTree) -> tuple[Path, ...]:
        """Put what is known of modules, here or on the shelf, into the store of notes; return where all of it would be."""
        places = note_places(planned, tree, self.notes, self.session)
        reached = [place for place in places if not is_of_imports(place)]
        self._bring(reached)
        if self.several or not all(place.is_file() for place in reached):
            # Mostly it only matters what was read of each wheel where the imports have to be followed again.
            self._bring([place for place in places if is_of_imports(place)])
        return tuple(places)

    def _bring(self, places: Sequence[Path]) -> None:
        own = {place.stem: self.session.store.root / place.relative_to(self.notes.root) for place in places}
        kept = {name: path.read_bytes() for name, path in own.items() if path.is_file()}
        found = self.shelf.look([place.stem for place in places if place.stem not in kept])
        for place in places:
            content = kept.get(place.stem)
            if content is None and (content := found.get(place.stem)) is not None and not is_fine(place, content):
                self.shelf.refuse(place.stem)
                continue
            if content is not None:
                with self.notes.writing(place) as file:
                    file.write(content)

    def _choice(
        self, closure: Closure, planned: BuildPlan, tree: SourceTree, supply: WheelProvider, toolchain: Toolchain
    ) -> BytecodeChoice:
        known = known_choice(planned.service, closure, tree, toolchain=toolchain, store=self.notes)
        if known is not None:
            return known
        codes = absent_codes(closure, supply)
        python = planned.service.target.python
        unknown = [code.pin for code in codes if not index_place(code, self.notes, python=python).is_file()]
        # All at once; one by one come those of which only some modules are known.
        supply.all(unknown)
        return follow(planned.service, closure, tree, codes, toolchain=toolchain, store=self.notes)

    def _layer(self, plan: LayerPlan, pieces: RemoteSegments, noted: Sequence[Path]) -> Layer:
        """Lay the planned layer out, and keep how to make its source."""
        identity, digest = plan.identity, plan.digest
        path = self.directory / f"{digest}.zip"
        while True:
            parts = pieces.contributions(plan)
            ordered = in_order(parts)
            end = ending([each.segment for each in ordered], identity, digest)
            pattern = layout_parts(extents(parts), end.zipped_bytes, quotas())
            # Each time that this fails the shelf knows less, and in the end nothing.
            if (laid := pieces.lay(path, ordered, end, pattern)) is not None:
                break
        layer = Layer(
            name=plan.config.name,
            path=path,
            digest=digest,
            sha256=self._sha256(path, digest, laid, size=end.zipped_bytes),
            zipped_bytes=end.zipped_bytes,
            unzipped_bytes=end.unzipped_bytes,
            files=end.files,
            distributions=tuple(distributions(plan.selection.pins, parts)),
            extents=extents(parts),
        )
        sharing, content = sharing_note(plan.selection.pins, plan.recipe, _omitted(parts))
        payloads = {place.stem: place.read_bytes() for place in noted if place.is_file()}
        payloads |= {sharing: content, **self.shelf.look(laid.elsewhere)}
        payloads |= shelved(path, layer, pattern, laid.parts, elsewhere=laid.elsewhere)
        there = self.shelf.look(payloads)
        self.sources[digest] = lambda wanted: SparseLayerZip(
            wanted,
            parts=laid.parts,
            here=laid.here,
            shelf=payloads,
            there=there,
            names={*payloads, *(place.stem for place in noted)},
            refused=self.shelf.refused,
            objects=self.objects,
            keys=self.place.keys,
        )
        return layer

    def _sha256(self, path: Path, digest: str, laid: SparseZip, *, size: int) -> str:
        """Return the SHA-256 of the whole zip, if it is here, or if who put it together before has recorded it."""
        if laid.whole:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        content = self.objects.get(self.place.keys.record(digest))
        record = None if content is None else decode_record(content)
        if record is None or (record.digest, record.zipped_bytes, record.parts) != (digest, size, laid.parts):
            return ""
        return record.sha256

    def _check(
        self, layers: Sequence[Layer], packages: Sequence[Package], service: Service
    ) -> tuple[Finding, ...] | None:
        """Return what is wrong with the layers and packages; nothing where what has to be read for that is not here."""
        try:
            return finished.check(layers, packages, service)
        except zipfile.BadZipFile:
            return None

    def _stand_ins(self, layers: Sequence[Layer], service: Service) -> list[Package]:
        """Return packages without content: the functions' own code is no matter of publishing layers."""
        empty = self.directory / "function.zip"
        empty.write_bytes(end_of_directory(rows=0, directory_bytes=0, directory_offset=0))
        sizes = {layer.name: layer.unzipped_bytes for layer in layers}
        return [
            Package(
                name=function.name,
                handler=function.handler,
                path=empty,
                sha256="",
                zipped_bytes=0,
                unzipped_bytes=0,
                files=0,
                layers=function.layers,
                total_unzipped_bytes=sum(sizes[name] for name in function.layers),
                console_editable=False,
            )
            for function in service.functions
        ]
