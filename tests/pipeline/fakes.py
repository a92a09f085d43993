"""An in-memory remote store that implements the protocol, for tests of the pipeline without AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.archive.segment import find_segment
from lamina.core.frozen import replace
from lamina.pipeline.layers import compose_layer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lamina.archive.layer import Contribution
    from lamina.archive.segment import Recipe, Segment
    from lamina.core.store import Store
    from lamina.core.values import Layer, Pin
    from lamina.pipeline.layers import LayerPlan

__all__ = ["FakeRemoteStore"]


class FakeRemoteStore:
    """
    A `RemoteStore` whose bucket is the store of another machine. It counts the requests it receives.

    It describes the segments that the other store has and *local* lacks, and copies their bytes only to compose a layer.
    """

    def __init__(self, other: Store, local: Store, *, shared: Mapping[str, frozenset[str]] | None = None) -> None:
        """Return *shared* as the paths that distributions have in common."""
        self.imports = other
        self.shared = shared
        self.lost: set[str] = set()
        """Names of segments whose bytes are missing from the bucket, which is only detected while composing."""
        self.asked: list[str] = []
        """Names of the requested segments."""
        self.composed = 0
        """The number of calls of `compose`."""
        self.refused = 0
        """The number of rejected results of `shared_paths`."""
        self._other, self._local = other, local
        self._forgotten: set[str] = set()

    def segments(self, paths: Sequence[Path]) -> Mapping[Path, Segment]:
        self.asked += [path.stem for path in paths]
        found = {
            path: find_segment(self._place(path), self._other) for path in paths if path.stem not in self._forgotten
        }
        return {path: replace(segment, path=path) for path, segment in found.items() if segment is not None}

    def shared_paths(self, pins: Sequence[Pin], recipe: Recipe) -> Mapping[str, frozenset[str]] | None:
        return self.shared

    def refuse_shared_paths(self, pins: Sequence[Pin], recipe: Recipe) -> None:
        self.refused += 1
        self.shared = None

    def compose(
        self, plan: LayerPlan, pins: Sequence[Pin], parts: Sequence[Contribution], destination: Path
    ) -> Layer | None:
        self.composed += 1
        remote = {part.segment.path for part in parts if not part.segment.path.is_file()}
        if gone := self.lost & {path.stem for path in remote}:
            self._forgotten |= gone
            return None
        for path in remote:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._place(path).read_bytes())
        return compose_layer(plan, pins, parts, destination)

    def _place(self, path: Path) -> Path:
        return self._other.root / path.relative_to(self._local.root)
