"""Measure selecting wheels from a large uv.lock, compared with only parsing it with the standard library."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import ROOT
from benchmarks.values import Budget, Measure, Row, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench
    from benchmarks.values import Runner

__all__ = ["BUDGETS", "rows"]

_PROGRAM = Path(__file__).parent.parent / "programs" / "lock.py"

BUDGETS = (Budget(what="read a uv.lock", row="lock-select", against="lock-parse", measure=Measure.TIMES, at_most=1),)


def rows(bench: Bench) -> Sequence[Row]:
    """Return both rows. Each process measures its own time, so that its start-up is not included."""
    return [
        _row(bench, "lock-select", "read and select from a uv.lock of 40 distributions, in process"),
        _row(bench, "lock-parse", "parsing the same with the standard library, in process"),
    ]


def _row(bench: Bench, name: str, title: str) -> Row:
    arguments = (name.removeprefix("lock-"), str(bench.work / name))
    command = bench.command(sys.executable, str(_PROGRAM), *arguments, directory=ROOT)

    def run(runner: Runner) -> Sample:
        finished = runner(command)
        return replace(finished.sample, seconds=float(finished.output))

    return Row(name=name, title=title, run=run)
