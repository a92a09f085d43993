"""Measure the command ``lamina build`` for the example, with different parts of the build already cached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.bench import remove
from benchmarks.values import Budget, Measure, Row, Unavailable, times

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.values import Command

__all__ = ["BUDGETS", "rows"]

_MEGABYTES = 1_000_000
_AIM = 1 / 40

BUDGETS = (
    *times("build, wheels in the store", "build-wheels", "uv-zip", 1 / 20, aim=_AIM),
    Budget(
        what="build, segments in the store",
        row="build-segments",
        against="uv-zip",
        measure=Measure.TIMES,
        at_most=_AIM,
        aim=True,
    ),
    *times("build, nothing changed", "build-nothing", "python", 3, aim=2.5),
    # The ratio is 13 for a `.gitignore` that contains names only, and 18 if pathspec is imported for it (2026-11-27).
    *times("build, a handler edited", "build-edited", "python", 12),
    *(
        budget
        for peer in ("uv-zip", "pip-zip", "sam-build", "sam-again")
        for budget in times("build, nothing changed", "build-nothing", peer, 1)
    ),
    *(
        Budget(what="peak memory", row=row, measure=Measure.BYTES, at_most=100 * _MEGABYTES)
        for row in ("build-wheels", "build-segments", "build-bytecode", "build-nothing", "build-fetching")
    ),
)


def rows(bench: Bench) -> Sequence[Row | Unavailable]:
    """Return the builds. Only rows with bytecode in their titles compile bytecode, because the compared tools compile none."""
    plain = bench.project("plain", bytecode="none")
    unchanged = bench.project("unchanged", bytecode="none")
    bench.run(bench.lamina("build", "--project", str(unchanged)))
    unmarked = _marks(unchanged)
    nothing = bench.lamina("build", "--project", str(unchanged))

    def untouched() -> None:
        if _marks(unchanged) != unmarked:
            raise RuntimeError("a build without changes rewrote its artifacts")

    return [
        _building(
            "build-wheels",
            "lamina build, wheels in the store",
            command=bench.lamina("build", "--project", str(plain), store=bench.work / "wheels-only"),
            project=plain,
            before=lambda: bench.store_with_wheels("wheels-only"),
        ),
        _building(
            "build-segments",
            "lamina build, segments in the store",
            command=bench.lamina("build", "--project", str(plain)),
            project=plain,
        ),
        *_with_bytecode(bench),
        Row(
            name="build-nothing",
            title="lamina build, nothing changed",
            run=lambda run: run(nothing).sample,
            verify=untouched,
        ),
        _editing(bench),
    ]


def _editing(bench: Bench) -> Row:
    """Return the row of a build after an edit, which walks the sources, reads the ignore rules, and rewrites the packages."""
    project = bench.project("edited", bytecode="none")
    command = bench.lamina("build", "--project", str(project))
    bench.run(command)
    handler = project / "service" / "handlers" / "create_order.py"
    before: dict[str, tuple[int, int]] = {}

    def edit() -> None:
        before.update(_marks(project))
        with handler.open("a", encoding="utf-8") as file:
            file.write("# edited\n")

    def verify() -> None:
        if _marks(project) == before:
            raise RuntimeError("a build after an edit did not rewrite any package")

    return Row(
        name="build-edited",
        title="lamina build, a handler edited",
        run=lambda run: run(command).sample,
        prepare=edit,
        verify=verify,
    )


def _with_bytecode(bench: Bench) -> Sequence[Row | Unavailable]:
    name, title = "build-bytecode", "lamina build with bytecode, segments in the store"
    compiling, compiling_title = "build-compiling", "lamina build with bytecode, wheels in the store"
    if bench.interpreter is None:
        reason = f"no CPython {bench.target.runtime.removeprefix('python')} on this machine"
        return [
            Unavailable(name=each, title=words, reason=reason)
            for each, words in ((name, title), (compiling, compiling_title))
        ]
    project = bench.project("bytecode", bytecode="reachable")
    bench.run(bench.lamina("build", "--project", str(project)))
    return [
        _building(name, title, command=bench.lamina("build", "--project", str(project)), project=project),
        _building(
            compiling,
            compiling_title,
            command=bench.lamina("build", "--project", str(project), store=bench.work / "uncompiled"),
            project=project,
            before=lambda: bench.store_with_wheels("uncompiled"),
            slow=True,
        ),
    ]


def _building(
    name: str,
    title: str,
    *,
    command: Command,
    project: Path,
    before: Callable[[], object] = lambda: None,
    slow: bool = False,
) -> Row:
    def prepare() -> None:
        before()
        remove(project / ".lamina")

    def verify() -> None:
        if not _marks(project):
            raise RuntimeError(f"`{project}` was not built")

    return Row(name=name, title=title, run=lambda run: run(command).sample, prepare=prepare, verify=verify, slow=slow)


def _marks(project: Path) -> dict[str, tuple[int, int]]:
    """Return inode and modification time of each artifact of *project*, by name, for detecting that one was rewritten."""
    marks = {path.name: path.stat() for path in (project / ".lamina").glob("*/*.zip")}
    return {name: (status.st_ino, status.st_mtime_ns) for name, status in marks.items()}
