"""
Record the state of files and directories, and detect changes quickly by `os.stat`.

A path with unchanged times, size and inode counts as unchanged. If one differs, the content is read and compared.
As in git's index, an edit within the file system's timestamp resolution can leave all of them unchanged. A file that was
modified at most 2 seconds before it was recorded is therefore always read.
A path named ``.git`` stands for the paths that git tracks below its directory, so most commits do not change its content.
A build with nothing to do imports this module, so it has few imports of its own.
"""

from __future__ import annotations

import os
import stat
import time

from lamina.core.errors import PackageError
from lamina.core.frozen import frozen

TYPE_CHECKING = False  # a build with nothing to do does not import `typing`
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# FAT has the coarsest modification times, with a resolution of two seconds.
_GRAIN_NS = 2_000_000_000

# Python creates the first and lamina the second. Neither is ever packaged.
_PASSING = frozenset({"__pycache__", ".lamina"})


@frozen
class Observation:
    """The state of one path at one time."""

    path: str
    """The path relative to the root, with ``/``."""
    kind: str
    """The type of the path: ``file``, ``directory``, ``tracked``, ``absent`` or ``other``."""
    seen_ns: int
    """The time of the observation in nanoseconds since the epoch."""
    stat: tuple[int, ...]
    """
    The modification time and change time in nanoseconds, the size in bytes and the inode. Empty if absent.

    Those of tracked paths are of git's index.
    """
    content: str
    """The SHA-256 of a file or of tracked paths, or the sorted names in a directory, separated by NUL; otherwise empty."""


@frozen
class Snapshot:
    """The recorded state of several paths."""

    observations: tuple[Observation, ...]

    def unchanged(self, root: str | os.PathLike[str]) -> bool:
        """Return whether every path, relative to *root*, has the same type and content as in the snapshot."""
        return all(_is_as(observation, root) for observation in self.observations)

    def to_json(self) -> list[list[Any]]:
        """Return the snapshot as JSON values."""
        return [[each.path, each.kind, each.seen_ns, list(each.stat), each.content] for each in self.observations]

    @classmethod
    def from_json(cls, rows: object) -> Snapshot | None:
        """Create a snapshot from the result of `to_json`, or return ``None`` if *rows* is invalid."""
        try:
            return cls(observations=tuple(_observation(*row) for row in rows))  # type: ignore[attr-defined]
        except (TypeError, ValueError):
            return None


def take(root: str | os.PathLike[str], paths: Iterable[str | os.PathLike[str]]) -> Snapshot:
    """Return a snapshot of *paths*, relative to *root*. A path may be a file or a directory, or may not exist."""
    return Snapshot(observations=tuple(observe(root, path) for path in paths))


def observe(root: str | os.PathLike[str], path: str | os.PathLike[str]) -> Observation:
    """
    Return the current state of *path*, relative to *root*, following symbolic links.

    Observe a path before you read it, so that the next comparison detects a change between the two.
    Raises `OSError` if the path exists but is unreadable, and `PackageError` if git's index is damaged.
    """
    absolute = os.path.join(root, path)
    relative = os.path.relpath(absolute, root).replace(os.sep, "/")
    seen = time.time_ns()
    kind, facts = _stat(absolute)
    content = _content(absolute, kind)
    return Observation(path=relative, kind=kind, seen_ns=seen, stat=facts, content=content)


def _observation(path: Any, kind: Any, seen_ns: Any, facts: Any, content: Any) -> Observation:
    if not (isinstance(path, str) and isinstance(seen_ns, int) and isinstance(facts, list)):
        raise TypeError(f"not an observation of a path: {path!r}")
    return Observation(path=path, kind=kind, seen_ns=seen_ns, stat=tuple(facts), content=content)


def _is_as(observation: Observation, root: str | os.PathLike[str]) -> bool:
    absolute = os.path.join(root, observation.path)
    kind, facts = _stat(absolute)
    if kind != observation.kind:
        return False
    if facts == observation.stat and (not facts or max(facts[:2]) + _GRAIN_NS < observation.seen_ns):
        return True
    try:
        return _content(absolute, kind) == observation.content
    except (OSError, PackageError):
        # A build reads the path again and reports the error.
        return False


def _stat(absolute: str) -> tuple[str, tuple[int, ...]]:
    is_git = os.path.basename(absolute) == ".git"
    try:
        found = os.stat(_index_of(os.path.dirname(absolute)) if is_git else absolute)
    except OSError:
        return "absent", ()
    facts = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
    if is_git:
        return "tracked", facts
    if stat.S_ISREG(found.st_mode):
        return "file", facts
    if stat.S_ISDIR(found.st_mode):
        return "directory", facts
    return "other", facts


def _index_of(directory: str) -> str:
    from lamina.project.repository import find_repository

    repository = find_repository(directory)
    return "" if repository is None else repository.index


def _content(absolute: str, kind: str) -> str:
    if kind == "file":
        from lamina.core.files import file_sha256

        return file_sha256(absolute)
    if kind == "directory":
        # Not hashed, because importing `hashlib` takes as long as comparing all inputs.
        with os.scandir(absolute) as entries:
            return "\0".join(sorted(_marked(entry) for entry in entries if entry.name not in _PASSING))
    if kind == "tracked":
        from lamina.project.tracked import digest_below

        return digest_below(os.path.dirname(absolute))
    return ""


def _marked(entry: os.DirEntry[str]) -> str:
    """
    Return the entry's name with a suffix for its type: ``/`` for a directory, ``/@`` and the target for a symbolic link.

    No name contains ``/``, so that different entries never have the same mark.
    """
    if entry.is_symlink():
        return f"{entry.name}/@{os.readlink(entry.path)}"
    return entry.name + "/" if entry.is_dir() else entry.name
