"""A temporary directory is deleted by its process, or by the next process after a kill; no other directory ever is."""

from __future__ import annotations

import errno
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


# Makes flock(2) fail for the process with the error number in the first argument: a seccomp filter (linux/filter.h, linux/seccomp.h).
_WITHOUT_LOCKS = """
import ctypes, errno, fcntl, os, platform, struct, sys, time
from pathlib import Path
from lamina.core.temporary import sweep, temporary_directory
flock = {"x86_64": 73, "aarch64": 32}[platform.machine()]
rows = [(0x20, 0, 0, 0), (0x15, 0, 1, flock), (0x06, 0, 0, 0x50000 | int(sys.argv[1])), (0x06, 0, 0, 0x7FFF0000)]
rows = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
libc = ctypes.CDLL(None, use_errno=True)
program = ctypes.create_string_buffer(struct.pack("HP", 4, ctypes.addressof(rows)))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit(77)
parent = Path(sys.argv[2])
old, young = (parent / f"lamina-test-{digit * 24}" for digit in "01")
old.mkdir()
young.mkdir()
os.utime(old, (0, 0))
try:
    with temporary_directory("test", parent=parent) as directory:
        print(directory.is_dir(), sorted(os.listdir(parent)) == sorted([young.name, directory.name]))
except OSError as error:
    print(errno.errorcode[error.errno])
print(old.exists(), os.listdir(parent) == [young.name])
"""


def without_locks(number: int, parent: Path) -> str:
    """Return what the program `_WITHOUT_LOCKS` prints if flock(2) fails with the error *number*."""
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_LOCKS, str(number), str(parent)], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip("this system does not allow to filter system calls")
    assert 0 == done.returncode
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no seccomp")
@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_where_directories_cannot_be_locked(number: int, tmp_path: Path) -> None:
    """As on NFS, a directory is used without a lock, and others are deleted once they are old."""
    assert "True True\nFalse True\n" == without_locks(number, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no seccomp")
def test_a_lock_that_fails_leaves_no_directory(tmp_path: Path) -> None:
    """Another error of a lock is reported, and nothing new remains. An old directory may be in use, so it remains, too."""
    (tmp_path / "parent").mkdir()
    said = without_locks(errno.EIO, tmp_path / "parent")

    assert "EIO\nTrue False\n" == said
    assert sorted(f"lamina-test-{digit * 24}" for digit in "01") == sorted(os.listdir(tmp_path / "parent"))
