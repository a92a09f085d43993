from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.cli.main import COMMANDS, main

if TYPE_CHECKING:
    import pytest


def test_a_command_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """A slip of the pen is answered with what was probably meant, and with all there is."""
    code = main(["biuld", "--json"])

    assert 2 == code
    assert (
        "error: There is no command `biuld` (did you mean `build`?)\n"
        "\n"
        f"hint: the commands are {', '.join(COMMANDS)}; see: lamina --help\n"
    ) == capsys.readouterr().err


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, the help is shown to whoever waits, and nothing to what reads."""
    code = main([])

    said = capsys.readouterr()
    assert 2 == code
    assert "" == said.out
    assert set(COMMANDS) <= set(said.err.split())
