"""The objects that all stages of a build share: project, options, stores, package index and reporter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lamina.core.frozen import frozen
from lamina.core.reporter import SILENT
from lamina.core.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from lamina.archive.layer import Contribution
    from lamina.archive.segment import Recipe, Segment
    from lamina.core.reporter import Reporter
    from lamina.core.values import Layer, Pin
    from lamina.fetch.index import PackageIndex
    from lamina.pipeline.layers import LayerPlan
    from lamina.project.options import BuildOptions
    from lamina.project.service import Service


class RemoteStore(Protocol):
    """
    A bucket that describes segments without sending them, so that S3 can copy their bytes into a layer.

    The pipeline searches the local store first. Methods are thread-safe, and raise AwsError or a subclass.
    """

    @property
    def imports(self) -> Store:
        """The store for indexes of modules and their imports, on this machine and in the bucket."""

    def segments(self, paths: Sequence[Path]) -> Mapping[Path, Segment]:
        """Return the segments that the bucket describes, by their *paths* in the local store."""

    def shared_paths(self, pins: Sequence[Pin], recipe: Recipe) -> Mapping[str, frozenset[str]] | None:
        """Return the paths to omit from each distribution, or ``None`` if the bucket has no record of them."""

    def refuse_shared_paths(self, pins: Sequence[Pin], recipe: Recipe) -> None:
        """Mark the result of `shared_paths` as wrong, so that it is not used again."""

    def compose(
        self, plan: LayerPlan, pins: Sequence[Pin], parts: Sequence[Contribution], destination: Path
    ) -> Layer | None:
        """
        Write the planned layer, composed of *parts*, to *destination*, with holes for the bytes that the bucket already has.

        *pins* are the layer's wheels. Return ``None`` if the bucket no longer has a segment that it described; the caller
        then requests the segments again.
        """


class TeamStore(Protocol):
    """A store that a team shares: it supplies files before a build, and receives new files after it."""

    def __call__(self, context: BuildContext, service: Service) -> AbstractContextManager[BuildContext]:
        """Return the context to build with. If the team store is unreachable, the build is slower but does not fail."""


@frozen
class BuildContext:
    """The objects that all stages of one build share."""

    project: Path
    options: BuildOptions
    store: Store
    index: PackageIndex
    """The package indexes, including the credentials found so far."""
    reporter: Reporter
    output: Path
    """The absolute directory for the outputs, which go into its `.lamina`. Only a build into the project itself is recorded."""
    remote: RemoteStore | None = None

    @classmethod
    def open(
        cls, project: Path, options: BuildOptions, *, store: Store | None = None, reporter: Reporter = SILENT
    ) -> BuildContext:
        """Return the context for *project*, without reading any file."""
        from lamina.fetch.index import PackageIndex

        store = Store.open() if store is None else store
        index = PackageIndex(project, store, offline=options.offline)
        return cls(project=project, options=options, store=store, index=index, reporter=reporter, output=project)
