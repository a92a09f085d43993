"""Ask before a command changes files or AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from lamina.cli.console import Console


def agreed(arguments: argparse.Namespace, question: str, console: Console, *, hint: str) -> bool:
    """
    Return whether the user agrees to *question*, or has agreed with ``--yes``.

    Raises `ConfigError` if no one can answer; *hint* names the next step.
    """
    if arguments.yes:
        return True
    if not console.can_ask:
        raise ConfigError(
            f"`lamina {arguments.command}` asks before it changes anything, and no one can answer here",
            hint=hint,
        )
    if console.agrees(question):
        return True
    console.say("nothing was changed")
    return False
