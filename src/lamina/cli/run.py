"""``lamina run``: run a command in a function's environment."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.console import Console
from lamina.cli.invoke import find_environment, open_build, warn_of_mode
from lamina.cli.options import add_environment
from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

HELP = (
    "Run a command in a function's environment. `python` is the target's interpreter; it imports only the layers, the function package "
    "and the runtime's own modules. The command starts in the project directory. lamina exits with the command's exit code."
)
EXAMPLE = """\
examples:
  lamina run -- python -c 'import numpy; print(numpy.__file__)'
  lamina run --with pytest -- pytest tests/
  lamina run --env TABLE=orders-dev report -- python -m service.handlers.report
"""
PAGE = "how-to/invoke.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina run`` to *parser*."""
    import argparse

    parser.add_argument(
        "--with",
        dest="borrowed",
        action="append",
        default=[],
        metavar="NAME|./DIR",
        help="also import a package of the project's venv, or a directory",
    )
    add_environment(parser)
    parser.add_argument(
        "words",
        nargs=argparse.REMAINDER,
        metavar="[FUNCTION] -- COMMAND",
        help="the function (optional if all have the same layers) and the command",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code. Raises `ConfigError` for invalid arguments and for ``--json``."""
    from lamina.local.command import run_command

    if arguments.json:
        raise ConfigError(
            "`lamina run` does not support `--json`: stdout belongs to the command",
            hint="put options of the command after `--`: `lamina run -- COMMAND --json`",
        )
    function, command = _split(arguments.words)
    artifacts = open_build(arguments)
    environment = find_environment(arguments, artifacts, function, code=_code(command, artifacts.project))
    result = run_command(environment, command, project=artifacts.project, tools=arguments.borrowed)
    if result.mode_reason is not None:
        warn_of_mode(result.mode_reason, Console.of(arguments))
    return result.exit_code


def _code(command: list[str], project: Path) -> list[bytes]:
    """
    Return the arguments of *command*, one of which may be Python code, and the Python files that they name or that named directories contain.

    Only directories of the project are searched, and files that lamina cannot read are left to the command.
    """
    found = [os.fsencode(argument) for argument in command]
    for argument in command[1:]:
        path = Path(os.path.normpath(project / argument))
        is_searched = path.is_relative_to(project) and os.path.isdir(path)
        for file in _python_files(path) if is_searched else [path] if argument.endswith(".py") else []:
            with suppress(OSError):
                found += [file.read_bytes()] if file.is_file() else []
    return found


def _python_files(directory: Path) -> Iterator[Path]:
    """Yield the Python files below *directory*, without those in hidden directories and in virtual environments."""
    for here, directories, names in os.walk(directory):
        directories[:] = [
            name
            for name in directories
            if not name.startswith(".") and not os.path.exists(os.path.join(here, name, "pyvenv.cfg"))
        ]
        yield from (Path(here, name) for name in names if name.endswith(".py"))


def _split(words: list[str]) -> tuple[str | None, list[str]]:
    """
    Split *words* into the function's name, or None, and the command.

    Raises `ConfigError` if ``--`` or the command is missing, or if more than one word precedes ``--``.
    """
    hint = "use `lamina run [OPTIONS] [FUNCTION] -- COMMAND`"
    if "--" not in words:
        mistake = "`--` is missing before the command" if words else "command to run is missing"
        raise ConfigError(mistake, hint=hint)
    at = words.index("--")
    before, command = words[:at], words[at + 1 :]
    if not command:
        raise ConfigError("command to run is missing", hint=hint)
    if len(before) > 1:
        raise ConfigError(f"expected at most one function name before `--`, got `{' '.join(before)}`", hint=hint)
    return (before[0] if before else None), command
