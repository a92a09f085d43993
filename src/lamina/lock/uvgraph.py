"""
Walk the graph inside a uv.lock from one project to everything that one target needs. Pure: knows rows, not files.

The rules are those by which uv itself syncs an environment: every edge has a marker, and where ``tool.uv.conflicts``
splits the resolution, the marker also says with which extras and groups the edge is taken, encoded as
``extra == 'extra-<length of package>-<package>-<extra>'``, ``group-…`` or ``project-…``. Several of those names may hold at
once, unlike the one ``extra`` of a dependency specifier, so here they are a set. A first walk finds which names hold, because
an edge may switch on an extra that decides about an edge seen before it; a second walk gives the answer.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from lamina.core.errors import LockError
from lamina.core.frozen import frozen
from lamina.lock import validation
from lamina.lock.markers import holds, parse_marker
from lamina.lock.reading import LayoutError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.markers import Environment

__all__ = ["ConflictItem", "Edge", "Graph", "UvPackage", "reach"]


@frozen
class Edge:
    """One dependency of a node; *version* and *source* are there where the name alone is ambiguous."""

    name: str
    version: str | None
    source: tuple[tuple[str, str], ...] | None
    extras: tuple[str, ...]
    marker: str | None


@frozen
class UvPackage:
    """One locked package."""

    name: str
    version: str | None
    source: tuple[tuple[str, str], ...]
    dependencies: tuple[Edge, ...]
    extras: Mapping[str, tuple[Edge, ...]]
    groups: Mapping[str, tuple[Edge, ...]]


@frozen
class ConflictItem:
    """An extra, a group, or neither, of one package: what may conflict with another."""

    package: str
    extra: str | None = None
    group: str | None = None

    @property
    def code(self) -> str:
        """The name under which markers speak of this choice."""
        kind, name = ("extra", self.extra) if self.extra else ("group", self.group) if self.group else ("project", None)
        return "-".join(filter(None, (kind, str(len(self.package)), self.package, name)))

    def __str__(self) -> str:
        if self.extra:
            return f"extra `{self.extra}` of `{self.package}`"
        return f"group `{self.group}` of `{self.package}`" if self.group else f"`{self.package}`"


@frozen
class Graph:
    """All nodes of a lock, and the sets of choices of which at most one may be made."""

    nodes: tuple[UvPackage, ...]
    conflicts: tuple[frozenset[ConflictItem], ...]


def reach(graph: Graph, root: int, *, groups: Iterable[str], extras: Iterable[str], markers: Environment) -> list[int]:
    """
    Return the positions of the nodes that *root* needs, itself excluded, in the order of the graph.

    Raises `LockError` for conflicting choices, or if two versions of one package would be needed at once.
    """
    walk = _GraphWalk(graph, root, groups=tuple(groups), extras=tuple(extras), markers=markers)
    if graph.conflicts:
        walk.run()
        walk.refuse_conflicts()
    positions = sorted(walk.run() - {root})
    validation.one_version_each(
        ((graph.nodes[position].name, graph.nodes[position].version) for position in positions),
        subject="the lock needs",
    )
    return positions


class _GraphWalk:
    """One question to one graph; what is learnt of active choices stays from one run to the next."""

    def __init__(
        self, graph: Graph, root: int, *, groups: tuple[str, ...], extras: tuple[str, ...], markers: Environment
    ) -> None:
        self._graph = graph
        self._root = root
        self._groups = groups
        self._extras = extras
        self._markers = markers
        name = graph.nodes[root].name
        self._active = {
            ConflictItem(package=name),
            *(ConflictItem(package=name, extra=extra) for extra in extras),
            *(ConflictItem(package=name, group=group) for group in groups),
        }
        self._by_name: dict[str, list[int]] = {}
        for position, node in enumerate(graph.nodes):
            self._by_name.setdefault(node.name, []).append(position)
        self._verdicts: dict[str, bool] = {}

    def run(self) -> set[int]:
        """Return what is reached, and remember every extra that an edge switched on."""
        self._verdicts.clear()
        reached = {self._root}
        queue = deque((self._root, extra) for extra in (None, *self._extras))
        seen = set(queue)
        for edge in self._seeds():
            self._follow(edge, queue, seen, reached)
        while queue:
            position, extra = queue.popleft()
            node = self._graph.nodes[position]
            for edge in node.dependencies if extra is None else node.extras.get(extra, ()):
                self._follow(edge, queue, seen, reached)
        return reached

    def refuse_conflicts(self) -> None:
        """Raise `LockError` naming the active choices of every set that has more than one."""
        clashes = [sorted(self._active & conflict, key=str) for conflict in self._graph.conflicts]
        worded = [" with ".join(str(choice) for choice in clash) for clash in clashes if len(clash) > 1]
        if worded:
            raise LockError(
                f"the lock forbids together: {'; '.join(worded)}",
                hint="choose one of each in `groups` and `extras`, or give each its own layer and function",
            )

    def _seeds(self) -> Iterator[Edge]:
        for group in self._groups:
            yield from self._graph.nodes[self._root].groups.get(group, ())

    def _follow(
        self,
        edge: Edge,
        queue: deque[tuple[int, str | None]],
        seen: set[tuple[int, str | None]],
        reached: set[int],
    ) -> None:
        added = (
            {ConflictItem(package=edge.name, extra=extra) for extra in edge.extras} if self._graph.conflicts else set()
        )
        if not self._applies(edge.marker, added - self._active):
            return
        if not added <= self._active:
            self._active |= added
            self._verdicts.clear()
        position = self._position(edge)
        reached.add(position)
        for extra in (None, *edge.extras):
            if (position, extra) not in seen:
                seen.add((position, extra))
                queue.append((position, extra))

    def _applies(self, marker: str | None, added: set[ConflictItem]) -> bool:
        if marker is None:
            return True
        if added or (verdict := self._verdicts.get(marker)) is None:
            verdict = self._evaluate(marker, added)
        if not added:
            self._verdicts[marker] = verdict
        return verdict

    def _evaluate(self, marker: str, added: set[ConflictItem]) -> bool:
        return holds(parse_marker(marker), {choice.code for choice in self._active | added}, self._markers)

    def _position(self, edge: Edge) -> int:
        found = [
            position
            for position in self._by_name.get(edge.name, ())
            if edge.version in {None, self._graph.nodes[position].version}
            and edge.source in {None, self._graph.nodes[position].source}
        ]
        if len(found) != 1:
            problem = "is not locked" if not found else "is locked more than once"
            raise LayoutError(f"a dependency on `{edge.name}` {edge.version or ''} {problem}".replace("  ", " "))
        return found[0]
