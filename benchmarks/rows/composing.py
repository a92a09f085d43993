"""Measure composing a layer from cached segments and copying the result, both without process start-up."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import ROOT, remove
from benchmarks.values import Budget, Measure, Row, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench
    from benchmarks.values import Runner

__all__ = ["BUDGETS", "rows"]

_PROGRAM = Path(__file__).parent.parent / "programs" / "compose.py"

BUDGETS = (
    Budget(what="compose, in process", row="compose", against="copy", measure=Measure.TIMES, at_most=3),
    Budget(what="peak memory", row="compose", measure=Measure.BYTES, at_most=100_000_000),
)


def rows(bench: Bench) -> Sequence[Row]:
    """Return both rows. Each process measures its own time, so that its start-up is not included."""
    return [
        _row(bench, "compose", "compose from cached segments, in process"),
        _row(bench, "copy", "copying the result, in process"),
    ]


def _row(bench: Bench, name: str, title: str) -> Row:
    destination = bench.work / f"{name}.zip"
    arguments = (name, str(bench.store), str(bench.work))
    command = bench.command(sys.executable, str(_PROGRAM), *arguments, directory=ROOT)

    def run(runner: Runner) -> Sample:
        finished = runner(command)
        return replace(finished.sample, seconds=float(finished.output))

    return Row(name=name, title=title, run=run, prepare=lambda: remove(destination))
