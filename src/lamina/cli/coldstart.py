"""``lamina coldstart``: what initialisation takes, what it consists of, and what would change it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["EXAMPLE", "HELP", "configure", "misplaced", "run"]

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


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    from lamina.cli.invoke import add_world_options  # noqa: PLC0415 - other commands' help does without

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
    add_world_options(parser)
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


def misplaced(arguments: argparse.Namespace) -> list[str]:
    """Return what is wrong with options that belong to another of the things that the command does; they would be passed over."""
    import argparse  # noqa: PLC0415

    parser = argparse.ArgumentParser()
    configure(parser)
    unset = vars(parser.parse_args([]))
    given = {name for name, value in unset.items() if getattr(arguments, name) != value}
    if arguments.aws:
        return _saying(given & (_MEASURING | _RECORDING | _STARTING_HERE), "not with `--aws`")
    if arguments.record:
        return _saying(given & (_MEASURING | _OBSERVING), "not with `--record`")
    return [
        *_saying(given & {*_RECORDING, "event"}, "only with `--record`"),
        *_saying(given & _OBSERVING, "only with `--aws`"),
    ]


def _saying(names: set[str], words: str) -> list[str]:
    shown = ", ".join(f"`--{name.replace('_', '-')}`" for name in sorted(names))
    return [f"{words}: {shown}"] if names else []


def run(arguments: argparse.Namespace) -> int:
    """Measure and show, record, or ask AWS; 1 where a limit is exceeded or a function cannot start."""
    from lamina.cli.stopping import stoppable  # noqa: PLC0415

    with stoppable():
        return _chosen(arguments)


def _chosen(arguments: argparse.Namespace) -> int:
    if arguments.aws:
        from lamina.cli._observing import run as observe  # noqa: PLC0415

        return observe(arguments)
    if arguments.record:
        from lamina.cli._recording import run as record  # noqa: PLC0415

        return record(arguments)
    from lamina.cli._measuring import run as measure  # noqa: PLC0415

    return measure(arguments)
