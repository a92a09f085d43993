from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.cli.main import COMMANDS, main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("command", ["build", "doctor", "init"])
def test_directory_that_was_deleted(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command in a directory that no longer exists gives one error."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert 2 == main([command])
    assert "error: the current directory was deleted\n\nhint: change to an existing directory: `cd ~`\n" == (
        capsys.readouterr().err
    )


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, the help goes to stderr and nothing goes to stdout."""
    code = main([])

    said = capsys.readouterr()
    assert 2 == code
    assert "" == said.out
    assert set(COMMANDS) <= set(said.err.split())
