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
    from lamina.bytecode.installation import Installer
    from lamina.core.reporter import Reporter
    from lamina.core.values import Layer, Pin
    from lamina.fetch.index import PackageIndex
    from lamina.pipeline.layers import LayerPlan
    from lamina.project.options import BuildOptions
    from lamina.project.service import Service


class RemoteStore(Protocol):
    """
    A bucket with segments. lamina reads only their descriptions, because S3 itself copies their bytes into a layer.

    The pipeline searches the local store first. Methods are thread-safe, and raise AwsError or a subclass.
    """

    @property
    def imports(self) -> Store:
        """A store for indexes of modules and their imports, which reads from this machine and from the bucket."""

    def segments(self, paths: Sequence[Path]) -> Mapping[Path, Segment]:
        """Return the segments at *paths* in the local store, as far as the bucket describes them, by path."""

    def shared_paths(self, pins: Sequence[Pin], recipe: Recipe) -> Mapping[str, frozenset[str]] | None:
        """Return the paths to omit from each distribution, because another one has them; ``None`` if not recorded."""

    def refuse_shared_paths(self, pins: Sequence[Pin], recipe: Recipe) -> None:
        """Record that the result of `shared_paths` is wrong, so that it is not used again."""

    def compose(
        self, plan: LayerPlan, pins: Sequence[Pin], parts: Sequence[Contribution], destination: Path
    ) -> Layer | None:
        """
        Write the planned layer, composed of *parts*, to *destination*, except for the parts that only the bucket has.

        *destination* has holes for these parts. *pins* are the layer's wheels. Return ``None`` if the bucket no longer has
        a segment that it described; the caller then requests the segments again.
        """


class TeamStore(Protocol):
    """A store that a team shares: it supplies files before a build, and receives new files after it."""

    def __call__(self, context: BuildContext, service: Service) -> AbstractContextManager[BuildContext]:
        """
        Return a context manager: it downloads files, supplies the context to build with, and then uploads new files.

        If the team store is unreachable, the build is slower but does not fail.
        """


@frozen
class BuildContext:
    """The objects that all stages of one build share."""

    project: Path
    options: BuildOptions
    store: Store
    index: PackageIndex
    """The configured package indexes, with the credentials found so far."""
    reporter: Reporter
    output: Path
    """
    The absolute path of the directory in which ``.lamina`` receives the outputs.

    The build is recorded for the next build only if this is the project.
    """
    remote: RemoteStore | None = None

    @classmethod
    def open(
        cls, project: Path, options: BuildOptions, *, store: Store | None = None, reporter: Reporter = SILENT
    ) -> BuildContext:
        """Return the context for *project*, without reading any file."""
        from lamina.fetch.index import PackageIndex

        store = Store.open() if store is None else store
        store.note = reporter.note
        index = PackageIndex(project, store, offline=options.offline, reporter=reporter)
        return cls(project=project, options=options, store=store, index=index, reporter=reporter, output=project)

    @property
    def installer(self) -> Installer:
        """The installer of missing interpreters."""
        from lamina.bytecode.installation import Installer

        return Installer(project=self.project, reporter=self.reporter, offline=self.options.offline)
