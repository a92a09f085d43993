"""Count the API calls of planning a prune of a large account."""

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

_PROGRAM = Path(__file__).parent.parent / "programs" / "prune.py"
_MOST_CALLS = 1000

BUDGETS = (Budget(what="calls", row="prune-plan", measure=Measure.CALLS, at_most=_MOST_CALLS),)


def rows(bench: Bench) -> Sequence[Row]:
    """Return the only row."""
    command = bench.command(sys.executable, str(_PROGRAM), directory=ROOT)

    def run(runner: Runner) -> Sample:
        finished = runner(command)
        return replace(finished.sample, calls=int(finished.output))

    return [Row(name="prune-plan", title="plan a prune: 1,000 functions, 40 layers", run=run, slow=True)]
