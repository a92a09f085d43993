"""
The command line: one module per command, each imported only when it is asked for.

``main`` is the only place that turns a failure into an exit code; nothing else exits.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lamina import __version__
from lamina.core.errors import ConfigError, LaminaError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "init": "write `[tool.lamina]` from what the repository shows",
    "build": "build the layers and function packages of a service from its lock",
    "invoke": "run a function on this machine against its built layers",
    "run": "run a command in the world that a function sees",
    "coldstart": "measure what a function's initialisation takes and consists of",
    "publish": "publish the layers that AWS does not have yet",
    "deploy": "publish, then bring the functions to their new code and layers",
    "prune": "delete layer versions that nobody uses; a dry run unless asked",
    "sandbox": "run an emulated AWS on loopback, for trying all this without an account",
    "cache": "show, verify or clean the store of wheels and segments",
}
"""Every command with its one line of help; its module has the same name."""

_COLUMNS = 80
_GARBAGE_COLLECTED_AFTER = 50_000
_DESCRIPTION = "Build AWS Lambda layers for Python services from the lock file they already have."
_EPILOG = """\
examples:
  lamina build                     build layers and packages into .lamina/
  lamina build --dry-run           say what would be fetched and built
  lamina COMMAND --help            all about one command

exit codes:
  0 done, or nothing to do    1 the answer is no    2 usage or configuration
  3 lock    4 fetch    5 archive    6 AWS
"""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keep examples as they are written, and the list of commands narrow."""

    def __init__(self, prog: str) -> None:
        # By itself argparse loads `shutil`, with all its codecs, to ask how wide the terminal is.
        super().__init__(prog, max_help_position=28, width=_columns() - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        import textwrap

        # A description of one line is prose: it is wrapped, as help is everywhere else.
        return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)


def _columns() -> int:
    """Return the width of the terminal as `shutil.get_terminal_size` finds it."""
    with suppress(ValueError):
        if (columns := int(os.environ.get("COLUMNS", ""))) > 0:
            return columns
    with suppress(AttributeError, ValueError, OSError):
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or _COLUMNS  # type: ignore[union-attr]
    return _COLUMNS


class _Command(argparse.ArgumentParser):
    """A command's parser; of the commands that were not asked for, it is only a name in the list."""

    def __init__(self, *, listed: bool = False, **keywords: Any) -> None:
        if not listed:
            super().__init__(**keywords)


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """
    Return the parser; the modules of all commands are imported, or that of the command *only*.

    With a name that is no command, no module is imported and the parser knows the commands' names alone.
    """
    parser = argparse.ArgumentParser(
        prog="lamina",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lamina {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_Command)
    for name, summary in COMMANDS.items():
        if only is None or name == only:
            _add_command(commands, name, summary)
        else:
            commands.add_parser(name, help=summary, listed=True)
    return parser


def _add_command(commands: argparse._SubParsersAction[_Command], name: str, summary: str) -> None:
    from lamina.cli.options import add_common

    module = __import__(f"lamina.cli.{name}", fromlist=["run"])
    parser = commands.add_parser(
        name,
        help=summary,
        description=module.HELP,
        epilog=module.EXAMPLE,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    add_common(parser)
    module.configure(parser)
    parser.set_defaults(run=module.run)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* (default: the process's own) and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((argument for argument in arguments if argument in COMMANDS), "")
    try:
        if arguments and arguments[0].isidentifier() and arguments[0] not in COMMANDS:
            raise _no_command(arguments[0])
        parser = build_parser(chosen)
        namespace = parser.parse_args(arguments)
        if namespace.command is None:
            parser.print_help(sys.stderr)
            return 2
        return int(namespace.run(namespace))
    except SystemExit as error:
        # argparse exits by itself for `--help`, `--version` and wrong usage.
        return error.code if isinstance(error.code, int) else 2
    except LaminaError as error:
        return _report_failure(error, verbose="-v" in arguments or "--verbose" in arguments)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read stdout has gone, as `lamina … | head` does; Python would complain once more at exit.
        sys.stdout = None
        return 141


def _no_command(name: str) -> ConfigError:
    from lamina.project.table import did_you_mean

    return ConfigError(
        f"There is no command `{name}`{did_you_mean(name, COMMANDS)}",
        hint=f"the commands are {', '.join(COMMANDS)}; see: lamina --help",
    )


def _report_failure(error: LaminaError, *, verbose: bool) -> int:
    from lamina.cli.console import Console

    if verbose:
        import traceback

        traceback.print_exception(error)
    Console().failure(error)
    return error.exit_code


def entry_point() -> None:
    """Run as the installed program: exit with the code, and own up to what nobody foresaw."""
    # A command that lives for a moment has little garbage in reference cycles, and much to search through for it.
    gc.set_threshold(_GARBAGE_COLLECTED_AFTER)
    try:
        code = main()
    except Exception:
        print(f"error: this is a bug in lamina {__version__}; please report it with what follows\n", file=sys.stderr)
        raise
    sys.exit(code)
