"""
Lock, hash and atomically replace files, and remove the temporary files of killed builds.

Builds write temporary files only while they hold the output directory's lock. A temporary file that exists when
a build acquires the lock is therefore abandoned.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lamina.core.errors import DiskFullError, LaminaError, LimitError, PackageError

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
    Lock the output *directory*, create it if it is missing, and remove the temporary files of killed builds.

    A second build in the same directory waits for the lock. A `.gitignore` file keeps the directory out of git.
    Raises `PackageError` if the directory cannot be created or is not writable.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        lock(descriptor)
        # Only the owner of the lock may write: it removes every temporary file that it finds.
        for leftover in directory.rglob(f"{_PREFIX}*"):
            leftover.unlink(missing_ok=True)
        ignore = directory / ".gitignore"
        if not ignore.exists():
            try:
                replace_file(ignore, b"*\n")
            except OSError as error:
                raise _unwritable(directory, error) from error
        yield
    finally:
        os.close(descriptor)


def _unwritable(directory: Path, error: OSError) -> LaminaError:
    from lamina.core.faults import fault

    found = fault(error)
    if isinstance(found, (DiskFullError, LimitError)):
        return found
    return PackageError(
        f"could not write to the output directory `{directory}`: {error.strerror}",
        hint="make this directory writable for your user",
    )


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of the file at *path*, in lower-case hexadecimal."""
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(destination: Path) -> Iterator[BinaryIO]:
    """Yield an unbuffered temporary file that replaces *destination* on success and is deleted after an exception."""
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
    """Return a new path for a temporary file next to *destination*. If the file remains, the next build deletes it."""
    return destination.with_name(f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}")


def replace_file(destination: Path, content: bytes) -> None:
    """Write *content* to *destination* atomically."""
    with writing(destination) as file:
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]


if sys.platform == "win32":

    def try_lock(descriptor: int) -> bool:
        """Lock the open file *descriptor* exclusively, without waiting. Return False if another process has locked it."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def lock_shared(descriptor: int) -> None:
        """Do nothing. `msvcrt` has no shared locks, and Windows does not delete open files."""

    def lock(descriptor: int) -> None:
        """Lock the open file *descriptor* exclusively. Wait until no other process has locked it."""
        while not try_lock(descriptor):
            time.sleep(_LOCK_POLL_SECONDS)

else:

    def try_lock(descriptor: int) -> bool:
        """Lock the open file *descriptor* exclusively, without waiting. Return False if another process has locked it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def lock_shared(descriptor: int) -> None:
        """Lock the open file *descriptor* as one of several readers. Wait until no process has locked it exclusively."""
        fcntl.flock(descriptor, fcntl.LOCK_SH)

    def lock(descriptor: int) -> None:
        """Lock the open file *descriptor* exclusively. Wait until no other process has locked it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX)
