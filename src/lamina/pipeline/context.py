"""What the stages of one build share: the project, the options, the stores, the package index and the reporter."""

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
    The remote half of the store: a bucket that describes segments without sending them.

    The pipeline asks this machine's store first. Methods may be called from several threads at once, and raise AwsError and its kinds.
    """

    @property
    def imports(self) -> Store:
        """A store that holds what this machine and the bucket know of modules and their imports."""

    def segments(self, paths: Sequence[Path]) -> Mapping[Path, Segment]:
        """Return the segments that the bucket describes, by the *paths* that the local store would give them."""

    def shared_paths(self, pins: Sequence[Pin], recipe: Recipe) -> Mapping[str, frozenset[str]] | None:
        """Return the paths to omit from each distribution, or ``None`` if the bucket does not know."""

    def refuse_shared_paths(self, pins: Sequence[Pin], recipe: Recipe) -> None:
        """Do not use the answer of `shared_paths` again: it is wrong."""

    def compose(
        self, plan: LayerPlan, pins: Sequence[Pin], parts: Sequence[Contribution], destination: Path
    ) -> Layer | None:
        """
        Write the planned layer of *parts*, the wheels of *pins*, to *destination*, leaving holes for the bytes that the bucket has.

        Return ``None`` if the bucket no longer has what it described; the caller then asks for the segments again.
        """


class TeamStore(Protocol):
    """A store that a team shares: files come from it before a build, and go to it afterwards."""

    def __call__(self, context: BuildContext, service: Service) -> AbstractContextManager[BuildContext]:
        """Return the context to build with; a team store that cannot be reached only makes the build slower."""


@frozen
class BuildContext:
    """What the stages of one build share."""

    project: Path
    options: BuildOptions
    store: Store
    index: PackageIndex
    """The package indexes, with the credentials that were learned on the way."""
    reporter: Reporter
    output: Path
    """Absolute directory below which the outputs go, into `.lamina`. Only a build into the project itself is recorded."""
    remote: RemoteStore | None = None

    @classmethod
    def open(
        cls, project: Path, options: BuildOptions, *, store: Store | None = None, reporter: Reporter = SILENT
    ) -> BuildContext:
        """Return the context for *project*; nothing is read yet."""
        from lamina.fetch.index import PackageIndex

        store = Store.open() if store is None else store
        index = PackageIndex(project, store, offline=options.offline)
        return cls(project=project, options=options, store=store, index=index, reporter=reporter, output=project)
