"""Tests of `lamina.core.faults`: which errors are faults of the machine, and what is said about them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import DiskFullError, LimitError, MachineError
from lamina.core.faults import fault
from locking import write_pylock
from loopback import IndexServer
from services import make_service
from sourceprojects import make_sdist, source_files, write_sources
from wheels import sha256

if TYPE_CHECKING:
    from pathlib import Path

_FAULTS = {
    errno.ENOSPC: DiskFullError,
    errno.EDQUOT: DiskFullError,
    errno.EFBIG: DiskFullError,
    errno.EMFILE: LimitError,
    errno.ENFILE: LimitError,
    errno.EACCES: MachineError,
    errno.EPERM: MachineError,
    errno.EROFS: MachineError,
    errno.ENOENT: MachineError,
    errno.ENOTDIR: MachineError,
    errno.EISDIR: MachineError,
    errno.ELOOP: MachineError,
    errno.ENAMETOOLONG: MachineError,
    errno.EIO: MachineError,
    errno.ENXIO: MachineError,
}


@pytest.mark.parametrize("number", _FAULTS, ids=errno.errorcode.get)
def test_each_fault_names_the_file_what_the_system_says_and_a_cure(number: int) -> None:
    found = fault(OSError(number, os.strerror(number), "a b/c"))

    assert _FAULTS[number] is type(found)
    assert found is not None
    assert "`a b/c`" in str(found)
    assert os.strerror(number) in str(found)
    assert found.hint
    assert 5 == found.exit_code
    assert "ls -ld" not in found.hint or "`ls -ld 'a b/c'`" in found.hint


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        ImportError("_x.so: failed to map segment from shared object"),
    ],
    ids=repr,
)
def test_missing_memory_is_a_limit(error: Exception) -> None:
    assert isinstance(fault(error), LimitError)


@pytest.mark.parametrize(
    "error",
    [
        OSError("text only"),
        OSError(errno.EBADF, "Bad file descriptor"),
        RuntimeError("other"),
        ImportError("x"),
        ValueError(),
    ],
    ids=repr,
)
def test_what_only_a_bug_raises_stays_a_bug(error: Exception) -> None:
    assert fault(error) is None


def test_a_stream_that_would_block_is_not_missing_memory() -> None:
    """A process that cannot be started for want of memory has the same error number."""
    # The third argument is the number of characters written, which only streams report.
    found = fault(BlockingIOError(errno.EAGAIN, "write could not complete without blocking", 0))

    assert MachineError is type(found)
    assert "output" in str(found)
    assert LimitError is type(fault(BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))))


def test_a_long_path_is_shortened() -> None:
    found = fault(OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "a" * 5000))

    assert found is not None
    assert 400 > len(str(found))


@pytest.mark.parametrize(
    ("limit", "says"), [("-n 8", "Too many open files (limit of this process: 8)"), ("-n 5", "Too many open files")]
)
def test_a_limit_of_the_process_is_named(limit: str, says: str, tmp_path: Path) -> None:
    project = make_service(tmp_path).write()
    done = subprocess.run(
        ["/bin/sh", "-c", f'ulimit {limit}; exec "$@"', "sh", sys.executable, "-m", "lamina", "build"],
        cwd=project,
        env={**os.environ, "LAMINA_CACHE_DIR": str(tmp_path / "store")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (5, True) == (done.returncode, says in done.stderr), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("origin", ["index", "archive", "directory"])
def test_a_full_disk_names_the_place_and_how_to_make_room(origin: str, tmp_path: Path) -> None:
    """A download fills the disk of the store, a build from source that of the temporary files. Only the first hint is about the store."""
    service = make_service(tmp_path / "project")
    files = source_files("big", extra={}) | {"big/data.txt": "0" * 400_000}
    wheel = service.add("big", "1.0", {"big/data.bin": os.urandom(400_000)})
    project = service.write()
    if origin == "archive":
        sdist = make_sdist(tmp_path / "files", "big", "1.0", files)
        row = {"name": sdist.name, "path": str(sdist), "hashes": {"sha256": sha256(sdist)}}
        write_pylock(project, {"name": "big", "version": "1.0", "sdist": row})
    elif origin == "directory":
        write_sources(project / "big", files)
        write_pylock(project, {"name": "big", "version": "1.0", "directory": {"path": "big"}})
    (tmp_path / "tmp").mkdir()
    with IndexServer(service.wheels) as server:
        if origin == "index":
            row = {"name": wheel.name, "url": server.file_url(wheel.name), "hashes": {"sha256": sha256(wheel)}}
            write_pylock(project, {"name": "big", "version": "1.0", "wheels": [row]})
        done = subprocess.run(
            ["/bin/sh", "-c", 'ulimit -f 300; exec "$@"', "sh", sys.executable, "-m", "lamina", "build"],
            cwd=project,
            env={**os.environ, "LAMINA_CACHE_DIR": str(tmp_path / "store"), "TMPDIR": str(tmp_path / "tmp")},
            capture_output=True,
            text=True,
            check=False,
        )

    assert 5 == done.returncode, done.stderr
    place, hint = {
        "index": (tmp_path / "store/partial", "run `lamina cache size`"),
    }.get(origin, (tmp_path / "tmp/lamina-build-", f"free space in `{tmp_path / 'tmp'}`, or set `TMPDIR`"))
    assert f"error: failed to write `{place}" in done.stderr
    assert hint in done.stderr
    assert (origin == "index") is ("cache size" in done.stderr)
