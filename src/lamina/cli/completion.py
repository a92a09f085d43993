"""``lamina completion``: print the script with which a shell completes lamina's command lines."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lamina.cli.console import emit
from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

HELP = "Print the script with which your shell completes commands, options, their values, and file names."
EXAMPLE = """\
examples:
  lamina completion bash > ~/.local/share/bash-completion/completions/lamina
  lamina completion zsh > ~/.zfunc/_lamina
  lamina completion fish > ~/.config/fish/completions/lamina.fish
"""
PAGE = "how-to/shell-completion.md"

SHELLS = ("bash", "zsh", "fish")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lamina completion`` to *parser*."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that runs the script")


def run(arguments: argparse.Namespace) -> int:
    """Print the script. Raises `ConfigError` for ``--json``."""
    if arguments.json:
        raise ConfigError(
            "`lamina completion` does not support `--json`: stdout is the script",
            hint="leave it out: `lamina completion bash`",
        )
    emit(script(arguments.shell))
    return 0


def script(shell: str) -> str:
    """Return the completion script for *shell*, one of `SHELLS`."""
    import shtab  # imported only here, because no other command needs it

    from lamina.cli.main import build_parser

    parser = build_parser()
    kinds = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}
    for action in _actions(parser):
        if action.metavar in kinds:
            # shtab reads this attribute of an action.
            action.complete = kinds[action.metavar]  # type: ignore[attr-defined]
    completed: str = shtab.complete(parser, shell)
    return completed


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the actions of *parser* and of its commands."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list of them
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from _actions(command)
