"""
Tell faults of the machine from bugs: full disks, missing permissions, limits of the process and files of another kind.

Any call can meet such a fault, so only `main` asks here, and modules that can add what the file is for. What is not a fault of the machine is
a bug in lamina.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from lamina.core.errors import DiskFullError, LimitError, MachineError
from lamina.core.location import default_root

TYPE_CHECKING = False  # quick commands do not import `typing`
if TYPE_CHECKING:
    from typing import Any

# Only code that uses a closed descriptor, a wrong address or an unsuitable file gets these.
_BUGS = frozenset({errno.EBADF, errno.EFAULT, errno.ENOTTY, errno.ESPIPE, errno.EDOM, errno.ERANGE})
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_FILES = frozenset({errno.EMFILE, errno.ENFILE})
_FORBIDDEN = "look at its owner and permissions: {look}"
_GONE = "another process may have deleted it: run the command again"
_OTHER_KIND = "it is not the expected file or directory; look at it: {look}"
_CURES = {
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: "the file system is read-only: mount it writable, or copy the project to a writable directory",
    errno.ENOENT: _GONE,
    errno.ESTALE: _GONE,
    errno.ELOOP: "a symbolic link leads back to itself; look at it: {look}",
    errno.ENAMETOOLONG: "shorten the name, or move the project to a directory with a shorter path",
    errno.EISDIR: _OTHER_KIND,
    errno.ENOTDIR: _OTHER_KIND,
    errno.ENXIO: _OTHER_KIND,
    errno.EOVERFLOW: _OTHER_KIND,
    errno.EEXIST: _OTHER_KIND,
    errno.ENOTEMPTY: _OTHER_KIND,
}
_SHOWN_CHARACTERS = 200


def fault(error: BaseException) -> MachineError | None:
    """
    Return the error to report for *error* if it is a fault of the machine, or ``None`` if it is a bug.

    Faults are errors of the operating system, memory that runs out, and threads and libraries that cannot be started or loaded for want of it.
    """
    if isinstance(error, OSError) and error.errno not in _BUGS and error.strerror is not None:
        return _of_system(error)
    out_of_memory = (
        isinstance(error, MemoryError)
        or (isinstance(error, RuntimeError) and str(error) == "can't start new thread")
        or (isinstance(error, ImportError) and "failed to map segment from shared object" in str(error))
    )
    return _out_of_memory() if out_of_memory else None


def exhausted(error: BaseException) -> MachineError | None:
    """Return the error to report for *error* if the disk is full or a limit is reached, whatever the file is for; ``None`` otherwise."""
    found = fault(error)
    return found if isinstance(found, (DiskFullError, LimitError)) else None


def _of_system(error: OSError) -> MachineError:
    number, subject = error.errno, _subject(error)
    if number in _NO_SPACE:
        # Of a copy that fails, the second file is the one that is written.
        written = _path(error.filename2) or _path(error.filename)
        named = "a file or the output" if written is None else f"`{_shortened(written)}`"
        return DiskFullError(f"failed to write {named}: {error.strerror}", hint=_room(written))
    if number in _NO_FILES:
        most = _limit("RLIMIT_NOFILE")
        return LimitError(
            f"failed to open {subject or 'a file'}: {error.strerror}"
            + ("" if most is None else f" (limit of this process: {most:,})"),
            hint="raise the limit of open files: `ulimit -n 1024`",
        )
    if isinstance(error, BlockingIOError) and hasattr(error, "characters_written"):
        # Only a stream reports how much it has written. A process that cannot be started has the same number.
        return MachineError(
            "failed to write the output: another program made it non-blocking, and reads it too slowly",
            hint="redirect the output to a file, and run the command again",
        )
    if number in {errno.ENOMEM, errno.EAGAIN} and subject is None:
        return _out_of_memory()
    return MachineError(f"failed to use {subject or 'a file or the output'}: {error.strerror}", hint=_cure(error))


def _room(written: str | None) -> str:
    """Return how to make room for the file *written*, if it is known."""
    if written is None:
        return "free space on the disk"
    root = os.path.abspath(default_root())
    if os.path.abspath(written).startswith(f"{root}{os.sep}"):
        return "free space on the disk; to see how much the store occupies, run `lamina cache size`"
    directory = os.path.dirname(os.path.abspath(written))
    temporary = os.path.realpath(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - only compared
    if os.path.join(directory, "").startswith(os.path.join(temporary, "")):
        return f"free space in `{temporary}`, or set `TMPDIR` to a directory on a disk with more space"
    return f"free space on the disk; to see how much there is, run `df -h {_quoted(directory)}`"


def _out_of_memory() -> LimitError:
    most = _limit("RLIMIT_AS")
    if most is None:
        return LimitError(
            "this machine does not have enough memory", hint="stop other programs, and run the command again"
        )
    return LimitError(
        f"lamina needs more memory than this process may use: {most:,} bytes",
        hint="raise the limit of memory: `ulimit -v unlimited`",
    )


def _cure(error: OSError) -> str:
    """Return how to mend the fault *error*, with a command that deletes nothing if the fault has a path."""
    path, cure = _path(error.filename), _CURES.get(error.errno or 0)
    if cure is None or (path is None and "{" in cure):
        return "run the command again; with `-v`, it prints where this occurred"
    return cure.format(look="" if path is None else f"`ls -ld {_quoted(path)}`")


def _subject(error: OSError) -> str | None:
    path = _path(error.filename)
    return None if path is None else f"`{_shortened(path)}`"


def _path(name: Any) -> str | None:
    """Return *name*, the file of an error, as text; ``None`` if there is none, or it is the number of an open file."""
    return os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else None


def _shortened(path: str) -> str:
    return path if len(path) <= _SHOWN_CHARACTERS else f"{path[:_SHOWN_CHARACTERS]}…"


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path if len(path) <= _SHOWN_CHARACTERS else os.path.dirname(path)[:_SHOWN_CHARACTERS] or ".")


def _limit(name: str) -> int | None:
    """Return the soft limit *name* of this process, or ``None`` if it is unlimited or unknown."""
    # Where no file can be opened, the module may be one of those that cannot be loaded either.
    with suppress(ImportError, OSError):
        import resource

        limit = resource.getrlimit(getattr(resource, name))[0]
        return None if limit == resource.RLIM_INFINITY else limit
    return None
