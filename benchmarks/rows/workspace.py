"""Measure building a repository of 200 services with five functions each: first build, after one edit, and without changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.bench import remove
from benchmarks.values import Budget, Measure, Row
from benchmarks.workspace import make_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.bench import Bench

__all__ = ["BUDGETS", "rows"]

_SERVICES, _FUNCTIONS = 200, 5

BUDGETS = (
    Budget(what="200 services, nothing changed", row="workspace-nothing", measure=Measure.SECONDS, at_most=3),
    *(
        Budget(what="peak memory", row=row, measure=Measure.BYTES, at_most=100_000_000)
        for row in ("workspace-first", "workspace-edit", "workspace-nothing")
    ),
)


def rows(bench: Bench) -> Sequence[Row]:
    """Create the repository, and return the rows; each runs one process at the repository's root."""
    directory, wheels, store = (bench.work / name for name in ("workspace", "workspace-wheels", "workspace-store"))
    for path in (directory, wheels, store):
        remove(path)
    services = make_workspace(directory, wheels, services=_SERVICES, functions=_FUNCTIONS)
    build = bench.lamina(
        "build", "--quiet", "--project", str(directory), store=store, more={"UV_FIND_LINKS": str(wheels)}
    )
    edited = services[0] / "service" / "handlers" / "function_0.py"

    def nothing_built() -> None:
        remove(store)
        for service in services:
            remove(service / ".lamina")

    def edit() -> None:
        bench.run(build)
        edited.write_text(f"{edited.read_text('utf-8')}\n", "utf-8")

    def built() -> None:
        if len(_outputs(directory)) != _SERVICES * (1 + _FUNCTIONS):
            raise RuntimeError("a service was not built")

    return [
        Row(
            name="workspace-first",
            title="lamina build of 200 services, empty store, wheels in a directory",
            run=lambda run: run(build).sample,
            prepare=nothing_built,
            verify=built,
            slow=True,
        ),
        Row(
            name="workspace-edit",
            title="lamina build of 200 services, one handler edited",
            run=lambda run: run(build).sample,
            prepare=edit,
            verify=built,
        ),
        Row(
            name="workspace-nothing",
            title="lamina build of 200 services, nothing changed",
            run=lambda run: run(build).sample,
            prepare=lambda: bench.run(build),
            verify=built,
        ),
    ]


def _outputs(directory: Path) -> list[Path]:
    return list(directory.glob("services/*/.lamina/*/*.zip"))
