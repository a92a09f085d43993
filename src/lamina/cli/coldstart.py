"""``lamina coldstart``: measure the initialisation of functions, by distribution, and compare variants."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.console import Console, emit, emit_json, table_width
from lamina.cli.invoke import external_source, open_build, read_event, variables, warn_of_wrapper
from lamina.cli.options import add_environment
from lamina.core.errors import ConfigError
from lamina.core.text import count, table

# The measuring modules are slow to import, and `--help` and usage errors do not need them: import them where they are used.
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lamina.coldstart.cpu import Limit
    from lamina.coldstart.measure import Measurement, Subject
    from lamina.coldstart.observe import Sources
    from lamina.coldstart.study import Study
    from lamina.coldstart.thresholds import Baseline, Verdict
    from lamina.coldstart.variants import EnvironmentOptions
    from lamina.local.artifacts import Artifacts

HELP = (
    "Measure how long functions need to initialise with their built layers, in fresh processes on this machine. "
    "Show the time per package, and the modules that Python compiles because their bytecode is missing. "
    "Use the times for comparison only: Lambda's own differ."
)
EXAMPLE = """\
examples:
  lamina coldstart                                    # measure every function
  lamina coldstart export-report --without numpy      # show the cost of a package
  lamina coldstart --compare main                     # compare with the build of a git revision
  lamina coldstart --cpu 0.3 --budget-ms 800          # fail if a median is above 800 ms
  lamina coldstart --baseline coldstart.json --write-baseline
  lamina coldstart --baseline coldstart.json --max-regression 10
  lamina coldstart --record                           # record imports for `bytecode = "reachable"`
  lamina coldstart --html coldstart.html              # draw the imports
  lamina coldstart --aws orders-export --logs 24      # read cold starts of the last 24 hours
  lamina coldstart --aws orders-export --forced 10    # force 10 cold starts of `$LATEST`
"""
PAGE = "how-to/coldstart.md"

# The options of each of the three modes (measure, record, observe), by the names of their values.
_MEASURING = frozenset(
    {"repeat", "modules", "seed", "without", "compare", "cpu", "require_cpu", "budget_ms", "baseline", "max_regression"}
    | {"write_baseline", "html", "svg"}
)
_RECORDING = frozenset({"record", "fresh"})
_OBSERVING = frozenset({"aws", "logs", "xray", "split", "forced", "allow_latest", "region", "role"})
_STARTING_HERE = frozenset({"env", "env_file", "no_build", "offline", "credentials", "mode", "runtime", "architecture"})
_TRACED = 3
_OBSERVED_DROPPABLE = (5, 6, 1, 8)
"""The columns of observed cold starts that a narrow terminal leaves out, the least important first."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina coldstart`` to *parser*."""
    what = parser.add_argument_group("what to measure")
    what.add_argument("functions", nargs="*", metavar="FUNCTION", help="measure these functions (default: all)")
    what.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="NAME[,NAME]",
        help="also measure without these packages (repeatable)",
    )
    what.add_argument("--compare", metavar="DIR|REV", help="also measure another build directory or git revision")
    how = parser.add_argument_group("how to measure")
    how.add_argument(
        "--repeat", type=int, default=7, metavar="N", help="start each function N times, after one warm-up (default: 7)"
    )
    how.add_argument("--seed", type=int, default=0, metavar="N", help="seed the random order of starts (default: 0)")
    how.add_argument("--cpu", type=float, metavar="SHARE", help="limit processes to this share of a CPU, such as 0.3")
    how.add_argument("--require-cpu", action="store_true", help="fail if this system does not support --cpu")
    add_environment(parser)
    limits = parser.add_argument_group("limits and baseline (exit code 1 if a limit is exceeded)")
    limits.add_argument("--budget-ms", type=float, metavar="MS", help="fail if a median is above MS milliseconds")
    limits.add_argument("--baseline", type=Path, metavar="FILE", help="compare with this baseline file, or write it")
    limits.add_argument(
        "--max-regression", type=float, metavar="PERCENT", help="fail if CPU time exceeds the baseline by PERCENT"
    )
    limits.add_argument("--write-baseline", action="store_true", help="save this measurement as the baseline")
    recorded = parser.add_argument_group("record imports, instead of measuring")
    recorded.add_argument("--record", action="store_true", help="write the imported modules to lamina-profile.json")
    recorded.add_argument(
        "--event",
        action="append",
        default=[],
        metavar="[FUNCTION=]FILE",
        help="send this event while recording (repeatable)",
    )
    recorded.add_argument("--fresh", action="store_true", help="discard earlier recordings")
    _configure_aws(parser)
    shown = parser.add_argument_group("output")
    shown.add_argument("--modules", type=int, default=0, metavar="N", help="also list the N slowest modules")
    shown.add_argument("--html", type=Path, metavar="FILE", help="write a page with an import chart per function")
    shown.add_argument("--svg", type=Path, metavar="FILE", help="write the import chart of one function")


def _configure_aws(parser: argparse.ArgumentParser) -> None:
    seen = parser.add_argument_group("read cold starts from AWS, instead of measuring here (needs the extra `aws`)")
    seen.add_argument(
        "--aws", action="store_true", help="read cold starts of deployed functions; FUNCTION is the name in Lambda"
    )
    seen.add_argument("--logs", type=float, metavar="HOURS", help="read the logs of the last HOURS hours")
    seen.add_argument("--xray", type=float, metavar="HOURS", help="read the X-Ray traces of the last HOURS hours")
    seen.add_argument("--split", metavar="TIME", help="group by before and after TIME (ISO 8601), not by version")
    seen.add_argument("--forced", type=int, metavar="N", help="force N cold starts of `$LATEST`, sending --event")
    seen.add_argument("--allow-latest", action="store_true", help="allow --forced even if callers may use `$LATEST`")
    seen.add_argument("--region", metavar="NAME", help="use this region instead of the configured one")
    seen.add_argument("--role", metavar="ARN", help="assume this role")


def run(arguments: argparse.Namespace) -> int:
    """Measure, record imports, or read cold starts from AWS; return 1 if a limit is exceeded or a function fails to start."""
    with Console.of(arguments) as console:
        if arguments.aws:
            return _observe(arguments)
        if arguments.record:
            return _record(arguments, console)
        return _measure(arguments, console)


def _refuse(mistakes: Iterable[str], arguments: argparse.Namespace) -> None:
    """Raise `ConfigError` if there are *mistakes*, or options of another mode, which would otherwise be ignored silently."""
    parser = argparse.ArgumentParser()
    configure(parser)
    given = {name for name, value in vars(parser.parse_args([])).items() if getattr(arguments, name) != value}
    if arguments.aws:
        misplaced = {"not allowed with `--aws`": given & (_MEASURING | _RECORDING | _STARTING_HERE)}
    elif arguments.record:
        misplaced = {"not allowed with `--record`": given & (_MEASURING | _OBSERVING)}
    else:
        misplaced = {
            "only allowed with `--record`": given & {*_RECORDING, "event"},
            "only allowed with `--aws`": given & _OBSERVING,
        }
    conflicts = [f"{words}: {', '.join(map(_spelled, sorted(names)))}" for words, names in misplaced.items() if names]
    if found := [*mistakes, *conflicts]:
        raise ConfigError("; ".join(found), hint="see `lamina coldstart --help`")


def _spelled(name: str) -> str:
    return f"`--{name.replace('_', '-')}`"


def _measure(arguments: argparse.Namespace, console: Console) -> int:
    """Measure the functions, write the requested files and print the table; return 1 if a limit is exceeded."""
    _check(arguments)
    if arguments.html is not None or arguments.svg is not None:
        from lamina.report.charts import require

        require()
    import random

    from lamina.coldstart import measure, thresholds, variants

    baseline = thresholds.read(arguments.baseline) if arguments.max_regression is not None else None
    with ExitStack() as stack:
        limit = _limit(arguments, console)
        if limit is not None:
            stack.enter_context(limit)
        artifacts = open_build(arguments)
        console.stage("unpacking layers")
        options = _environment_options(arguments, artifacts.project, console)
        base = variants.subjects(artifacts, arguments.functions, options=options)
        warn_of_wrapper((subject.environment for subject in base), console)
        sides = [*base, *_variants(arguments, base, stack, console)]
        if arguments.svg is not None and len(sides) > 1:
            raise ConfigError(
                "`--svg` needs exactly one function, and does not support `--without` and `--compare`",
                hint="name one function, or draw everything with `--html FILE`",
            )
        measured = measure.conduct(
            sides,
            repeat=arguments.repeat,
            traced=min(_TRACED, arguments.repeat),
            chance=random.Random(arguments.seed),  # noqa: S311 - an order, not a secret
            limit=limit,
            reporter=console,
        )
    console.close()
    study = _judged(arguments, measured, limit, baseline, artifacts=artifacts, console=console)
    # Write the files first: the reader of the table may close stdout early, as `| head` does.
    _write(arguments, study, console)
    _show(arguments, study, console)
    return 0 if study.ok else 1


def _environment_options(arguments: argparse.Namespace, project: Path, console: Console) -> EnvironmentOptions:
    """Return the `EnvironmentOptions` for ``--mode``, ``--offline`` and the options that give variables."""
    from lamina.coldstart.variants import EnvironmentOptions
    from lamina.local.environment import Mode
    from lamina.local.provided import LocalWheels

    return EnvironmentOptions(
        mode=Mode(arguments.mode),
        additional=variables(arguments),
        wheels=LocalWheels(project, offline=arguments.offline, reporter=console),
        external=external_source(arguments, project, console),
    )


def _check(arguments: argparse.Namespace) -> None:
    judging = arguments.max_regression is not None or arguments.write_baseline
    mistakes = {
        "`--repeat` must be at least 1": arguments.repeat < 1,
        "`--modules` must be at least 0": arguments.modules < 0,
        "`--cpu` must be between 0.01 and 64": arguments.cpu is not None and not 0.01 <= arguments.cpu <= 64,
        "`--require-cpu` needs `--cpu`": arguments.require_cpu and arguments.cpu is None,
        "`--budget-ms` must be above 0": arguments.budget_ms is not None and not arguments.budget_ms > 0,
        "`--max-regression` must be at least 0": arguments.max_regression is not None
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
    hint = "run as root, or in a delegated control group: `systemd-run --user --scope -p Delegate=yes lamina …`"
    if arguments.require_cpu:
        raise ConfigError(f"`--cpu` is not available on this system: {found}", hint=hint)
    console.warn(f"`--cpu` is not available on this system, so it is ignored: {found}", hint=hint)
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
        directory = _other(arguments, base, stack, console)
        other = read(directory, runtime=arguments.runtime, architecture=arguments.architecture)
        known = {function.name for function in other.build.packages}
        shared = [subject.function for subject in base if subject.function in known]
        if not shared:
            raise ConfigError(
                f"build `{arguments.compare}` has none of the functions to measure",
                hint="pass a build or revision of the same service to `--compare`",
            )
        options = _environment_options(arguments, other.project, console)
        found += subjects(other, shared, variant=arguments.compare, options=options)
    return found


def _other(arguments: argparse.Namespace, base: Sequence[Subject], stack: ExitStack, console: Console) -> Path:
    directory = Path(arguments.compare).absolute()
    if directory.is_dir():
        from lamina.pipeline import report

        if not (directory / report.BUILD_FILE).exists():
            raise ConfigError(
                f"directory `{arguments.compare}` has no build to compare with",
                hint=f"build it: `lamina build --project {arguments.compare}`; "
                "or compare with a git revision: `--compare HEAD`",
            )
        return directory
    from lamina.aws.store.team import team_store
    from lamina.pipeline.last_build import last_options
    from lamina.pipeline.revision import RevisionOption, at_revision

    project = base[0].environment.scratch.parents[2]
    asked = RevisionOption(
        name="--compare", other="directory", alternative="the directory of a built project", metavar="DIR"
    )
    options = last_options(project)
    return stack.enter_context(
        at_revision(project, arguments.compare, options, asked=asked, team_store=team_store, reporter=console)
    )


def _judged(
    arguments: argparse.Namespace,
    measured: tuple[Measurement, ...],
    limit: Limit | None,
    baseline: Baseline | None,
    *,
    artifacts: Artifacts,
    console: Console,
) -> Study:
    from lamina.coldstart import study, thresholds
    from lamina.pipeline import report
    from lamina.pipeline.history import built_at

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
                f"baseline `{arguments.baseline}` was measured on another machine, or with another runtime or `--cpu`, so the times are not comparable",
                hint="replace the baseline: run again with `--write-baseline`",
            )
        known = dict(baseline.functions)
        if new := [each.subject.function for each in base if each.subject.function not in known]:
            console.warn(
                f"baseline `{arguments.baseline}` does not contain these functions, so they are not compared: {', '.join(f'`{name}`' for name in new)}",
                hint="measure all functions again with `--write-baseline`",
            )
        verdicts += thresholds.judge_regression(base, baseline, arguments.max_regression)
        for name, before, after in thresholds.only_slower_by_waiting(base, baseline, arguments.max_regression):
            console.warn(
                f"`{name}` started in {after:.1f} ms instead of {before:.1f} ms, but its CPU time is within the limit: "
                "the machine was busy, or the function waits longer",
                hint="measure again on a quiet machine",
            )
    if arguments.write_baseline:
        thresholds.write(arguments.baseline, base, now, thresholds.packages_of(artifacts.build))
        console.note(f"wrote baseline to `{arguments.baseline}`")
    return study.Study(
        service=artifacts.build.service,
        target=str(artifacts.build.target),
        built=built_at(artifacts.project, report.read_all(artifacts.project)),
        circumstances=now,
        repeat=arguments.repeat,
        seed=arguments.seed,
        measurements=measured,
        comparisons=study.compare(measured),
        verdicts=tuple(verdicts),
    )


def _show(arguments: argparse.Namespace, study: Study, console: Console) -> None:
    from lamina.coldstart import study as studies
    from lamina.coldstart import table as tables

    for each in study.measurements:
        if each.mode_reason is not None:
            console.warn(f"used mode `path` instead of `namespace`: {each.mode_reason}")
            break
    console.aside(studies.BANNER)
    if arguments.json:
        emit_json(studies.document(study))
    else:
        for line in tables.lines(study, modules=arguments.modules, width=table_width(sys.stdout)):
            emit(line)


def _write(arguments: argparse.Namespace, study: Study, console: Console) -> None:
    if arguments.html is None and arguments.svg is None:
        return
    from lamina.cli.reports import write_file
    from lamina.coldstart.study import document
    from lamina.report.page import render, standalone
    from lamina.report.starts import starts_page, starts_section

    content = document(study)
    if arguments.svg is not None:
        # A function that failed to start has no chart; the table shows its error.
        for figure in starts_section(content).figures[-1:]:
            write_file(str(arguments.svg), standalone(figure.svg))
            console.note(f"wrote chart to `{arguments.svg}`")
    if arguments.html is not None:
        write_file(str(arguments.html), render(starts_page(content)))
        console.note(f"wrote page to `{arguments.html}`")


def _record(arguments: argparse.Namespace, console: Console) -> int:
    """Start each function once, send its events and write the profile; return 1 if a function fails to start."""
    _refuse((), arguments)
    from lamina.coldstart import measure, variants
    from lamina.project import profile

    artifacts = open_build(arguments)
    console.stage("recording imports")
    options = _environment_options(arguments, artifacts.project, console)
    chosen = variants.subjects(artifacts, arguments.functions, options=options)
    warn_of_wrapper((subject.environment for subject in chosen), console)
    events = _events(arguments.event, chosen)
    found: dict[str, frozenset[str]] = {}
    failures = 0
    for subject in chosen:
        started = measure.start(subject.environment, traced=True, events=events.get(subject.function, ()))
        if started.failure is not None or started.trace is None:
            console.warn(f"`{subject.function}` failed to start, so its imports were not recorded: {started.failure}")
            failures += 1
            continue
        for reason in started.unanswered:
            console.warn(
                f"`{subject.function}` failed while handling an event: {reason}",
                hint="fix the event and record again: imports after the failure are missing",
            )
        found[subject.function] = started.trace.layer_modules
        console.note(f"`{subject.function}` imported {count(len(found[subject.function]), 'module')} from its layers")
    path = profile.record(artifacts.project, found, fresh=arguments.fresh)
    console.close()
    if arguments.json:
        counts = {name: len(found[name]) for name in sorted(found)}
        emit_json({"version": "1", "kind": "profile", "path": str(path), "modules": counts})
    else:
        emit(str(path))
    return int(failures > 0)


def _events(asked: Sequence[str], chosen: Sequence[Subject]) -> dict[str, list[bytes]]:
    """
    Return the events of each function from the values of ``--event``.

    A value without a function's name is allowed only if exactly one function is chosen and the file exists. Otherwise raises
    `ConfigError`, also for an unknown function and an invalid event.
    """
    names = [subject.function for subject in chosen]
    found: dict[str, list[bytes]] = {}
    mistakes: list[str] = []
    missing: list[str] = []
    for entry in asked:
        name, separator, source = entry.partition("=")
        if separator and name in names:
            found.setdefault(name, []).append(read_event(source))
        elif len(names) == 1 and Path(entry).exists():
            found.setdefault(names[0], []).append(read_event(entry))
        elif len(names) == 1 and not separator:
            missing.append(entry)
        else:
            mistakes.append(entry)
    if missing:
        raise ConfigError(
            f"event file not found: {', '.join(f'`{entry}`' for entry in missing)}",
            hint="check the path: relative paths start at the current directory",
        )
    if mistakes:
        raise ConfigError(
            f"`--event` does not name a function to record: {', '.join(f'`{entry}`' for entry in mistakes)}",
            hint=f"use `--event FUNCTION=FILE` with an existing file and one of these functions: {', '.join(names)}",
        )
    return found


def _observe(arguments: argparse.Namespace) -> int:
    """Check the options, then read cold starts from AWS and print them; return 0."""
    if not arguments.functions:
        raise ConfigError(
            "`--aws` needs the names of deployed functions", hint="run `lamina coldstart --aws FUNCTION --logs 24`"
        )
    asked = {"logs": arguments.logs, "xray": arguments.xray, "forced": arguments.forced}
    if all(value is None for value in asked.values()):
        raise ConfigError(
            "`--aws` needs `--logs`, `--xray` or `--forced`", hint="read the logs of the last 24 hours: add `--logs 24`"
        )
    _refuse(
        [f"`--{name}` must be above 0" for name, value in asked.items() if value is not None and not value > 0],
        arguments,
    )
    _moment(arguments.split)
    from lamina.coldstart.observe import Sources

    return show_observed(
        arguments, Sources.connect(region=arguments.region, role=arguments.role), now=dt.datetime.now(dt.UTC)
    )


def show_observed(arguments: argparse.Namespace, sources: Sources, *, now: dt.datetime) -> int:
    """Read the cold starts that *arguments* specify from *sources*, and print them; return 0. Hours are counted back from *now*."""
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
    with console:
        console.stage("reading cold starts from AWS")
        found = observe(sources, arguments.functions, question, now=now, reporter=console)
    if arguments.json:
        emit_json(document(found))
        return 0
    if not found:
        console.say("no cold starts found")
        return 0
    rows = []
    for row in found:
        group, each = row.group, row.group.percentiles
        times = [f"{time:.0f} ms" for time in (each.p50, each.p90, each.p99, each.greatest)]
        layers = " ".join(":".join(arn.split(":")[-2:]) for arn in group.layers)
        rows.append((row.function, row.source, group.name, str(each.count), *times, layers))
    header = ("function", "source", "version", "count", "p50", "p90", "p99", "max", "layers")
    for line in table(header, rows, width=table_width(sys.stdout), droppable=_OBSERVED_DROPPABLE):
        emit(line)
    return 0


def _moment(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"`--split` is not an ISO 8601 time: `{text}`", hint="use a time such as `2026-11-23T12:00:00+00:00`"
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
