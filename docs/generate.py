# ruff: noqa: INP001 - a folder of pages, and one script

"""
Write the reference pages that the code can say by itself: `commands.md` and `exit-codes.md`.

    .venv/bin/python docs/generate.py

`tests/repository/test_docs.py` compares the pages in the repository with what this makes. Nothing here depends on the width of a
terminal or on how a version of Python words its help, so every interpreter makes the same pages.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.cli.main import COMMANDS, build_parser
from lamina.core import errors
from lamina.core.toml import data_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REFERENCE = Path(__file__).parent / "reference"
ENVIRONMENT = data_path("environment.toml")
_MADE = "<!-- Made by docs/generate.py; edit that, or the code it reads. -->"

_COMMANDS_INTRODUCTION = """\
A command finds the service upwards from the working directory: the closest `pyproject.toml` with `[tool.lamina]`, or
`lamina.toml`. What it says to people goes to stderr; stdout holds its data. Options cannot be abbreviated.
"""
_EXIT_CODES_INTRODUCTION = """\
A script can tell "the answer is no" (1) from "it could not be done" (2 and above).

| code | meaning |
| --- | --- |
| 0 | done, or nothing to do |
| 1 | the answer is no: a finding is an error, a check saw a difference, a file of the store was damaged, or the function failed |
| 2 | usage or configuration |
| 3 | the lock |
| 4 | fetching |
| 5 | archives: a wheel, a layer, a package, bytecode, a local build |
| 6 | AWS |
| 130 | interrupted from the keyboard |
| 141 | whoever read stdout has gone, as with `lamina … \\| head` |

`lamina run` passes on the exit code of the command that it ran.

An error says on stderr, after `error:`, what happened to which thing, and mostly after `hint:` what to do. One run names all
offenders, not only the first. With `-v` the traceback comes before it. Anything else that ends a command is a bug, is called one, and shows a traceback.

## Errors by code

Use these names to catch an error in Python: each is a class of `lamina.core.errors`. A dash marks a subclass of the nearest error above that has one dash fewer.
"""


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Return the content of each page by its file name."""
    return {"commands.md": _page(_commands()), "exit-codes.md": _page(_exit_codes())}


def _page(blocks: Iterable[str]) -> str:
    return "\n\n".join(block.strip("\n") for block in blocks) + "\n"


def _commands() -> Iterator[str]:
    yield "# Commands"
    yield _MADE
    yield _COMMANDS_INTRODUCTION
    yield _table(("command", ""), [(f"[`lamina {name}`](#lamina-{name})", line) for name, line in COMMANDS.items()])
    parsers = dict(_parsers())
    yield "## Options of every command"
    shared = [action for action in _optional(next(iter(parsers.values()))) if _is_common(action, parsers.values())]
    yield _table(("option", ""), [(_flags(action), _help(action)) for action in shared])
    yield "`lamina --version` says which version this is."
    for name, parser in parsers.items():
        yield from _command(name, parser, {tuple(action.option_strings) for action in shared})
    yield from _environment()


def _parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    # argparse has no public way to a parser's commands.
    for action in build_parser()._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            yield from action.choices.items()


def _optional(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings]  # noqa: SLF001


def _is_common(action: argparse.Action, parsers: Iterable[argparse.ArgumentParser]) -> bool:
    return all(
        any((action.option_strings, action.help) == (other.option_strings, other.help) for other in _optional(parser))
        for parser in parsers
    )


def _command(name: str, parser: argparse.ArgumentParser, shared: set[tuple[str, ...]]) -> Iterator[str]:
    positional = [action for action in parser._actions if not action.option_strings]  # noqa: SLF001
    own = [action for action in _optional(parser) if tuple(action.option_strings) not in shared]
    yield f"## lamina {name}"
    yield f"```text\nlamina {' '.join((name, '[OPTIONS]', *map(_positional, positional)))}\n```"
    yield _sentence(parser.description or "")
    rows = [(f"`{_positional(action)}`", _help(action)) for action in positional]
    rows += [(_flags(action), _help(action)) for action in own]
    if rows:
        yield _table(("argument", ""), rows)
    if parser.epilog:
        yield from _examples(parser.epilog)


def _positional(action: argparse.Action) -> str:
    if action.choices is not None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return str(action.metavar or action.dest)


def _flags(action: argparse.Action) -> str:
    value = ""
    if action.nargs != 0:
        value = " " + (
            _positional(action) if action.choices is not None else str(action.metavar or action.dest.upper())
        )
    return ", ".join(f"`{flag}{value}`" for flag in action.option_strings).replace("|", "\\|")


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("|", "\\|")


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def _examples(epilog: str) -> Iterator[str]:
    """Yield an epilog as Markdown: its examples as code, and what else it says as text."""
    examples, _, rest = epilog.strip().removeprefix("examples:").partition("\n\n")
    lines = [line.removeprefix("  ").rstrip() for line in examples.strip("\n").splitlines()]
    yield "```text\n" + "\n".join(lines) + "\n```"
    if rest.strip():
        yield _sentence(rest)


def _environment() -> Iterator[str]:
    yield "## Environment variables"
    for group in environment_groups():
        yield f"### {group['title']}"
        rows = [
            (", ".join(f"`{name}`" for name in variable["name"].split(", ")), variable["meaning"])
            for variable in group["variable"]
        ]
        yield _table(("variable", ""), rows)


def environment_groups() -> list[dict[str, Any]]:
    """Return the table of environment variables, group by group."""
    groups: list[dict[str, Any]] = tomllib.loads(ENVIRONMENT.read_text(encoding="utf-8"))["group"]
    return groups


def _exit_codes() -> Iterator[str]:
    yield "# Exit codes"
    yield _MADE
    yield _EXIT_CODES_INTRODUCTION
    for kind in sorted(errors.LaminaError.__subclasses__(), key=lambda each: (each.exit_code, each.__name__)):
        rows = [(f"{'— ' * depth}`{each.__name__}`", _summary(each)) for depth, each in _family(kind)]
        yield f"### {kind.exit_code}: {kind.__name__}"
        yield _table(("error", ""), rows)


def _family(kind: type[errors.LaminaError], depth: int = 0) -> Iterator[tuple[int, type[errors.LaminaError]]]:
    yield depth, kind
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from _family(each, depth + 1)


def _summary(kind: type[errors.LaminaError]) -> str:
    first = (kind.__doc__ or "").strip().partition("\n\n")[0]
    return re.sub(r"``(.+?)``", r"`\1`", " ".join(first.split()))


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


if __name__ == "__main__":
    main()
