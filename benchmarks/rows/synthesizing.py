"""
Measure lamina's share of synthesizing the example's ten functions as a CDK app with an up-to-date build.

The time of the same stack with CDK's own constructs is measured for comparison. Both run in one process with Node started, because
starting Node and loading aws-cdk-lib needs seconds and does not depend on lamina.
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
    "synth-share": "lamina's share of a CDK synth, nothing changed",
    "synth-plain": "the same stack with CDK's own constructs",
}

BUDGETS = (Budget(what="lamina's share of a synth", row="synth-share", measure=Measure.SECONDS, at_most=0.2),)


def rows(bench: Bench) -> Sequence[Row | Unavailable]:
    """Return both rows if Node and aws-cdk-lib are installed."""
    reason = None
    if shutil.which("node") is None:
        reason = "aws-cdk-lib requires Node, which is not installed"
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
