"""``lamina run``: any command in the environment of a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.cli.console import Console
from lamina.cli.invoke import find_environment, open_build, warn_of_mode
from lamina.cli.options import add_environment
from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    import argparse

HELP = (
    "Run a command in the world that a function sees: `python` is the target's interpreter with the layers, the package and the "
    "runtime's own modules, and nothing else. The command keeps the terminal and starts in the project; its exit code is passed on."
)
EXAMPLE = """\
examples:
  lamina run -- python -c 'import numpy; print(numpy.__file__)'
  lamina run --with pytest -- pytest tests/
  lamina run --env TABLE=orders-dev report -- python -m service.handlers.report
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    import argparse

    parser.add_argument(
        "--with",
        dest="borrowed",
        action="append",
        default=[],
        metavar="NAME|./DIR",
        help="lend a distribution of the project's environment with what it requires, or a directory, last on the path",
    )
    add_environment(parser)
    parser.add_argument(
        "words",
        nargs=argparse.REMAINDER,
        metavar="[FUNCTION] -- COMMAND",
        help="a function's name, which may be left out where all have the same layers; then the command",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code; raises ConfigError for usage that means nothing."""
    from lamina.local.command import run_command

    if arguments.json:
        raise ConfigError(
            "`lamina run` has no report, so it takes no `--json`: standard output is the command's",
            hint="options of the command stand behind it: lamina run -- COMMAND --json",
        )
    function, command = _split(arguments.words)
    artifacts = open_build(arguments)
    environment = find_environment(arguments, artifacts, function)
    result = run_command(environment, command, project=artifacts.project, tools=arguments.borrowed)
    if result.mode_reason is not None:
        warn_of_mode(result.mode_reason, Console.of(arguments))
    return result.exit_code


def _split(words: list[str]) -> tuple[str | None, list[str]]:
    """Return the function's name, if there is one, and the command; raises ConfigError if the *words* are neither."""
    hint = "lamina run [OPTIONS] [FUNCTION] -- COMMAND"
    if "--" not in words:
        mistake = "The command has to come after `--`" if words else "There is no command to run"
        raise ConfigError(mistake, hint=hint)
    at = words.index("--")
    before, command = words[:at], words[at + 1 :]
    if not command:
        raise ConfigError("There is no command to run", hint=hint)
    if len(before) > 1:
        raise ConfigError(f"Before `--` stands more than a function's name: {' '.join(before)}", hint=hint)
    return (before[0] if before else None), command
