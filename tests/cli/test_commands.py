from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.cli.main import COMMANDS, main

if TYPE_CHECKING:
    import pytest


def test_a_command_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command is an error that suggests a similar command."""
    code = main(["biuld", "--json"])

    assert 2 == code
    assert (
        "error: unknown command `biuld` (did you mean `build`?)\n\nhint: list the commands: `lamina --help`\n"
    ) == capsys.readouterr().err


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, the help goes to stderr and nothing goes to stdout."""
    code = main([])

    said = capsys.readouterr()
    assert 2 == code
    assert "" == said.out
    assert set(COMMANDS) <= set(said.err.split())
