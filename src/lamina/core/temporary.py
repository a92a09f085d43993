"""
Create the temporary directories of all commands, and delete those that killed processes left.

A process locks its directories while it uses them. The operating system releases the locks of a killed process, so the next process can
tell that these directories are abandoned. Where directories cannot be locked, as on NFS, they are abandoned after a day. Their names end
with 24 random digits, so that no directory of another program looks like them.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError, LaminaError
from lamina.core.files import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = re.compile(r"lamina-[a-z]+-[0-9a-f]{24}")
# Where directories cannot be locked, lamina deletes only those of this age.
_LEFTOVER_SECONDS = 86_400
# What flock(2) reports where it locks no directories. On NFS, only a file opened for writing can be locked, which no directory is: EBADF.
_NO_LOCKS = frozenset({errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})

_in_use: set[Path] = set()


@contextmanager
def temporary_directory(purpose: str, *, parent: Path | None = None) -> Iterator[Path]:
    """
    Create an empty directory that only this user can read, and delete it on exit. First delete what killed processes left.

    *purpose*, a lower-case word, is part of the name. The directory is in *parent*, by default the system's directory for temporary
    files. It may be renamed inside the context to keep it.

    Raises `ConfigError` if the system's directory is not writable, and `OSError` if *parent* is not.
    """
    directory = place(parent)
    sweep(directory)
    try:
        path, descriptor = _create(directory, purpose)
    except OSError as error:
        if parent is not None:
            raise
        raise _unwritable(directory, error) from error
    try:
        yield path
    finally:
        # The lock is released last: another process must not delete the same directory at the same time.
        _remove(path)
        _in_use.discard(path)
        if descriptor is not None:
            os.close(descriptor)


def place(parent: Path | None = None) -> Path:
    """Return *parent*, or the system's directory for temporary files. Raises `ConfigError` if the system has none that is writable."""
    if parent is not None:
        return parent
    try:
        return Path(os.path.realpath(tempfile.gettempdir()))
    except OSError as error:
        raise _unwritable(Path(os.environ.get("TMPDIR") or "/tmp"), error) from error  # noqa: S108 - only named in the message


def sweep(parent: Path | None = None) -> None:
    """Delete the temporary directories in *parent*, by default the system's directory for them, that killed processes of this user left."""
    try:
        directory = place(parent)
        names = os.listdir(directory)
    except (ConfigError, OSError):
        return  # creating a directory there reports the reason
    for name in names:
        if _NAME.fullmatch(name):
            _remove_abandoned(directory / name)


def remove_all() -> None:
    """Delete the temporary directories of this process, which is about to exit without leaving their contexts."""
    for path in tuple(_in_use):
        _remove(path)


def _create(parent: Path, purpose: str) -> tuple[Path, int | None]:
    while True:
        path = parent / f"lamina-{purpose}-{os.urandom(12).hex()}"
        # A signal may arrive before the caller has the path.
        _in_use.add(path)
        path.mkdir(mode=0o700)
        if sys.platform == "win32":
            return path, None
        descriptor = None
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if descriptor is None:
            _in_use.discard(path)
            continue  # another process deleted the directory as abandoned before it was locked
        try:
            locked = _locked(descriptor)
        except OSError:
            os.close(descriptor)
            path.rmdir()
            _in_use.discard(path)
            raise
        if locked and path.exists():
            return path, descriptor
        os.close(descriptor)
        if locked is None:
            return path, None
        _in_use.discard(path)


def _locked(descriptor: int) -> bool | None:
    """Lock the directory *descriptor*. Return false if another process has locked it, and ``None`` if it cannot be locked."""
    try:
        return try_lock(descriptor)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise


def _is_old(found: os.stat_result) -> bool:
    return time.time() - found.st_mtime > _LEFTOVER_SECONDS


def _remove_abandoned(path: Path) -> None:
    with suppress(OSError):
        if sys.platform == "win32":
            if _is_old(path.stat()):
                _remove(path)
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = os.fstat(descriptor)
            # In a directory that all users can write, others may have created this one.
            if found.st_uid != os.geteuid():
                return
            locked = _locked(descriptor)
            if locked or (locked is None and _is_old(found)):
                _remove(path)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    """Delete *path* with its contents, as far as possible: what remains is deleted by the next process."""
    with suppress(OSError):
        path.rmdir()  # also deletes a control group, whose files cannot be deleted
    if not path.is_dir():
        return
    shutil.rmtree(path, ignore_errors=True)
    if path.is_dir():
        # Some build tools create read-only directories.
        for directory, _, _ in os.walk(path):
            with suppress(OSError):
                os.chmod(directory, stat.S_IRWXU)
        shutil.rmtree(path, ignore_errors=True)


def _unwritable(directory: Path, error: OSError) -> LaminaError:
    from lamina.core.faults import exhausted

    return exhausted(error) or ConfigError(
        f"cannot create a temporary directory in `{directory}`: {error.strerror}",
        hint="set `TMPDIR` to a writable directory",
    )
