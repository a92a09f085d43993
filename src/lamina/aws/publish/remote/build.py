"""
Build layers from segments in a bucket, so that ``lamina publish`` and ``lamina deploy`` need not download most wheels.

The build applies the same plan as a full build, but uses segments in the bucket in place of missing local ones. A wheel is downloaded
only if the bucket's index has no entry for its segment, or if the build needs metadata of the wheel that the index lacks.
A build with the bucket writes no files into the project.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING

from lamina.aws.publish.remote.metadata import metadata, metadata_paths, shared_paths_name
from lamina.aws.publish.remote.segments import BucketStore
from lamina.aws.publish.remote_index import RemoteIndex, index_entries
from lamina.aws.publish.zip_source import IndexUpdate, LayerJob, SparseLayerZip
from lamina.bytecode.choice import is_reach
from lamina.core.errors import DamagedOutputError
from lamina.core.frozen import frozen, replace
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.pipeline.build import apply
from lamina.pipeline.context import BuildContext
from lamina.pipeline.plan import resolve
from lamina.project import config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.destination.destination import Destination
    from lamina.aws.publish.config import PublishConfig
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.aws.publish.zip_source import LayerZip
    from lamina.core.reporter import Reporter
    from lamina.core.values import Build
    from lamina.pipeline.build import Result
    from lamina.pipeline.context import TeamStore
    from lamina.pipeline.plan import BuildPlan, TargetPlan
    from lamina.project.options import BuildOptions


@frozen
class ServiceBuild:
    """The layers and function packages of a service for all its targets, ready to publish."""

    result: Result
    metadata: Callable[[], Mapping[str, bytes]]
    """A function that returns the index entries to write, by name, in addition to the entries for segments."""
    remote: _Remote | None = None
    """The bucket with the bytes that are missing on this machine; ``None`` for a full build."""

    @property
    def builds(self) -> tuple[Build, ...]:
        """The result of the build for each target."""
        return tuple(each.build for each in self.result.targets)

    @property
    def ok(self) -> bool:
        """Whether the checks found no errors in any build."""
        return all(build.ok for build in self.builds)

    def jobs(self, layers: Sequence[DesiredLayer]) -> list[LayerJob]:
        """Return a publishing job for each of *layers*, with the zip from this build."""
        return [LayerJob(layer, self._zip(layer), metadata=self.metadata) for layer in layers]

    def _zip(self, layer: DesiredLayer) -> LayerZip | None:
        return None if self.remote is None else self.remote.zip(layer, self.result)


@frozen
class _Remote:
    """A bucket, its index, and the layers that were built from its segments."""

    bucket: Bucket
    index: RemoteIndex
    store: BucketStore
    several: bool
    """Whether there are several destinations, so that other buckets may need entries of this bucket's index."""

    def zip(self, layer: DesiredLayer, result: Result) -> LayerZip | None:
        """Return the zip of *layer*, which may have holes, or ``None`` if the build reused the zip of an earlier build."""
        sparse = self.store.zips.get(layer.layer.digest)
        if sparse is None:
            return None
        # A plain store, not `ImportStore`, so that looking up the paths downloads nothing.
        store = Store(self.store.imports.root)
        paths = [path for each in result.targets for path in metadata_paths(each.plan, store)]
        payloads = self.index.read(path.stem for path in paths) if self.several else {}
        payloads |= {path.stem: path.read_bytes() for path in paths if path.is_file()}
        payloads |= dict([sparse.shared_paths]) | self.index.read(sparse.remote_segments)
        payloads |= index_entries(
            layer.layer.path, layer.layer, layer.layout, sparse.parts, elsewhere=sparse.remote_segments
        )
        return SparseLayerZip(
            layer,
            parts=sparse.parts,
            whole_parts=sparse.whole_parts,
            bucket=self.bucket,
            index=IndexUpdate(
                entries=payloads,
                names=frozenset(path.stem for path in paths),
                known=frozenset(self.index.read(payloads)),
                refused=frozenset(self.index.refused),
                bucket=self.bucket,
            ),
        )


def build_service(
    project: Path,
    settings: PublishConfig,
    options: BuildOptions,
    connect: Callable[[], Sequence[Destination]],
    *,
    directory: Path,
    store: Store | None = None,
    team_store: TeamStore | None = None,
    reporter: Reporter = SILENT,
) -> ServiceBuild:
    """
    Build *project* with segments in the bucket of the first destination, or in full, which downloads missing wheels.

    The build is a full build if no bucket may be used (not configured, ``missing-wheels = "fetch"`` or ``--offline``), if the store has
    all wheels, if no layer needs building, if the bucket's index has no entry for the layers of a target, or if a check needs bytes that
    are missing on this machine. Zips built with the bucket are written to *directory*. *connect* is called only if the bucket may be
    used and wheels are missing. Raises `AwsError`, and all errors of a full build.
    """
    started_ns = time.time_ns()
    context = BuildContext.open(project, options, store=store, reporter=reporter)
    with context.store.in_use(reporter):
        service = config.load(project, options, store=context.store)
        plan = resolve(context, service)
        if settings.bucket is not None and not settings.fetches and not options.offline and plan.missing:
            found = _from_bucket(plan, context, connect(), directory, started_ns=started_ns)
            if found is not None:
                return found
        with nullcontext(context) if team_store is None else team_store(context, service) as shared:
            # The team store may have supplied missing files, so plan again.
            result = apply(plan if shared is context else resolve(shared, service), shared, started_ns=started_ns)
        made = replace(plan, targets=tuple(each.plan for each in result.targets))
    return ServiceBuild(result=result, metadata=cache(partial(metadata, made, context.store)))


def _from_bucket(
    plan: BuildPlan, context: BuildContext, destinations: Sequence[Destination], directory: Path, *, started_ns: int
) -> ServiceBuild | None:
    """Build the layers of *plan* with segments from the bucket. Return ``None`` if a full build is needed."""
    bucket = destinations[0].bucket
    if bucket is None:
        return None
    context.reporter.stage("reading the bucket's index")
    index = RemoteIndex(bucket)
    if not all(_prefetch(target, index, context.store, imports=len(destinations) > 1) for target in plan.targets):
        return None
    store = BucketStore(index, bucket, store=context.store, scratch=directory / "imports")
    context = replace(context, output=directory, remote=store)
    try:
        result = apply(plan, context, started_ns=started_ns)
    except DamagedOutputError:
        # A check tried to read bytes inside a hole of a zip.
        return None
    return ServiceBuild(
        result=result,
        # The bucket's index already has these entries.
        metadata=dict[str, bytes],
        remote=_Remote(bucket=bucket, index=index, store=store, several=len(destinations) > 1),
    )


def _prefetch(plan: TargetPlan, index: RemoteIndex, store: Store, *, imports: bool) -> bool:
    """
    Read the entries that the build will need from *index*, in parallel. Return whether the index has any entry for the layers.

    The entries with the imports of each wheel's modules are read only if *imports* is true, or if the index does not have all entries
    with the modules that the handlers reach.
    """
    names = {layer.recipe.key(pin.sha256) for layer in plan.layers for pin in layer.selection.pins}
    names |= {shared_paths_name(layer.selection.pins, layer.recipe) for layer in plan.layers}
    if not index.read(names):
        return False
    paths = [] if plan.packages is None else [path for path in metadata_paths(plan, store) if not path.is_file()]
    reached = [path.stem for path in paths if is_reach(path)]
    if len(index.read(reached)) < len(reached) or imports:
        index.read(path.stem for path in paths)
    return True
