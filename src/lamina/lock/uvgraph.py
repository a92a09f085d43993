"""
Find the packages in a uv.lock that one project needs on one target, by walking the lock's dependency graph.

The rules are those of ``uv sync``. An edge is a dependency of one locked package on another, and may have a marker. If the
project declares ``tool.uv.conflicts``, the marker also names the extras and groups that the edge is for. They are encoded as
``extra == 'extra-<length of package>-<package>-<extra>'``, ``group-…`` or ``project-…``. Several of these names can be active
at once, so ``extra`` is evaluated as a set, unlike in a dependency specifier.

With conflicts, the graph is walked twice. An edge can activate an extra that affects an edge followed earlier, so the first
walk collects the active extras, and the second returns the packages.
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
    """An extra of a package, a group of a package, or the package itself, in a set of conflicting items."""

    package: str
    extra: str | None = None
    group: str | None = None

    @property
    def code(self) -> str:
        """The item's name in uv's markers, such as ``extra-3-app-cpu``."""
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
    Return the sorted positions of the *rows* that the row at *root* needs, without *root* itself.

    Each table in *rows* is a locked package. Raises `LockError` if more than one item of a set in *conflicts* is active, or
    if more than one version of a package is needed.
    """
    walk = _GraphWalk(rows, root, request, has_conflicts=bool(conflicts))
    if conflicts:
        walk.run()
        walk.refuse_conflicts(conflicts)
    positions = sorted(walk.run() - {root})
    needed = ((rows[position].get_required("name", str), rows[position].get("version", str)) for position in positions)
    validation.one_version_each(needed, subject="the lock requires")
    return positions


class _GraphWalk:
    """Walks one graph for one request. The active extras and groups are kept from one `run` to the next."""

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
        """Return the positions of all reachable rows, and record every extra that an edge activates."""
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
        """Raise `LockError` if a set in *conflicts* has more than one active item, listing all such items."""
        clashes = [sorted(self._active & set(map(_item, conflict)), key=str) for conflict in conflicts]
        worded = [" and ".join(str(choice) for choice in clash) for clash in clashes if len(clash) > 1]
        if worded:
            raise LockError(
                f"the lock does not allow a selection with {'; '.join(worded)}",
                hint="select only one of them in `groups` and `extras`, or use a separate layer for each",
            )

    def _follow(self, edge: LockTable) -> Iterator[tuple[int, str | None]]:
        """
        Yield the position of the row that *edge* leads to, paired with ``None`` and with each extra that *edge* requires.

        Yield nothing if the marker of *edge* is false.
        """
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
        """
        Return the position of the row that *edge* refers to.

        uv adds the version and source to an edge only if the name alone is ambiguous. Raises `LayoutError` unless exactly
        one row matches.
        """
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
