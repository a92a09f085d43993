"""A repository of 200 services with five functions each, in which nothing has changed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import ROOT, remove
from benchmarks.values import Budget, Measure, Row
from benchmarks.workspace import make_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench

__all__ = ["BUDGETS", "rows"]

_PROGRAM = Path(__file__).parent.parent / "programs" / "services.py"

BUDGETS = (
    Budget(what="200 services, nothing changed", row="workspace-nothing", measure=Measure.SECONDS, at_most=3),
    Budget(what="peak memory", row="workspace-nothing", measure=Measure.BYTES, at_most=100_000_000),
)


def rows(bench: Bench) -> Sequence[Row]:
    """Return the row: every service by itself, in one process."""
    directory, wheels = bench.work / "workspace", bench.work / "workspace-wheels"
    remove(directory)
    remove(wheels)
    services = make_workspace(directory, wheels)
    more = {"UV_FIND_LINKS": str(wheels), "LAMINA_CACHE_DIR": str(bench.work / "workspace-store")}
    arguments = [sys.executable, str(_PROGRAM), *map(str, services)]
    every = bench.command(*arguments, directory=ROOT, more=more)
    bench.run(every)
    if len(list(directory.glob("services/*/.lamina/layers/*.zip"))) != len(services):
        raise RuntimeError("not every service was built")
    return [
        Row(
            name="workspace-nothing",
            title="lamina build of 200 services, nothing changed",
            run=lambda run: run(every).sample,
        )
    ]
