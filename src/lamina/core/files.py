"""
Lock and hash files, put files into the project's output directory atomically, and remove what a killed build left there.

Temporary files are written under the lock of the whole output directory, so one that a builder finds is abandoned.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lamina.core.errors import PackageError

if sys.platform == "win32":
    import msvcrt
    import time
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_LOCK_POLL_SECONDS = 0.05
_PREFIX = ".lamina-tmp-"


@contextmanager
def building(directory: Path) -> Iterator[None]:
    """
    Hold the one lock on the output *directory* (made if missing), and remove what killed builds left in it.

    A second build of the same project waits; afterwards it finds nothing to do.
    The directory ignores itself in git. Raises PackageError where it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        ignore = directory / ".gitignore"
        if not ignore.exists():
            replace_file(ignore, b"*\n")
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise PackageError(
            f"`{directory}` cannot be written: {error.strerror}",
            hint="the build's output goes there; make it writable",
        ) from error
    try:
        lock(descriptor)
        for leftover in directory.rglob(f"{_PREFIX}*"):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of the content of the file at *path*."""
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(destination: Path) -> Iterator[BinaryIO]:
    """Give an unbuffered temporary file beside *destination* that takes its place on normal exit, and else goes."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(destination)
    try:
        with temporary.open("x+b", buffering=0) as file:
            yield file
        temporary.replace(destination)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def temporary_beside(destination: Path) -> Path:
    """Return a new path beside *destination* that the next build removes, if nobody has by then."""
    return destination.with_name(f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}")


def replace_file(destination: Path, content: bytes) -> None:
    """Write *content* to *destination* atomically."""
    with writing(destination) as file:
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]


if sys.platform == "win32":

    def try_lock(descriptor: int) -> bool:
        """Lock the open file *descriptor* for this process alone, unless another has locked it; return whether it did."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def lock_shared(descriptor: int) -> None:
        """Do nothing: Windows has no shared locks here, and does not remove files that are open."""

    def lock(descriptor: int) -> None:
        """Lock the open file *descriptor* for this process alone; wait until no other has it."""
        while not try_lock(descriptor):
            time.sleep(_LOCK_POLL_SECONDS)

else:

    def try_lock(descriptor: int) -> bool:
        """Lock the open file *descriptor* for this process alone, unless another has locked it; return whether it did."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def lock_shared(descriptor: int) -> None:
        """Lock the open file *descriptor* together with others who do; wait for whoever has it alone."""
        fcntl.flock(descriptor, fcntl.LOCK_SH)

    def lock(descriptor: int) -> None:
        """Lock the open file *descriptor* for this process alone; wait until no other has it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX)
