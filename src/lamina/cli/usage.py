"""Describe mistakes in the command line, with the nearest command or option. Imported only after such a mistake."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import UsageError
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Sequence

_ARGUMENT = re.compile(r"argument (?P<name>.+?): (?P<fact>.+)", re.DOTALL)
_FACTS = (
    (re.compile(r"expected one argument"), "`{name}` needs a value"),
    (re.compile(r"expected at least one argument"), "`{name}` needs at least one value"),
    (re.compile(r"ignored explicit argument (?P<value>.+)"), "`{name}` does not accept a value, got {value}"),
    (re.compile(r"not allowed with argument (?P<other>.+)"), "`{name}` is not allowed with `{other}`"),
)
"""How argparse describes a mistake, and how lamina does."""


def no_command(arguments: Sequence[str], command: str, commands: Collection[str]) -> UsageError:
    """Return the error for *arguments* that do not start with a command. *command* is the first of *commands* among them, or empty."""
    first = arguments[0]
    if not first.startswith("-"):
        return UsageError(
            f"unknown command `{first}`{did_you_mean(first, [*commands, 'help'])}",
            hint="list the commands: `lamina --help`",
        )
    if command:
        at = arguments.index(command)
        # Before the other arguments, because `--` may separate those of another program.
        moved = shlex.join(["lamina", command, *arguments[:at], *arguments[at + 1 :]])
        return UsageError(f"option `{first}` must follow the command", hint=f"run `{moved}`")
    return UsageError(
        f"unknown option `{first}`{did_you_mean(first, ['--help', '--version'])}",
        hint="use `lamina COMMAND [OPTIONS]`; list the commands: `lamina --help`",
    )


def no_directory(project: str) -> UsageError:
    """Return the error for the value *project* of ``--project``, which is not a directory."""
    path = Path(project)
    if path.exists():
        return UsageError(
            f"`--project` needs a directory, and `{project}` is a file",
            hint=f"use `--project {shlex.quote(str(path.parent))}`",
        )
    parent = path.parent
    near = did_you_mean(path.name, [each.name for each in parent.iterdir() if each.is_dir()]) if parent.is_dir() else ""
    return UsageError(
        f"the directory `{project}` of `--project` does not exist{near}",
        hint=f"check the path: it starts at the current directory, `{Path.cwd()}`",
    )


def unknown_arguments(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> UsageError:
    """Return the error for the arguments *unknown* to *parser*, which lists all of their options."""
    known = [option for action in _actions(parser) for option in action.option_strings]
    # The values of unknown options are unknown, too.
    options = dict.fromkeys(each.partition("=")[0] for each in unknown if each.startswith("-") and each != "--")
    facts = [f"unknown option `{option}`{did_you_mean(option, known)}" for option in options]
    return UsageError("; ".join(facts) or f"unexpected argument `{shlex.join(unknown)}`", hint=_usage(parser))


def invalid_argument(parser: argparse.ArgumentParser, message: str) -> UsageError:
    """Return the error for an argument that *parser* rejects with argparse's *message*."""
    return UsageError(_fact(parser, message), hint=_usage(parser))


def _fact(parser: argparse.ArgumentParser, message: str) -> str:
    required = message.removeprefix("the following arguments are required: ")
    if required != message:
        return f"missing argument: {', '.join(_named(parser, name) for name in required.split(', '))}"
    found = _ARGUMENT.fullmatch(message)
    if found is None:
        return message
    name, fact = found["name"].rpartition("/")[2], found["fact"]
    action = _action(parser, name)
    if action is not None and action.choices is not None and fact.startswith("invalid choice: "):
        value = re.sub(r"invalid choice: '?(.*?)'? \(choose from .*", r"\1", fact, flags=re.DOTALL)
        choices = list(map(str, action.choices))
        return f"invalid value `{value}` for `{name}`{did_you_mean(value, choices)}: expected {_listed(choices)}"
    for pattern, words in _FACTS:
        if known := pattern.fullmatch(fact):
            values = {key: value.rpartition("/")[2] for key, value in known.groupdict().items()}
            return words.format(name=name, **values)
    return f"`{name}`: {fact}"


def _named(parser: argparse.ArgumentParser, name: str) -> str:
    action = _action(parser, name)
    choices = [] if action is None or action.choices is None else list(map(str, action.choices))
    return f"`{name}`{f' ({_listed(choices)})' if choices else ''}"


def _listed(choices: Sequence[str]) -> str:
    *first, last = (f"`{choice}`" for choice in choices)
    return f"{', '.join(first)} or {last}" if first else last


def _action(parser: argparse.ArgumentParser, name: str) -> argparse.Action | None:
    return next(
        (each for each in _actions(parser) if name in each.option_strings or name in {each.metavar, each.dest}), None
    )


def _actions(parser: argparse.ArgumentParser) -> Sequence[argparse.Action]:
    return parser._actions  # noqa: SLF001 - argparse has no public API for the arguments of a parser


def _usage(parser: argparse.ArgumentParser) -> str:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    return f"use `{usage}`; list the options: `{parser.prog} --help`"
