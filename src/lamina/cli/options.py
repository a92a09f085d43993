"""Options that several commands share, and the functions that read them."""

from __future__ import annotations

TYPE_CHECKING = False  # a build with nothing to do does not import `typing`
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from lamina.core.errors import ConfigError
    from lamina.pipeline.workspace import Workspace
    from lamina.project.options import BuildOptions

_SHOWN = 10


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command."""
    common = parser.add_argument_group("common options")
    common.add_argument("--project", metavar="DIR", help="use this project (default: search upwards from here)")
    common.add_argument("--json", action="store_true", help="write a JSON report to stdout")
    volume = common.add_mutually_exclusive_group()
    volume.add_argument("-v", "--verbose", action="store_true", help="show more details, and tracebacks of errors")
    volume.add_argument(
        "-q", "--quiet", action="store_true", help="show only errors, and which packages are built from source"
    )
    common.add_argument("-h", "--help", action="help", help="show this help and exit")


def project_of(arguments: argparse.Namespace) -> Path:
    """
    Return the directory of the service, found upwards from ``--project`` or the working directory, and use its facts about AWS.

    Raises `ConfigError` if there is none, or if there are several because the directory is the root of a workspace, and the errors of
    `lamina.project.newer_facts.use_facts_of`.
    """
    from pathlib import Path

    from lamina.pipeline import workspace
    from lamina.project.file import find_project
    from lamina.project.newer_facts import use_facts_of

    start = Path(arguments.project or ".")
    if (found := workspace.find(start)) is not None:
        raise _several_services(arguments, found)
    project = find_project(start)
    # Options and the tables for commands are checked against facts before the rest of the configuration is read.
    use_facts_of(project)
    return project


def _several_services(arguments: argparse.Namespace, found: Workspace) -> ConfigError:
    import shlex
    from pathlib import Path

    from lamina.core.errors import ConfigError
    from lamina.core.paths import relative_path
    from lamina.core.text import count

    names = [shlex.quote(relative_path(service, Path.cwd())) for service in found.services]
    if not names:
        return ConfigError(f"the workspace `{found.root}` has no services", hint="add services: `lamina init`")
    words = [arguments.command, "--project", names[0], *_other_words(arguments)]
    others = f"; other services: {', '.join(f'`{name}`' for name in names[1:_SHOWN])}" if len(names) > 1 else ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ConfigError(
        f"`{found.root}` is a workspace of {count(len(names), 'service')}, and `lamina {arguments.command}` needs one",
        hint=f"name a service: `lamina {' '.join(words)}`{others}{more}",
    )


def _other_words(arguments: argparse.Namespace) -> list[str]:
    """Return the words of the command line after the command, except ``--project`` and its value, quoted for a shell."""
    import shlex

    words = iter(arguments.given[1:])
    kept = []
    for word in words:
        if word == "--project":
            next(words)
        elif not word.startswith("--project="):
            kept.append(shlex.quote(word))
        if word == "--":
            break
    return [*kept, *map(shlex.quote, words)]


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Add ``--runtime``, which overrides the configured runtime."""
    parser.add_argument("--runtime", metavar="NAME", help="override the configured runtime, such as python3.13")


def add_build(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a build's target and its packages; `build_options` reads them."""
    parser.add_argument("--offline", action="store_true", help="use only files in the store; do not use the network")
    add_runtime(parser)
    parser.add_argument("--architecture", metavar="NAME", help="override the configured architecture: x86_64 or arm64")
    parser.add_argument(
        "--group", action="append", default=[], metavar="NAME", help="include a dependency group (repeatable)"
    )
    parser.add_argument("--extra", action="append", default=[], metavar="NAME", help="include an extra (repeatable)")
    add_install_python(parser)


def add_install_python(parser: argparse._ActionsContainer) -> None:
    """Add ``--install-python``, which `Console` reads, to a command that builds."""
    parser.add_argument(
        "--install-python",
        action="store_true",
        help="install a missing Python of the runtime's version with uv, to compile bytecode",
    )


def build_options(arguments: argparse.Namespace) -> BuildOptions:
    """Return the build options given on the command line."""
    from lamina.project.options import BuildOptions

    return BuildOptions(
        runtime=arguments.runtime,
        architecture=arguments.architecture,
        groups=tuple(arguments.group),
        extras=tuple(arguments.extra),
        offline=arguments.offline,
    )


def add_regions(parser: argparse.ArgumentParser) -> None:
    """Add ``--region``, whose values are passed to `PublishConfig.at`."""
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="NAME",
        help="use this region instead of the configured ones (repeatable)",
    )


def add_plan(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Add the options that only show the plan; return their mutually exclusive group, to which a command may add more."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--dry-run", action="store_true", help="show the plan without changing anything in AWS")
    group.add_argument("--check", action="store_true", help="like --dry-run, but exit with 1 if anything would change")
    return group


def add_report_files(parser: argparse.ArgumentParser) -> None:
    """Add ``--output`` and ``--env-file`` to a command that publishes layers."""
    parser.add_argument("--output", metavar="FILE", help="also write the JSON report to a file")
    parser.add_argument("--env-file", metavar="FILE", help="write the ARNs to a file as NAME=value lines")


def add_findings_report(parser: argparse.ArgumentParser, formats: Sequence[str]) -> None:
    """Add the options that say in which of *formats*, of which the last is for GitHub, and where to write a report with findings."""
    parser.add_argument(
        "--format",
        choices=formats,
        metavar="NAME",
        help=f"report as {', '.join(formats[:-1])} or github (default: text)",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="write the report to a file instead of stdout, and the findings to stderr"
    )


def add_everything(parser: argparse.ArgumentParser, condition: str = "") -> None:
    """Add the option to also ask a database of advisories about names that may be secret. *condition* starts its description."""
    parser.add_argument(
        "--all",
        action="store_true",
        dest="everything",
        help=f"{condition}also send names of distributions that are not known to be public",
    )


def add_environment(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that run code in a function's environment."""
    group = parser.add_argument_group("function's environment")
    group.add_argument("--runtime", metavar="NAME", help="use the target with this runtime, such as python3.13")
    group.add_argument(
        "--architecture",
        metavar="NAME",
        help="use the target with this architecture (default: one that this machine can run)",
    )
    group.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="set a variable, or pass one of yours through; others are hidden",
    )
    group.add_argument(
        "--env-file", action="append", default=[], metavar="FILE", help="set the variables in this file (repeatable)"
    )
    group.add_argument("--no-build", action="store_true", help="use the last build even if the sources have changed")
    add_install_python(group)
    group.add_argument("--offline", action="store_true", help="use only files in the store; do not use the network")
    group.add_argument("--credentials", action="store_true", help="pass your AWS credentials through")
    group.add_argument(
        "--mode",
        choices=["auto", "namespace", "path"],
        default="auto",
        metavar="MODE",
        help="use auto, namespace (mounts Lambda's paths) or path (default: auto)",
    )


def days(text: str) -> float:
    """Return *text* as a number of days, at least 0. Raises `ArgumentTypeError` for other text, as the ``type`` of an option must."""
    import argparse

    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"`{text}` is not a valid number of days: expected at least 0")
    return number
