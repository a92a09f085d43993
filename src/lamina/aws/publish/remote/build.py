"""
Build layers from what a bucket has, on a machine that lacks their wheels: the way of `publish` and `deploy` around a full build.

The plan is the one that a full build applies, over a store whose remote half is the bucket. A wheel is fetched only where the bucket's
index does not know its segment, or where something of it must be read that nobody has read before.
Nothing is written into the project.
"""

from __future__ import annotations

import time
import zipfile
from contextlib import nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING

from lamina.aws.publish.remote.metadata import metadata, metadata_paths, shared_paths_name
from lamina.aws.publish.remote.segments import BucketStore
from lamina.aws.publish.remote_index import RemoteIndex, index_entries
from lamina.aws.publish.zip_source import IndexUpdate, LayerJob, SparseLayerZip
from lamina.bytecode.choice import is_reach
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
    """The layers and packages of a service for all its targets, ready to be published."""

    result: Result
    metadata: Callable[[], Mapping[str, bytes]]
    """Returns what the bucket's index is to keep beside the layers."""
    remote: _Remote | None = None
    """Where the bytes are that are not on this machine; ``None`` for a full build."""

    @property
    def builds(self) -> tuple[Build, ...]:
        """One for each target."""
        return tuple(each.build for each in self.result.targets)

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return all(build.ok for build in self.builds)

    def jobs(self, layers: Sequence[DesiredLayer]) -> list[LayerJob]:
        """Return what becomes of the desired *layers*."""
        return [LayerJob(layer, self._zip(layer), metadata=self.metadata) for layer in layers]

    def _zip(self, layer: DesiredLayer) -> LayerZip | None:
        return None if self.remote is None else self.remote.zip(layer, self.result)


@frozen
class _Remote:
    """The bucket that a build was made from."""

    bucket: Bucket
    index: RemoteIndex
    store: BucketStore
    several: bool
    """Whether other buckets may need what this one's index says."""

    def zip(self, layer: DesiredLayer, result: Result) -> LayerZip | None:
        """Return the zip of *layer* as far as it is here, or ``None`` for a layer that the last build left."""
        sparse = self.store.zips.get(layer.layer.digest)
        if sparse is None:
            return None
        # Only the names: what was not asked for is not brought now.
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
    Build *project*, or its layers from what the bucket of the first destination has; those zips are in *directory*.

    The bucket is used only if it can help: not with all wheels in the store, or if the last build left every layer, or if the bucket
    knows none of them, or if a check has to read what is not here. AWS is not asked before.
    Raises what resolving, fetching, splicing and compiling raise, and AwsError and its kinds.
    """
    started_ns = time.time_ns()
    context = BuildContext.open(project, options, store=store, reporter=reporter)
    with context.store.in_use():
        service = config.load(project, options)
        plan = resolve(context, service)
        if settings.bucket is not None and not settings.fetches and not options.offline and plan.missing:
            found = _from_bucket(plan, context, connect(), directory, started_ns=started_ns)
            if found is not None:
                return found
        with nullcontext(context) if team_store is None else team_store(context, service) as shared:
            # With the files of a team store less may be unknown or missing.
            result = apply(plan if shared is context else resolve(shared, service), shared, started_ns=started_ns)
        made = replace(plan, targets=tuple(each.plan for each in result.targets))
    return ServiceBuild(result=result, metadata=cache(partial(metadata, made, context.store)))


def _from_bucket(
    plan: BuildPlan, context: BuildContext, destinations: Sequence[Destination], directory: Path, *, started_ns: int
) -> ServiceBuild | None:
    """Return the layers of *plan* made from the bucket; ``None`` if they have to be made in full."""
    bucket = destinations[0].bucket
    if bucket is None:
        return None
    context.reporter.stage("Looking at what the bucket knows")
    index = RemoteIndex(bucket)
    if not all(_prefetch(target, index, context.store, imports=len(destinations) > 1) for target in plan.targets):
        return None
    store = BucketStore(index, bucket, store=context.store, scratch=directory / "imports")
    context = replace(context, output=directory, remote=store)
    try:
        result = apply(plan, context, started_ns=started_ns)
    except zipfile.BadZipFile:
        # A check had to read what is in a hole of a zip.
        return None
    return ServiceBuild(
        result=result,
        # The bucket has it already.
        metadata=dict[str, bytes],
        remote=_Remote(bucket=bucket, index=index, store=store, several=len(destinations) > 1),
    )


def _prefetch(plan: TargetPlan, index: RemoteIndex, store: Store, *, imports: bool) -> bool:
    """
    Read from *index* in parallel what the build will ask for, and return whether it knows anything of the layers.

    What modules import matters only with *imports*, or if nobody has followed the handlers' imports before.
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
