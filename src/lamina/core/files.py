"""
Read, lock, hash and atomically replace files, and remove the temporary files of killed builds.

lamina creates everything in the output directory and in the store. Somebody else may have put a link there, as in a repository or in a
cache that CI restores, so `own_directory` provides each directory in them before anything in it is written, renamed or deleted.

Builds write temporary files only while they hold the output directory's lock. A temporary file that exists when
a build acquires the lock is therefore abandoned.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lamina.core.errors import ForeignFileError, LaminaError, PackageError

if sys.platform == "win32":
    import msvcrt
    import time
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path
    from typing import BinaryIO

_LOCK_POLL_SECONDS = 0.05
_PREFIX = ".lamina-tmp-"
# Not for everybody, whatever the umask is: containers often have 000.
_DIRECTORY_MODE = 0o775
_FILE_MODE = 0o664
_WHOLE_FILE_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20
# A full disk is noticed while the content is written, where the error has no path.
_UNNAMED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


@contextmanager
def building(directory: Path) -> Iterator[None]:
    """
    Lock the output *directory*, create it if it is missing, and remove the temporary files of killed builds.

    A second build in the same directory waits for the lock. A `.gitignore` file keeps the directory out of git.
    Raises `PackageError` if the directory cannot be created or is not writable.
    """
    try:
        own_directory(directory.parent, directory.name)
        descriptor = open_own_file(directory / "lock")
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        lock(descriptor)
        # Only the owner of the lock may write: it removes every temporary file that it finds.
        for leftover in directory.rglob(f"{_PREFIX}*"):
            remove_file(leftover)
        ignore = directory / ".gitignore"
        if not ignore.exists():
            try:
                replace_file(ignore, b"*\n")
            except OSError as error:
                raise _unwritable(directory, error) from error
        yield
    finally:
        os.close(descriptor)


def own_directory(root: str | os.PathLike[str], path: str = "", *, create: bool = True) -> str:
    """
    Return the directory *path* (relative to *root*) that only lamina writes to, and create it with its parents if it is missing.

    *root* may be a link of the user, but no component of *path* may be one. With *create* false, a missing directory stays missing.
    Raises `ForeignFileError` for a link or a file in place of a directory, and `OSError` if the directory cannot be created.
    """
    place = os.fspath(root)
    for name in ("", *os.path.normpath(path).split(os.sep)) if path else ("",):
        place = os.path.join(place, name) if name else place
        try:
            mode = (os.lstat(place) if name else os.stat(place)).st_mode
        except FileNotFoundError:
            if not create:
                return os.path.join(os.fspath(root), path)
            if not name:
                os.makedirs(os.path.dirname(place), exist_ok=True)
            with suppress(FileExistsError):
                os.mkdir(place, _DIRECTORY_MODE)
            mode = (os.lstat(place) if name else os.stat(place)).st_mode
        if not stat.S_ISDIR(mode):
            raise (
                foreign(place, mode, "directory")
                if name
                else NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), place)
            )
    return place


def open_own_file(path: str | os.PathLike[str], more: int = 0) -> int:
    """
    Return a descriptor of the file *path* of lamina, for reading and writing, and create the file if it is missing.

    *more* are further flags of `os.open`, such as `os.O_APPEND`.

    A file with further hard links, which may be a file of somebody else, is replaced by a new one.

    Raises `ForeignFileError` if it is a symbolic link or not a regular file.
    """
    # Without O_NONBLOCK, opening a pipe waits.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0) | more & ~os.O_TRUNC
    while True:
        try:
            descriptor = os.open(path, flags, _FILE_MODE)
        except OSError:
            with suppress(FileNotFoundError):
                mode = os.lstat(path).st_mode
                if not stat.S_ISREG(mode):
                    raise foreign(path, mode, "file") from None
            raise
        try:
            if _is_own(path, os.fstat(descriptor)):
                if more & os.O_TRUNC:
                    os.ftruncate(descriptor, 0)
                return descriptor
        except (OSError, LaminaError):
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_own(path: str | os.PathLike[str], opened: os.stat_result) -> bool:
    """
    Return whether *opened*, which was opened as *path*, has no other path. If it has, delete *path*.

    Raises `ForeignFileError` if it is not a regular file, and `OSError` if *path* cannot be deleted.
    """
    if not stat.S_ISREG(opened.st_mode):
        raise foreign(path, opened.st_mode, "file")
    if opened.st_nlink > 1:
        with suppress(FileNotFoundError):
            os.unlink(path)
        return False
    # Another process may have deleted this path of the file after it was opened here, so that only the other one is left.
    try:
        return os.path.samestat(os.lstat(path), opened)
    except FileNotFoundError:
        return False


def remove_file(path: str | os.PathLike[str]) -> bool:
    """Delete the file *path* and return True, or return False if it is missing, a link or not a regular file."""
    if not is_own_file(path):
        return False
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def remove_empty_directory(path: Path) -> bool:
    """Delete the directory *path* and return True, or return False if it is not empty, or the system refuses."""
    try:
        path.rmdir()
    except OSError:
        return False
    return True


def is_own_file(path: str | os.PathLike[str]) -> bool:
    """Return whether *path* is a regular file, as those that lamina creates; false for a link, and if there is none."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def foreign(path: str | os.PathLike[str], mode: int, expected: str) -> ForeignFileError:
    """Return the error for *path*, whose *mode* shows that it is not the *expected* file or directory."""
    import shlex

    is_directory = stat.S_ISDIR(mode)
    kind = "symbolic link" if stat.S_ISLNK(mode) else "directory" if is_directory else "file"
    if kind == expected:
        kind = "pipe, socket or device"
    return ForeignFileError(
        f"`{os.fspath(path)}` is a {kind}, not a {expected} that lamina created",
        hint=f"remove it: `rm {'-r ' if is_directory else ''}{shlex.quote(os.fspath(path))}`",
    )


def open_regular(path: str | os.PathLike[str]) -> FileIO:
    """
    Open the regular file *path*, whose links are followed, for reading without a buffer.

    Raises `OSError` for any other file: reading a pipe or a device may never end.
    """
    file = open(path, "rb", buffering=0, opener=_open_at_once)  # noqa: SIM115 - the caller closes it
    try:
        _require_regular(os.fstat(file.fileno()).st_mode, os.fspath(path))
    except OSError:
        file.close()
        raise
    return file


def _open_at_once(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a pipe waits for a writer.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _require_regular(mode: int, path: str) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.ENXIO, "Not a regular file", path)


def read_file(path: str | os.PathLike[str], *, most: int = _WHOLE_FILE_BYTES, special: bool = False) -> bytes:
    """
    Return the content of the regular file *path*, whose links are followed.

    With *special*, the file may also be a pipe or a device: for paths of the command line, as in ``--event <(jq …)``.
    Raises `OSError` for any other file, and for one with more than *most* bytes.
    """
    with open(path, "rb", buffering=0) if special else open_regular(path) as file:
        pieces, size = [], 0
        expected = os.fstat(file.fileno()).st_size + 1
        while piece := file.read(min(max(expected - size, _CHUNK_BYTES), most + 1)):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise OSError(errno.EOVERFLOW, f"Larger than {most:,} bytes", os.fspath(path))
        return b"".join(pieces)


def _unwritable(directory: Path, error: OSError) -> LaminaError:
    from lamina.core.faults import exhausted

    return exhausted(error) or PackageError(
        f"could not write to the output directory `{directory}`: {error.strerror}",
        hint="make this directory writable for your user",
    )


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of the file at *path*, in lower-case hexadecimal."""
    import hashlib

    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(destination: Path) -> Iterator[BinaryIO]:
    """
    Yield an unbuffered temporary file that replaces *destination* on success and is deleted after an exception.

    A link at *destination* is replaced, not followed. Raises `ForeignFileError` if *destination* is a directory.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(destination)
    try:
        with open(temporary, "x+b", buffering=0, opener=_open_for_owner) as file:
            yield file
        rename(temporary, destination)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        name_file(error, destination)
        raise


def _open_for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, _FILE_MODE)


def rename(temporary: str | os.PathLike[str], destination: str | os.PathLike[str]) -> None:
    """Rename the file *temporary* to *destination*. Raises `ForeignFileError` if *destination* is a directory."""
    try:
        os.replace(temporary, destination)
    except OSError:
        with suppress(FileNotFoundError):
            mode = os.lstat(destination).st_mode
            if stat.S_ISDIR(mode):
                raise foreign(destination, mode, "file") from None
        raise


def name_file(error: BaseException, path: str | os.PathLike[str]) -> None:
    """Add the *path* of the file that was written to *error*, if the error is that of a full disk and has no path."""
    if isinstance(error, OSError) and error.errno in _UNNAMED and error.filename is None:
        error.filename = os.fspath(path)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name *path*, the place that the context writes to, in the error of a full disk, as `name_file` does."""
    try:
        yield
    except OSError as error:
        name_file(error, path)
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
