"""Options that several commands or modules share, and what those of a build mean to the library."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from lamina.project.options import BuildOptions


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what every command has."""
    common = parser.add_argument_group("common options")
    common.add_argument("--project", metavar="DIR", help="the service's directory (default: upwards from here)")
    common.add_argument("--json", action="store_true", help="write a versioned JSON report to stdout")
    volume = common.add_mutually_exclusive_group()
    volume.add_argument("-v", "--verbose", action="store_true", help="say more; show tracebacks of failures")
    volume.add_argument("-q", "--quiet", action="store_true", help="say nothing but failures")


def project_of(arguments: argparse.Namespace) -> Path:
    """Return the directory of the service that the command line means; raises ConfigError if there is none."""
    from pathlib import Path

    from lamina.project.file import find_project

    return find_project(Path(arguments.project or "."))


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Let the runtime be named."""
    parser.add_argument("--runtime", metavar="NAME", help="instead of the configured runtime, such as python3.13")


def add_build(parser: argparse.ArgumentParser) -> None:
    """Let a build's target and content be named; `build_options` reads them."""
    parser.add_argument("--offline", action="store_true", help="use what is in the store, and no network")
    add_runtime(parser)
    parser.add_argument("--architecture", metavar="NAME", help="instead of the configured one: x86_64 or arm64")
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="add a dependency group")
    parser.add_argument("--extra", action="append", default=[], metavar="NAME", help="add an extra")


def build_options(arguments: argparse.Namespace) -> BuildOptions:
    """Return what the command line asks of the pipeline."""
    from lamina.project.options import BuildOptions

    return BuildOptions(
        runtime=arguments.runtime,
        architecture=arguments.architecture,
        groups=tuple(arguments.group),
        extras=tuple(arguments.extra),
        offline=arguments.offline,
    )


def add_regions(parser: argparse.ArgumentParser) -> None:
    """Let regions be named; `PublishConfig.at` takes them."""
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="NAME",
        help="instead of the configured regions; may be repeated",
    )


def add_plan(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Let the plan be asked for instead of what it says; return the group, for further things of that kind."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--dry-run", action="store_true", help="say what would be done; change nothing in AWS")
    group.add_argument("--check", action="store_true", help="like --dry-run, and exit 1 if anything would be done")
    return group


def add_environment(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that reproduce the environment of a function."""
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="set a variable, or hand on one of yours; nothing else of your environment is",
    )
    parser.add_argument("--no-build", action="store_true", help="use the last build even if its sources have changed")
    parser.add_argument("--credentials", action="store_true", help="hand on the AWS credentials in your environment")
    parser.add_argument(
        "--mode",
        choices=["auto", "namespace", "path"],
        default="auto",
        help="true directories in a mount namespace, or only the same search path (default: the first if it can be)",
    )


def days(text: str) -> float:
    """Return the number of days that *text* says, as the type of an option."""
    import argparse

    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of days")
    return number
