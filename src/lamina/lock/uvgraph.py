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
    from collections.abc import Iterator, Sequence

    from lamina.lock.reading import LockTable
    from lamina.lock.types import Request


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


def reach(
    rows: Sequence[LockTable], root: int, conflicts: Sequence[Sequence[LockTable]], request: Request
) -> list[int]:
    """
    Return the positions of the *rows* that the one at *root* needs, itself excluded, in their order.

    At most one choice of each of *conflicts* may be made: raises `LockError` where several are, and if two versions of one
    package would be needed at once.
    """
    walk = _GraphWalk(rows, root, request, has_conflicts=bool(conflicts))
    if conflicts:
        walk.run()
        walk.refuse_conflicts(conflicts)
    positions = sorted(walk.run() - {root})
    needed = ((rows[position].get_required("name", str), rows[position].get("version", str)) for position in positions)
    validation.one_version_each(needed, subject="the lock needs")
    return positions


class _GraphWalk:
    """One question to one graph; what is learnt of active choices stays from one run to the next."""

    def __init__(self, rows: Sequence[LockTable], root: int, request: Request, *, has_conflicts: bool) -> None:
        self._rows = rows
        self._root = root
        self._request = request
        self._has_conflicts = has_conflicts
        name = rows[root].get_required("name", str)
        self._active = {
            ConflictItem(package=name),
            *(ConflictItem(package=name, extra=extra) for extra in request.extras),
            *(ConflictItem(package=name, group=group) for group in request.groups),
        }
        self._by_name: dict[str, list[int]] = {}
        for position, row in enumerate(rows):
            self._by_name.setdefault(row.get_required("name", str), []).append(position)
        self._verdicts: dict[str, bool] = {}

    def run(self) -> set[int]:
        """Return what is reached, and remember every extra that an edge switched on."""
        self._verdicts.clear()
        queue = deque((self._root, extra) for extra in (None, *self._request.extras))
        seen = set(queue)
        groups = self._rows[self._root].get_table("dev-dependencies")
        edges = [edge for group in self._request.groups for edge in groups.get_tables(group)]
        while True:
            for step in (step for edge in edges for step in self._follow(edge)):
                if step not in seen:
                    seen.add(step)
                    queue.append(step)
            if not queue:
                return {position for position, _ in seen}
            position, extra = queue.popleft()
            row = self._rows[position]
            edges = (
                row.get_tables("dependencies")
                if extra is None
                else row.get_table("optional-dependencies").get_tables(extra)
            )

    def refuse_conflicts(self, conflicts: Sequence[Sequence[LockTable]]) -> None:
        """Raise `LockError` naming the active choices of every set that has more than one."""
        clashes = [sorted(self._active & set(map(_item, conflict)), key=str) for conflict in conflicts]
        worded = [" with ".join(str(choice) for choice in clash) for clash in clashes if len(clash) > 1]
        if worded:
            raise LockError(
                f"the lock forbids together: {'; '.join(worded)}",
                hint="choose one of each in `groups` and `extras`, or give each its own layer and function",
            )

    def _follow(self, edge: LockTable) -> Iterator[tuple[int, str | None]]:
        """Yield where *edge* leads to, with each extra that it asks for, if it is taken."""
        name, extras = edge.get_required("name", str), edge.get_strings("extra")
        added = {ConflictItem(package=name, extra=extra) for extra in extras} if self._has_conflicts else set()
        if self._applies(edge, added - self._active):
            if not added <= self._active:
                self._active |= added
                self._verdicts.clear()
            position = self._position(edge, name)
            yield from ((position, extra) for extra in (None, *extras))

    def _applies(self, edge: LockTable, added: set[ConflictItem]) -> bool:
        marker = edge.get("marker", str)
        if marker is None:
            return True
        verdict = None if added else self._verdicts.get(marker)
        if verdict is None:
            codes = {choice.code for choice in self._active | added}
            verdict = holds(edge.get_as("marker", parse_marker), codes, self._request.target.markers)
        if not added:
            self._verdicts[marker] = verdict
        return verdict

    def _position(self, edge: LockTable, name: str) -> int:
        """Return the row that *edge* means, which tells version and source where the name alone is ambiguous."""
        version, source = edge.get("version", str), edge.get("source", dict)
        found = [
            position
            for position in self._by_name.get(name, ())
            if version in {None, self._rows[position].get("version", str)}
            and source in (None, self._rows[position].get("source", dict))
        ]
        if len(found) != 1:
            problem = "is not locked" if not found else "is locked more than once"
            raise LayoutError(f"a dependency on `{name}` {version or ''} {problem}".replace("  ", " "))
        return found[0]


def _item(row: LockTable) -> ConflictItem:
    return ConflictItem(
        package=row.get_required("package", str), extra=row.get("extra", str), group=row.get("group", str)
    )
