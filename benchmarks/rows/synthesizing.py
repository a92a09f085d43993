"""
Synthesizing the example's ten functions as a CDK app whose build stands: lamina's share, beside what CDK takes for the same stack.

Both are measured in one process, where Node is started and warm: starting it and loading aws-cdk-lib takes seconds, and is nobody's share.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import ROOT
from benchmarks.values import Budget, Measure, Row, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench
    from benchmarks.values import Command, Runner, Sample

__all__ = ["BUDGETS", "rows"]

_PROGRAM = Path(__file__).parent.parent / "programs" / "synthesize.py"
_TITLES = {
    "synth-share": "lamina's share of a CDK synth with nothing changed",
    "synth-plain": "the same stack of CDK's own constructs, Node warm",
}

BUDGETS = (Budget(what="lamina's share of a synth", row="synth-share", measure=Measure.SECONDS, at_most=0.2),)


def rows(bench: Bench) -> Sequence[Row | Unavailable]:
    """Return the two shares, if Node and aws-cdk-lib are there."""
    reason = None
    if shutil.which("node") is None:
        reason = "aws-cdk-lib runs in Node, and there is none"
    elif importlib.util.find_spec("aws_cdk") is None:
        reason = "aws-cdk-lib is not installed"
    if reason is not None:
        return [Unavailable(name=name, title=title, reason=reason) for name, title in _TITLES.items()]
    command = bench.command(
        sys.executable,
        str(_PROGRAM),
        str(bench.work / "fetching"),
        directory=ROOT,
        more={"JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "18,20,22"},
    )
    return [
        Row(name=name, title=title, run=partial(_sample, command, name.removeprefix("synth-")), slow=True)
        for name, title in _TITLES.items()
    ]


def _sample(command: Command, part: str, runner: Runner) -> Sample:
    finished = runner(command)
    return replace(finished.sample, seconds=json.loads(finished.output)[part])
