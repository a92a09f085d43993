"""
The `lamina` command line: one module per command, imported only when that command runs.

Only ``main`` turns an error into an exit code. No other function ends the process.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself takes longer to import
import argparse
import gc
import os
import sys

from lamina import __version__
from lamina.cli.console import Console, columns
from lamina.core.errors import (
    ConfigError,
    LaminaError,
    MachineError,
    MissingExtraError,
    StoppedError,
    UsageError,
)

TYPE_CHECKING = False  # a build with nothing to do does not import `typing`
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, NoReturn

COMMANDS = {
    "init": "create a configuration by inspecting the project",
    "build": "build layers and function packages from the lock file",
    "check": "check artifacts, templates and your environment",
    "audit": "look for vulnerabilities and licences, and write SBOMs",
    "diff": "compare two states of a service, and show what would be published",
    "pin": "pin the layers by ARN that lamina does not build",
    "inspect": "show what is in a layer, a function or a zip",
    "adopt": "lock what is in a layer by ARN, and build it yourself",
    "advise": "compare the ways to package a service, and recommend one",
    "report": "write a page with charts of sizes, needs, limits and findings",
    "invoke": "run a function locally with its built layers",
    "run": "run a command in a function's environment",
    "coldstart": "measure cold starts and show what they consist of",
    "publish": "publish changed layers to AWS",
    "deploy": "publish layers, then update functions and aliases",
    "prune": "list unused layer versions, and delete them on request",
    "policy": "print IAM policies that forbid layers of other accounts",
    "sandbox": "run an emulated AWS on this machine",
    "cache": "show, verify, clean or transfer the cache of builds",
    "doctor": "show what lamina uses on this machine, for bug reports",
    "schema": "print the configuration's JSON Schema for editors",
    "completion": "print a script that completes commands in your shell",
}
"""The one-line help of each command, by the command's name. The module of a command has the same name."""

DOCUMENTATION = "docs/"
"""The address of the documentation, to which a command's ``PAGE`` is appended."""

_COLUMNS = 80
_LONGEST_COMMAND = len("    completion")
_GARBAGE_COLLECTED_AFTER = 50_000
_DESCRIPTION = "Build, publish and deploy AWS Lambda layers for Python services from their lock file."
_EPILOG = f"""\
examples:
  lamina init               # create a configuration in pyproject.toml
  lamina build --dry-run    # show what would be downloaded and built
  lamina build              # build layers and packages into .lamina/
  lamina help build         # show the options of a command

exit codes:
  0 success, or nothing to do   1 check failed   2 usage or configuration error
  3 lock file error   4 download error   5 build error   6 AWS error

documentation: {DOCUMENTATION}README.md
"""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Format help: keep the line breaks of examples, wrap descriptions, and shorten the usage line."""

    def __init__(self, prog: str) -> None:
        # Without a width argparse imports `shutil` and its compression modules to get the terminal's size.
        super().__init__(prog, max_help_position=28, width=(columns(sys.__stdout__) or _COLUMNS) - 2)
        # argparse reserves two columns too few for the indented list of commands.
        self._action_max_length = _LONGEST_COMMAND

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        """Show `[OPTIONS]` in the usage line instead of up to thirty options."""
        positional = [positional_usage(action) for action in actions if not action.option_strings]
        super().add_usage(usage or " ".join(("%(prog)s [OPTIONS]", *positional)), (), groups, prefix)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        import textwrap

        # The base class keeps the line breaks of every text, but a description is one long line.
        return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)


def positional_usage(action: argparse.Action) -> str:
    """Return the positional argument *action* as the usage line shows it, such as `[FUNCTION ...]`."""
    if action.choices is not None and action.metavar is None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    name = str(action.metavar or action.dest)
    return {"*": f"[{name} ...]", "?": f"[{name}]"}.get(str(action.nargs), name)


class _ArgumentParser(argparse.ArgumentParser):
    """
    The parser of lamina or of one command. It raises `UsageError` for invalid arguments.

    A *listed* parser only provides the command's name for the list, and cannot parse.
    """

    def __init__(self, *, listed: bool = False, **keywords: Any) -> None:
        if not listed:
            super().__init__(**keywords)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse *args* like the base class, but reject unknown arguments here, where the command is known."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            from lamina.cli.usage import unknown_arguments

            raise unknown_arguments(self, unknown)
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` for the mistake that argparse describes as *message*."""
        from lamina.cli.usage import invalid_argument

        raise invalid_argument(self, message)


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """
    Return the parser of the command line.

    It imports the modules of all commands, or only that of the command *only*. If *only* is not a command, it imports
    none, and the parser lists the commands but cannot parse their arguments.
    """
    parser = _ArgumentParser(
        prog="lamina",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"lamina {__version__}", help="show the version and exit"
    )
    parser.add_argument("-h", "--help", action="help", help="show this help and exit")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", prog="lamina", parser_class=_ArgumentParser
    )
    for name, summary in COMMANDS.items():
        if only is None or name == only:
            _add_command(commands, name, summary)
        else:
            commands.add_parser(name, help=summary, listed=True)
    return parser


def _add_command(commands: argparse._SubParsersAction[_ArgumentParser], name: str, summary: str) -> None:
    from lamina.cli.options import add_common

    module = __import__(f"lamina.cli.{name}", fromlist=["run"])
    parser = commands.add_parser(
        name,
        help=summary,
        description=module.HELP,
        epilog=f"{module.EXAMPLE}\ndocumentation: {DOCUMENTATION}{module.PAGE}\n",
        formatter_class=_Formatter,
        allow_abbrev=False,
        add_help=False,
    )
    module.configure(parser)
    add_common(parser)
    parser.set_defaults(run=module.run)


def main(argv: Sequence[str] | None = None) -> int:
    """Run lamina with the arguments *argv*, by default those of the process, and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _exit_code(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output has closed it, as in `lamina … | head`.
        _discard_output()
        return 141
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        from lamina.core.faults import fault

        found = fault(error)
        if found is None:
            raise
        return _report_fault(found.with_traceback(error.__traceback__), arguments)
    return code


def _exit_code(arguments: list[str]) -> int:
    try:
        return _run(arguments)
    except SystemExit as error:
        # argparse raises SystemExit for `--help` and `--version`.
        return error.code if isinstance(error.code, int) else 2
    except MissingExtraError as error:
        return _report_failure(error.of(_command(arguments)), arguments)
    except LaminaError as error:
        return _report_failure(error, arguments)
    except KeyboardInterrupt as error:
        return _report_failure(StoppedError("interrupted").with_traceback(error.__traceback__), arguments)


def _need_directory() -> None:
    """Raise `ConfigError` if the current directory was deleted, which all commands need to resolve paths."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise ConfigError("the current directory was deleted", hint="change to an existing directory: `cd ~`") from None


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["help"]:
        arguments = [*(argument for argument in arguments if argument != "help"), "--help"]
    command = _command(arguments)
    if arguments and arguments[0] not in {command, "-h", "--help", "--version"}:
        from lamina.cli.usage import no_command

        raise no_command(arguments, command, COMMANDS)
    parser = build_parser(command)
    namespace = parser.parse_args(arguments, argparse.Namespace(given=arguments))
    if namespace.command is None:
        parser.print_help(sys.stderr)
        return 2
    _need_directory()
    if namespace.project and not os.path.isdir(namespace.project):
        from lamina.cli.usage import no_directory

        raise no_directory(namespace.project)
    return int(namespace.run(namespace))


def _command(arguments: list[str]) -> str:
    """Return the first of *arguments* that is a command, or an empty string."""
    return next((argument for argument in arguments if argument in COMMANDS), "")


def _report_failure(error: LaminaError, arguments: list[str]) -> int:
    """Print *error* to stderr, and with ``--json`` also to stdout as a JSON report; return its exit code."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if ("-v" in own or "--verbose" in own) and not isinstance(error, UsageError):
        Console().trace(error)
    Console().report(error, as_json="--json" in own)
    return error.exit_code


def _report_fault(error: MachineError, arguments: list[str]) -> int:
    """Report *error* like `_report_failure`, as far as stdout and stderr are not affected themselves."""
    try:
        _report_failure(error, arguments)
        sys.stdout.flush()
    except OSError:
        _discard_output()
    return error.exit_code


def _discard_output() -> None:
    """Redirect stdout and stderr to nowhere, so that Python does not fail again to write to them when it flushes them at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(null, stream.fileno())


def _interrupt(*_: object) -> NoReturn:
    """
    End a command as after Ctrl-C, so that nothing temporary is left and the cursor is visible.

    CI systems cancel a job with SIGTERM, and a terminal that closes sends SIGHUP.
    """
    raise KeyboardInterrupt


def _open_streams() -> None:
    """
    Open the null device as each standard stream that is closed, so that no file of a build gets its number and receives the output of a command.

    Streams write what their encoding lacks as an escape sequence, such as the name of a file that is not UTF-8. A stream that another program
    made non-blocking becomes blocking: Python fails to write to it when the reader is slower than lamina.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # The lowest free number is that of the closed stream.
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8"))  # noqa: SIM115 - stays open like other standard streams
            continue
        if mode == "w":
            stream.reconfigure(errors="backslashreplace")
        if sys.platform != "win32" and not os.get_blocking(stream.fileno()):
            os.set_blocking(stream.fileno(), True)


def entry_point() -> None:
    """Run ``main`` as the installed program and exit with its code; report an unexpected exception as a bug in lamina."""
    # A short-lived process has few reference cycles to free, so collecting them less often saves time.
    gc.set_threshold(_GARBAGE_COLLECTED_AFTER)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(_signal, name, None)  # Windows has no SIGHUP
        if number is not None and _signal.getsignal(number) == _signal.SIG_DFL:
            _signal.signal(number, _interrupt)
    _open_streams()
    try:
        code = main()
    except KeyboardInterrupt:
        # A second Ctrl-C or SIGTERM, while the first one was reported.
        code = StoppedError.exit_code
    except Exception as error:  # noqa: BLE001 - the last handler, which only a bug reaches
        console = Console()
        console.failure(
            LaminaError(
                f"bug in lamina {__version__}; please report it with the traceback below and the output of `lamina doctor`\n"
            )
        )
        console.trace(error)
        code = LaminaError.exit_code
    if code == StoppedError.exit_code:
        # The signal may have arrived after a temporary directory was created and before its context was entered.
        if (temporary := sys.modules.get("lamina.core.temporary")) is not None:
            temporary.remove_all()
        # Python would wait for threads, such as one that was just started and waits for a server that does not answer.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
