"""A temporary directory is deleted by its process, or by the next process after a kill; no other directory ever is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import ConfigError
from lamina.core.store import Store
from lamina.core.temporary import remove_all, sweep, temporary_directory

if TYPE_CHECKING:
    from pathlib import Path

_HOLDER = """
import sys, time
from pathlib import Path
from lamina.core.temporary import temporary_directory
with temporary_directory("test", parent=Path(sys.argv[1])) as directory:
    (directory / "deep").mkdir()
    (directory / "deep/file").write_text("x")
    (directory / "deep").chmod(0o500)
    print(directory, flush=True)
    time.sleep(600)
"""


def killed(parent: Path) -> str:
    """Return the name of a directory that a killed process left in *parent*."""
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(parent)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        path = process.stdout.readline().strip()
        sweep(parent)

        assert os.path.isdir(path), "a directory in use was deleted"
        process.send_signal(signal.SIGKILL)
    return os.path.basename(path)


def test_deleted_on_exit(tmp_path: Path) -> None:
    """The directory is private and empty, and is deleted with read-only subdirectories after an exception."""
    with suppress(KeyError), temporary_directory("test", parent=tmp_path) as directory:
        assert (0o40700, []) == (directory.stat().st_mode, os.listdir(directory))
        (directory / "deep").mkdir()
        (directory / "deep/file").touch()
        (directory / "deep").chmod(0o500)
        raise KeyError

    assert [] == os.listdir(tmp_path)


def test_kept_under_another_name(tmp_path: Path) -> None:
    """A directory that was renamed is not deleted."""
    with temporary_directory("test", parent=tmp_path) as directory:
        directory.rename(tmp_path / "kept")

    assert ["kept"] == os.listdir(tmp_path)


def test_swept_after_a_kill(tmp_path: Path) -> None:
    """What a killed process left is deleted when the next process creates a directory of any purpose there."""
    name = killed(tmp_path)
    left = os.listdir(tmp_path)
    with temporary_directory("other", parent=tmp_path) as directory:
        during = os.listdir(tmp_path)

    assert ([name], [directory.name]) == (left, during)


def test_swept_by_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that uses the store also deletes what killed commands left in the system's directory."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    killed(scratch)
    with Store.open(tmp_path / "store").in_use():
        assert [] == os.listdir(scratch)


def test_others_are_kept(tmp_path: Path) -> None:
    """Directories with similar names, links and files are not deleted, even if they are not locked."""
    (tmp_path / "victim").mkdir()
    for name in ("lamina-notes", "lamina-test-0123", f"lamina-test-{'0' * 24}x"):
        (tmp_path / name).mkdir()
    (tmp_path / f"lamina-test-{'1' * 24}").symlink_to(tmp_path / "victim")
    (tmp_path / f"lamina-test-{'2' * 24}").touch()
    before = sorted(os.listdir(tmp_path))
    sweep(tmp_path)

    assert before == sorted(os.listdir(tmp_path))


def test_deleted_before_an_exit(tmp_path: Path) -> None:
    """A process that exits without leaving its contexts deletes its directories first."""
    with temporary_directory("test", parent=tmp_path):
        remove_all()

        assert [] == os.listdir(tmp_path)


def test_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the directory, and the hint the variable that sets it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(ConfigError) as caught, temporary_directory("test"):
        pass

    assert f"cannot create a temporary directory in `{tmp_path / 'absent'}`: No such file or directory" == str(
        caught.value
    )
    assert "set `TMPDIR` to a writable directory" == caught.value.hint
