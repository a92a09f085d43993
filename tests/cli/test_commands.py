from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.cli.main import COMMANDS, main

if TYPE_CHECKING:
    import pytest


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, the help goes to stderr and nothing goes to stdout."""
    code = main([])

    said = capsys.readouterr()
    assert 2 == code
    assert "" == said.out
    assert set(COMMANDS) <= set(said.err.split())
