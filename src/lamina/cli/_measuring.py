"""The part of ``lamina coldstart`` that measures here: from the command line to a study, and to whoever reads it."""

from __future__ import annotations

import json
import os
import random
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli import _shares
from lamina.cli.coldstart import misplaced
from lamina.cli.console import Console
from lamina.cli.invoke import last_options, open_build
from lamina.coldstart import gates
from lamina.coldstart.cpu import Unavailable, limited
from lamina.coldstart.measure import Schedule, conduct
from lamina.coldstart.study import BANNER, Study, compare, document
from lamina.coldstart.variants import Showing, subjects, without
from lamina.core.errors import ConfigError
from lamina.local.artifacts import read
from lamina.local.settings import additional_variables
from lamina.local.world import Mode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lamina.coldstart.cpu import Limit
    from lamina.coldstart.gates import Baseline, Verdict
    from lamina.coldstart.measure import Measurement, Subject

__all__ = ["run", "showing"]

_TRACED = 3


def run(arguments: argparse.Namespace) -> int:
    """Measure, show, write what is to be written, and judge."""
    _check(arguments)
    baseline = gates.read(arguments.baseline) if arguments.max_regression is not None else None
    console = Console.of(arguments)
    with ExitStack() as stack:
        stack.callback(console.close)
        limit = _limit(arguments, console)
        if limit is not None:
            stack.enter_context(limit)
        base = subjects(open_build(arguments), arguments.functions, showing=showing(arguments))
        sides = [*base, *_variants(arguments, base, stack, console)]
        if arguments.svg is not None and len(sides) > 1:
            raise ConfigError("One chart is of one function", hint="name it, or take all of them: --html FILE")
        measured = conduct(
            sides,
            Schedule(repeat=arguments.repeat, traced=min(_TRACED, arguments.repeat)),
            chance=random.Random(arguments.seed),  # noqa: S311 - an order, not a secret
            limit=limit,
            reporter=console,
        )
    study = _judged(arguments, measured, limit, baseline, console)
    # First the files: whoever reads the table may stop reading it early, as `| head` does.
    _write(arguments, study, console)
    _show(arguments, study, console)
    return 0 if study.ok else 1


def showing(arguments: argparse.Namespace) -> Showing:
    """Return how the command line wants worlds to be shown."""
    return Showing(
        mode=Mode(arguments.mode),
        additional=additional_variables(arguments.env, os.environ, credentials=arguments.credentials),
    )


def _check(arguments: argparse.Namespace) -> None:
    mistakes: list[str] = []
    if arguments.repeat < 1:
        mistakes.append("`--repeat` is at least 1")
    if arguments.modules < 0:
        mistakes.append("`--modules` is at least 0")
    if arguments.cpu is not None and not 0.01 <= arguments.cpu <= 64:
        mistakes.append("`--cpu` is a share of a processor, such as 0.3")
    if arguments.require_cpu and arguments.cpu is None:
        mistakes.append("`--require-cpu` needs `--cpu`")
    if arguments.budget_ms is not None and not arguments.budget_ms > 0:
        mistakes.append("`--budget-ms` is above 0")
    if arguments.max_regression is not None and not arguments.max_regression >= 0:
        mistakes.append("`--max-regression` is at least 0 percent")
    judging = arguments.max_regression is not None or arguments.write_baseline
    if judging and arguments.baseline is None:
        mistakes.append("`--max-regression` and `--write-baseline` need `--baseline FILE`")
    if arguments.baseline is not None and not judging:
        mistakes.append("`--baseline` needs `--max-regression` or `--write-baseline`")
    mistakes += misplaced(arguments)
    if mistakes:
        raise ConfigError("; ".join(mistakes), hint="see: lamina coldstart --help")


def _limit(arguments: argparse.Namespace, console: Console) -> Limit | None:
    if arguments.cpu is None:
        return None
    found = limited(arguments.cpu)
    if not isinstance(found, Unavailable):
        return found
    hint = "run as root, or as a user whose control group is delegated: systemd-run --user --scope -p Delegate=yes lamina …"
    if arguments.require_cpu:
        raise ConfigError(f"This system does not let us limit the processor: {found.reason}", hint=hint)
    console.warn(
        f"Measured without `--cpu`: this system does not let us limit the processor: {found.reason}", hint=hint
    )
    return None


def _variants(
    arguments: argparse.Namespace, base: Sequence[Subject], stack: ExitStack, console: Console
) -> list[Subject]:
    found: list[Subject] = []
    for names in arguments.without:
        found += stack.enter_context(without(base, names.split(",")))
    if arguments.compare:
        other = read(_other(arguments, base, stack, console))
        known = {function.name for function in other.functions}
        shared = [subject.function for subject in base if subject.function in known]
        if not shared:
            raise ConfigError(
                f"`{arguments.compare}` has none of these functions", hint="compare builds of one service"
            )
        found += subjects(other, shared, variant=arguments.compare, showing=showing(arguments))
    return found


def _other(arguments: argparse.Namespace, base: Sequence[Subject], stack: ExitStack, console: Console) -> Path:
    directory = Path(arguments.compare).absolute()
    if directory.is_dir():
        return directory
    from lamina.aws.store.team import team_store  # noqa: PLC0415
    from lamina.coldstart import revision  # noqa: PLC0415 - only this needs the pipeline

    project = base[0].world.scratch.parents[2]
    return stack.enter_context(
        revision.built(project, arguments.compare, last_options(project), team_store=team_store, reporter=console)
    )


def _judged(
    arguments: argparse.Namespace,
    measured: tuple[Measurement, ...],
    limit: Limit | None,
    baseline: Baseline | None,
    console: Console,
) -> Study:
    base = [each for each in measured if not each.subject.variant]
    now = gates.circumstances(base[0].subject.world.target.runtime, limit.share if limit is not None else None)
    verdicts: list[Verdict] = []
    if arguments.budget_ms is not None:
        verdicts += gates.judge_budget(base, arguments.budget_ms)
    if baseline is not None:
        if baseline.circumstances != now:
            console.warn(
                f"`{arguments.baseline}` was measured under other circumstances, so the comparison says little",
                hint="write it on the machine, and with the options, that are to be compared",
            )
        known = dict(baseline.functions)
        if new := [each.subject.function for each in base if each.subject.function not in known]:
            console.warn(
                f"`{arguments.baseline}` does not know {', '.join(f'`{name}`' for name in new)}, so nothing was compared",
                hint="write it anew with them: --write-baseline",
            )
        verdicts += gates.judge_regression(base, baseline, arguments.max_regression)
    if arguments.write_baseline:
        gates.write(arguments.baseline, base, now)
        console.note(f"baseline written: `{arguments.baseline}`")
    return Study(
        circumstances=now,
        repeat=arguments.repeat,
        seed=arguments.seed,
        measurements=measured,
        comparisons=compare(measured),
        verdicts=tuple(verdicts),
    )


def _show(arguments: argparse.Namespace, study: Study, console: Console) -> None:
    for each in study.measurements:
        if each.mode_reason is not None:
            console.warn(f"{each.mode_reason}; the same files were found by path")
            break
    console.say(console.paint("note", BANNER))
    if arguments.json:
        print(json.dumps(document(study), indent=2))
    else:
        for line in _shares.lines(study, modules=arguments.modules):
            print(line)


def _write(arguments: argparse.Namespace, study: Study, console: Console) -> None:
    if arguments.html is None and arguments.svg is None:
        return
    from lamina.coldstart import chart, page  # noqa: PLC0415
    from lamina.core.files import replace_file  # noqa: PLC0415

    drawn = [each for each in study.measurements if each.traces]
    if arguments.svg is not None:
        # Nothing can be drawn of a function that cannot start, which the table says.
        for each in drawn:
            replace_file(arguments.svg, chart.standalone(chart.of(each)).encode())
            console.note(f"chart written: `{arguments.svg}`")
    if arguments.html is not None:
        replace_file(arguments.html, page.render(study).encode())
        console.note(f"page written: `{arguments.html}`")
