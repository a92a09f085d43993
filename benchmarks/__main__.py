"""``python -m benchmarks``: prepare, measure, and report which budgets are met on this machine."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from pathlib import Path

from benchmarks.bench import ROOT, Bench
from benchmarks.launcher import Launcher
from benchmarks.present import report, save, table
from benchmarks.rows import GROUPS
from benchmarks.study import conduct, judge
from benchmarks.values import Row


def main() -> int:
    """Run the benchmark; exit with 1 if a budget is missed or a row fails."""
    arguments = _arguments()
    bench = Bench(quick=arguments.quick, home=arguments.home.absolute())
    with bench.closing:
        return _measure(bench, arguments)


def _measure(bench: Bench, arguments: argparse.Namespace) -> int:
    groups = [GROUPS[name] for name in (arguments.group or GROUPS)]
    _tell("preparing: downloading the example's wheels, warming caches")
    bench.prepare()
    rows = [row for group in groups for row in group.rows(bench)]
    budgets = [budget for group in groups for budget in group.BUDGETS]
    repeats = arguments.repeats or (3 if arguments.quick else 9)
    seed = arguments.seed if arguments.seed is not None else time.time_ns() % 1_000_000
    with Launcher() as launcher:
        study = conduct(
            [row for row in rows if isinstance(row, Row)],
            launcher,
            repeats=repeats,
            slow_repeats=min(repeats, 1 if arguments.quick else 3),
            chance=random.Random(seed),
            tell=_tell,
            # Flush the previous row's writes now, so that they do not slow the next row down.
            settle=os.sync,
        )
    _tell("")
    verdicts = judge(study, budgets)
    print(table(rows, study, verdicts))
    facts: dict[str, object] = {"repeats": repeats, "seed": seed, "target": bench.target.runtime}
    stamp = time.strftime("%Y%m%dT%H%M%S")
    save(report(rows, study, verdicts, facts), arguments.output or ROOT / "benchmarks" / "results" / f"{stamp}.json")
    missed = any(verdict.met is False and not verdict.budget.aim for verdict in verdicts)
    return 1 if missed or study.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__, allow_abbrev=False)
    parser.add_argument(
        "--quick", action="store_true", help="run few repeats, and skip rows that need long preparation"
    )
    parser.add_argument(
        "--repeats",
        type=int,
        metavar="N",
        help="run each row N times, slow rows less often (default: 9, or 3 with --quick)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="repeat the row order of the run that reported this seed (default: random)",
    )
    parser.add_argument(
        "--group", action="append", choices=list(GROUPS), help="run only this group; can be repeated (default: all)"
    )
    home = ROOT / "build" / "benchmarks"
    parser.add_argument(
        "--home",
        type=Path,
        metavar="DIR",
        default=home,
        help="set the working directory, for one run at a time (default: build/benchmarks)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the JSON report to FILE (default: benchmarks/results/TIME.json)",
    )
    return parser.parse_args()


def _tell(words: str) -> None:
    """Print progress to stderr; on a terminal, overwrite the same line."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{words[:100]}", end="", file=sys.stderr, flush=True)
    elif words:
        print(words, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
