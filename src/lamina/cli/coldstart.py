"""``lamina coldstart``: what initialisation takes, what it consists of, and what would change it."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.console import Console
from lamina.cli.invoke import open_build, read_event
from lamina.cli.options import add_environment
from lamina.cli.stopping import stoppable
from lamina.core.errors import ConfigError

# What measures is slow to import, and neither `--help` nor a mistake on the command line needs it: it is imported where it is used.
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lamina.coldstart.cpu import Limit
    from lamina.coldstart.measure import Measurement, Subject
    from lamina.coldstart.observe import Sources
    from lamina.coldstart.study import Study
    from lamina.coldstart.thresholds import Baseline, Verdict
    from lamina.coldstart.variants import EnvironmentOptions

HELP = (
    "Measure the initialisation of functions in fresh processes against their built layers: how long it takes, which distribution "
    "takes it, which modules are compiled because they have no bytecode. The times are this machine's, to be compared with each other."
)
EXAMPLE = """\
examples:
  lamina coldstart                                    every function of the last build
  lamina coldstart export-report --without numpy      what a distribution costs
  lamina coldstart --compare main                     against the build of another revision
  lamina coldstart --cpu 0.3 --budget-ms 800          on a share of a processor; 1 if a median is above
  lamina coldstart --baseline coldstart.json --write-baseline
  lamina coldstart --baseline coldstart.json --max-regression 10
  lamina coldstart --record                           remember imports for `bytecode = "reachable"`
  lamina coldstart --html coldstart.html              pictures of who imports whom
  lamina coldstart --aws orders-export --logs 24      what Lambda reported in the last 24 hours
  lamina coldstart --aws orders-export --forced 10    cold starts of `$LATEST`, forced now
"""


# Which options, by the names of their values, mean something in one of the three things that the command does.
_MEASURING = frozenset(
    {"repeat", "modules", "seed", "without", "compare", "cpu", "require_cpu", "budget_ms", "baseline", "max_regression"}
    | {"write_baseline", "html", "svg"}
)
_RECORDING = frozenset({"record", "fresh"})
_OBSERVING = frozenset({"aws", "logs", "xray", "split", "forced", "allow_latest", "region", "role"})
_STARTING_HERE = frozenset({"env", "no_build", "credentials", "mode"})
_TRACED = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.add_argument("functions", nargs="*", metavar="FUNCTION", help="measure these only (default: all)")
    parser.add_argument(
        "--repeat", type=int, default=7, metavar="N", help="starts of each, after one more (default: 7)"
    )
    parser.add_argument("--modules", type=int, default=0, metavar="N", help="list the N dearest modules, too")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draw another order of the starts")
    compared = parser.add_argument_group("comparing")
    compared.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="NAME[,NAME]",
        help="measure without a distribution's files, too; may be given again for another variant",
    )
    compared.add_argument("--compare", metavar="DIR|REV", help="measure another build, or that of a git revision, too")
    judged = parser.add_argument_group("judging (exit code 1)")
    judged.add_argument("--cpu", type=float, metavar="SHARE", help="hold processes to this share of one processor")
    judged.add_argument("--require-cpu", action="store_true", help="fail where --cpu is not possible")
    judged.add_argument("--budget-ms", type=float, metavar="MS", help="the most that a median may be")
    judged.add_argument("--baseline", type=Path, metavar="FILE", help="an earlier measurement")
    judged.add_argument("--max-regression", type=float, metavar="PERCENT", help="the most that a median may grow")
    judged.add_argument("--write-baseline", action="store_true", help="write this measurement to the baseline")
    shown = parser.add_argument_group("pictures")
    shown.add_argument("--html", type=Path, metavar="FILE", help="write a page with a chart of each function's imports")
    shown.add_argument("--svg", type=Path, metavar="FILE", help="write the chart alone; of one function")
    recorded = parser.add_argument_group("recording")
    recorded.add_argument("--record", action="store_true", help="write the imports to lamina-profile.json, and no more")
    recorded.add_argument(
        "--event",
        action="append",
        default=[],
        metavar="[FUNCTION=]FILE",
        help="send this event as well while recording; may be given again",
    )
    recorded.add_argument("--fresh", action="store_true", help="forget what was recorded before")
    add_environment(parser)
    _configure_aws(parser)


def _configure_aws(parser: argparse.ArgumentParser) -> None:
    seen = parser.add_argument_group("as AWS saw it (with the extra `aws`)")
    seen.add_argument("--aws", action="store_true", help="FUNCTION names deployed functions; nothing is measured here")
    seen.add_argument(
        "--logs", type=float, metavar="HOURS", help="read the cold starts of the last HOURS from the logs"
    )
    seen.add_argument("--xray", type=float, metavar="HOURS", help="read them from the traces that X-Ray sampled")
    seen.add_argument("--split", metavar="TIME", help="before and after this moment (ISO 8601), not by version")
    seen.add_argument("--forced", type=int, metavar="N", help="start `$LATEST` cold N times, with the event of --event")
    seen.add_argument("--allow-latest", action="store_true", help="even where callers may be using `$LATEST`")
    seen.add_argument("--region", help="instead of the configured region")
    seen.add_argument("--role", metavar="ARN", help="a role to assume")


@stoppable()
def run(arguments: argparse.Namespace) -> int:
    """Measure and show, record, or ask AWS; 1 where a limit is exceeded or a function cannot start."""
    with Console.of(arguments) as console:
        if arguments.aws:
            return _observe(arguments)
        if arguments.record:
            return _record(arguments, console)
        return _measure(arguments, console)


def _refuse(mistakes: Iterable[str], arguments: argparse.Namespace) -> None:
    """Raise ConfigError with the *mistakes*, and for options of another thing that the command does, as they would be passed over."""
    parser = argparse.ArgumentParser()
    configure(parser)
    given = {name for name, value in vars(parser.parse_args([])).items() if getattr(arguments, name) != value}
    if arguments.aws:
        misplaced = {"not with `--aws`": given & (_MEASURING | _RECORDING | _STARTING_HERE)}
    elif arguments.record:
        misplaced = {"not with `--record`": given & (_MEASURING | _OBSERVING)}
    else:
        misplaced = {"only with `--record`": given & {*_RECORDING, "event"}, "only with `--aws`": given & _OBSERVING}
    conflicts = [f"{words}: {', '.join(map(_spelled, sorted(names)))}" for words, names in misplaced.items() if names]
    if found := [*mistakes, *conflicts]:
        raise ConfigError("; ".join(found), hint="see: lamina coldstart --help")


def _spelled(name: str) -> str:
    return f"`--{name.replace('_', '-')}`"


def _measure(arguments: argparse.Namespace, console: Console) -> int:
    """Measure, show, write what is to be written, and judge."""
    _check(arguments)
    import random

    from lamina.coldstart import measure, thresholds, variants

    baseline = thresholds.read(arguments.baseline) if arguments.max_regression is not None else None
    with ExitStack() as stack:
        limit = _limit(arguments, console)
        if limit is not None:
            stack.enter_context(limit)
        base = variants.subjects(open_build(arguments), arguments.functions, options=_environment_options(arguments))
        sides = [*base, *_variants(arguments, base, stack, console)]
        if arguments.svg is not None and len(sides) > 1:
            raise ConfigError("One chart is of one function", hint="name it, or take all of them: --html FILE")
        measured = measure.conduct(
            sides,
            repeat=arguments.repeat,
            traced=min(_TRACED, arguments.repeat),
            chance=random.Random(arguments.seed),  # noqa: S311 - an order, not a secret
            limit=limit,
            reporter=console,
        )
    console.close()
    study = _judged(arguments, measured, limit, baseline, console)
    # First the files: whoever reads the table may stop reading it early, as `| head` does.
    _write(arguments, study, console)
    _show(arguments, study, console)
    return 0 if study.ok else 1


def _environment_options(arguments: argparse.Namespace) -> EnvironmentOptions:
    """Return the options of function environments, from the command line."""
    from lamina.coldstart.variants import EnvironmentOptions
    from lamina.local.environment import Mode, additional_variables

    return EnvironmentOptions(
        mode=Mode(arguments.mode),
        additional=additional_variables(arguments.env, os.environ, credentials=arguments.credentials),
    )


def _check(arguments: argparse.Namespace) -> None:
    judging = arguments.max_regression is not None or arguments.write_baseline
    mistakes = {
        "`--repeat` is at least 1": arguments.repeat < 1,
        "`--modules` is at least 0": arguments.modules < 0,
        "`--cpu` is a share of a processor, such as 0.3": arguments.cpu is not None and not 0.01 <= arguments.cpu <= 64,
        "`--require-cpu` needs `--cpu`": arguments.require_cpu and arguments.cpu is None,
        "`--budget-ms` is above 0": arguments.budget_ms is not None and not arguments.budget_ms > 0,
        "`--max-regression` is at least 0 percent": arguments.max_regression is not None
        and not arguments.max_regression >= 0,
        "`--max-regression` and `--write-baseline` need `--baseline FILE`": judging and arguments.baseline is None,
        "`--baseline` needs `--max-regression` or `--write-baseline`": arguments.baseline is not None and not judging,
    }
    _refuse([words for words, made in mistakes.items() if made], arguments)


def _limit(arguments: argparse.Namespace, console: Console) -> Limit | None:
    if arguments.cpu is None:
        return None
    from lamina.coldstart.cpu import Limit, limited

    found = limited(arguments.cpu)
    if isinstance(found, Limit):
        return found
    hint = "run as root, or as a user whose control group is delegated: systemd-run --user --scope -p Delegate=yes lamina …"
    if arguments.require_cpu:
        raise ConfigError(f"This system does not let us limit the processor: {found}", hint=hint)
    console.warn(f"Measured without `--cpu`: this system does not let us limit the processor: {found}", hint=hint)
    return None


def _variants(
    arguments: argparse.Namespace, base: Sequence[Subject], stack: ExitStack, console: Console
) -> list[Subject]:
    from lamina.coldstart.variants import subjects, without
    from lamina.local.artifacts import read

    found: list[Subject] = []
    for names in arguments.without:
        found += stack.enter_context(without(base, names.split(",")))
    if arguments.compare:
        other = read(_other(arguments, base, stack, console))
        known = {function.name for function in other.build.packages}
        shared = [subject.function for subject in base if subject.function in known]
        if not shared:
            raise ConfigError(
                f"`{arguments.compare}` has none of these functions", hint="compare builds of one service"
            )
        found += subjects(other, shared, variant=arguments.compare, options=_environment_options(arguments))
    return found


def _other(arguments: argparse.Namespace, base: Sequence[Subject], stack: ExitStack, console: Console) -> Path:
    directory = Path(arguments.compare).absolute()
    if directory.is_dir():
        return directory
    from lamina.aws.store.team import team_store
    from lamina.coldstart.variants import at_revision
    from lamina.pipeline.last_build import last_options

    project = base[0].environment.scratch.parents[2]
    return stack.enter_context(
        at_revision(project, arguments.compare, last_options(project), team_store=team_store, reporter=console)
    )


def _judged(
    arguments: argparse.Namespace,
    measured: tuple[Measurement, ...],
    limit: Limit | None,
    baseline: Baseline | None,
    console: Console,
) -> Study:
    from lamina.coldstart import study, thresholds

    base = [each for each in measured if not each.subject.variant]
    now = thresholds.circumstances(
        base[0].subject.environment.target.runtime, limit.share if limit is not None else None
    )
    verdicts: list[Verdict] = []
    if arguments.budget_ms is not None:
        verdicts += thresholds.judge_budget(base, arguments.budget_ms)
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
        verdicts += thresholds.judge_regression(base, baseline, arguments.max_regression)
    if arguments.write_baseline:
        thresholds.write(arguments.baseline, base, now)
        console.note(f"baseline written: `{arguments.baseline}`")
    return study.Study(
        circumstances=now,
        repeat=arguments.repeat,
        seed=arguments.seed,
        measurements=measured,
        comparisons=study.compare(measured),
        verdicts=tuple(verdicts),
    )


def _show(arguments: argparse.Namespace, study: Study, console: Console) -> None:
    from lamina.coldstart import study as studies
    from lamina.coldstart import table

    for each in study.measurements:
        if each.mode_reason is not None:
            console.warn(f"{each.mode_reason}; the same files were found by path")
            break
    console.say(console.paint("note", studies.BANNER))
    if arguments.json:
        print(json.dumps(studies.document(study), indent=2))
    else:
        for line in table.lines(study, modules=arguments.modules):
            print(line)


def _write(arguments: argparse.Namespace, study: Study, console: Console) -> None:
    if arguments.html is None and arguments.svg is None:
        return
    from lamina.coldstart import chart, page
    from lamina.core.files import replace_file

    drawn = [each for each in study.measurements if each.traces]
    if arguments.svg is not None:
        # Nothing can be drawn of a function that cannot start, which the table says.
        for each in drawn:
            replace_file(arguments.svg, chart.standalone(each).encode())
            console.note(f"chart written: `{arguments.svg}`")
    if arguments.html is not None:
        replace_file(arguments.html, page.render(study).encode())
        console.note(f"page written: `{arguments.html}`")


def _record(arguments: argparse.Namespace, console: Console) -> int:
    """Start each function once, with its events, and write the profile; 1 where one cannot start."""
    _refuse((), arguments)
    from lamina.coldstart import measure, variants
    from lamina.project import profile

    artifacts = open_build(arguments)
    chosen = variants.subjects(artifacts, arguments.functions, options=_environment_options(arguments))
    events = _events(arguments.event, chosen)
    found: dict[str, frozenset[str]] = {}
    failures = 0
    for subject in chosen:
        started = measure.start(subject.environment, traced=True, events=events.get(subject.function, ()))
        if started.failure is not None or started.trace is None:
            console.warn(f"`{subject.function}` cannot start and was not recorded: {started.failure}")
            failures += 1
            continue
        for reason in started.unanswered:
            console.warn(
                f"`{subject.function}` failed with an event: {reason}",
                hint="what it would have imported after that was not recorded",
            )
        found[subject.function] = started.trace.layer_modules
        console.note(f"`{subject.function}`: {len(found[subject.function])} modules of its layers")
    path = profile.record(artifacts.project, found, fresh=arguments.fresh)
    if arguments.json:
        counts = {name: len(found[name]) for name in sorted(found)}
        print(json.dumps({"version": "1", "kind": "profile", "path": str(path), "modules": counts}, indent=2))
    else:
        print(path)
    return int(failures > 0)


def _events(asked: Sequence[str], chosen: Sequence[Subject]) -> dict[str, list[bytes]]:
    """Return the events of each function; one without a function's name is for the only one that was chosen."""
    names = [subject.function for subject in chosen]
    found: dict[str, list[bytes]] = {}
    mistakes: list[str] = []
    for entry in asked:
        name, separator, source = entry.partition("=")
        if separator and name in names:
            found.setdefault(name, []).append(read_event(source))
        elif len(names) == 1 and Path(entry).exists():
            found.setdefault(names[0], []).append(read_event(entry))
        else:
            mistakes.append(entry)
    if mistakes:
        raise ConfigError(
            f"`--event` does not say which function gets it: {', '.join(f'`{entry}`' for entry in mistakes)}",
            hint=f"--event FUNCTION=FILE, where the functions are: {', '.join(names)}",
        )
    return found


def _observe(arguments: argparse.Namespace) -> int:
    """Ask AWS for cold starts, and show them."""
    if not arguments.functions:
        raise ConfigError("`--aws` needs the names of deployed functions", hint="lamina coldstart --aws NAME --logs 24")
    asked = {"logs": arguments.logs, "xray": arguments.xray, "forced": arguments.forced}
    if all(value is None for value in asked.values()):
        raise ConfigError("`--aws` needs `--logs`, `--xray` or `--forced`", hint="see: lamina coldstart --help")
    _refuse(
        [f"`--{name}` is above 0" for name, value in asked.items() if value is not None and not value > 0], arguments
    )
    _moment(arguments.split)
    from lamina.coldstart.observe import Sources

    return show_observed(
        arguments, Sources.connect(region=arguments.region, role=arguments.role), now=dt.datetime.now(dt.UTC)
    )


def show_observed(arguments: argparse.Namespace, sources: Sources, *, now: dt.datetime) -> int:
    """Ask *sources* what the command line wants to know, and show it."""
    from lamina.coldstart.observe import Question, document, observe

    console = Console.of(arguments)
    question = Question(
        logs_hours=arguments.logs,
        xray_hours=arguments.xray,
        moment=_moment(arguments.split),
        forced=arguments.forced,
        payload=read_event(arguments.event[0]) if arguments.forced and arguments.event else b"{}",
        even_if_in_use=arguments.allow_latest,
    )
    found = observe(sources, arguments.functions, question, now=now, reporter=console)
    if arguments.json:
        print(json.dumps(document(found), indent=2))
        return 0
    if not found:
        console.say("no cold start was seen")
        return 0
    print(f"{'function':28}{'source':8}{'version':10}{'count':>6}{'p50':>11}{'p90':>11}{'p99':>11}{'max':>11}  layers")
    for row in found:
        group, each = row.group, row.group.percentiles
        times = "".join(f"{time:>8.0f} ms" for time in (each.p50, each.p90, each.p99, each.greatest))
        layers = " ".join(":".join(arn.split(":")[-2:]) for arn in group.layers)
        print(f"{row.function:28}{row.source:8}{group.name:10}{each.count:>6}{times}  {layers}".rstrip())
    return 0


def _moment(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"`--split` is no moment: {text}", hint="such as 2026-11-23T12:00:00+00:00") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
