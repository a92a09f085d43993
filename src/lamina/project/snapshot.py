"""
Record the state of files and directories, and detect changes quickly by `os.stat`.

A path with unchanged times, size and inode counts as unchanged. If one differs, the content is read and compared by hash.
As in git's index, an edit within the file system's timestamp resolution can leave all of them unchanged. A file that was
modified at most 2 seconds before it was recorded is therefore always read.
A build with nothing to do imports this module, so it has few imports of its own.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

# FAT has the coarsest modification times, with a resolution of two seconds.
_GRAIN_NS = 2_000_000_000

# Python creates the first and lamina the second. Neither is ever packaged.
_PASSING = frozenset({"__pycache__", ".lamina"})


class Observation(NamedTuple):
    """The state of one path at one time."""

    path: str
    """The path relative to the root, with ``/``."""
    kind: str
    """The type of the path: ``file``, ``directory``, ``absent`` or ``other``."""
    seen_ns: int
    """The time of the observation in nanoseconds since the epoch."""
    stat: tuple[int, ...]
    """The modification time and change time in nanoseconds, the size in bytes and the inode. Empty if absent."""
    sha256: str
    """The SHA-256 of a file's content or of the names in a directory. Empty for other types."""


class Snapshot(NamedTuple):
    """The recorded state of several paths."""

    observations: tuple[Observation, ...]

    def unchanged(self, root: str | os.PathLike[str]) -> bool:
        """Return whether every path, relative to *root*, has the same type and content as in the snapshot."""
        return all(_is_as(observation, root) for observation in self.observations)

    def to_json(self) -> list[list[Any]]:
        """Return the snapshot as JSON values."""
        return [[*observation[:3], list(observation.stat), observation.sha256] for observation in self.observations]

    @classmethod
    def from_json(cls, rows: object) -> Snapshot | None:
        """Create a snapshot from the result of `to_json`, or return ``None`` if *rows* is invalid."""
        try:
            return cls(tuple(_observation(*row) for row in rows))  # type: ignore[attr-defined]
        except (TypeError, ValueError):
            return None


def take(root: str | os.PathLike[str], paths: Iterable[str | os.PathLike[str]]) -> Snapshot:
    """Return a snapshot of *paths*, relative to *root*. A path may be a file or a directory, or may not exist."""
    return Snapshot(tuple(observe(root, path) for path in paths))


def observe(root: str | os.PathLike[str], path: str | os.PathLike[str]) -> Observation:
    """
    Return the current state of *path*, relative to *root*, following symbolic links.

    Observe a path before you read it, so that the next comparison detects a change between the two.
    Raises `OSError` if the path exists but is unreadable.
    """
    absolute = os.path.join(root, path)
    relative = os.path.relpath(absolute, root).replace(os.sep, "/")
    seen = time.time_ns()
    kind, facts = _stat(absolute)
    return Observation(relative, kind, seen, facts, _content(absolute, kind))


def _observation(path: Any, kind: Any, seen_ns: Any, facts: Any, sha256: Any) -> Observation:
    if not (isinstance(path, str) and isinstance(seen_ns, int) and isinstance(facts, list)):
        raise TypeError(f"not an observation of a path: {path!r}")
    return Observation(path, kind, seen_ns, tuple(facts), sha256)


def _is_as(observation: Observation, root: str | os.PathLike[str]) -> bool:
    absolute = os.path.join(root, observation.path)
    kind, facts = _stat(absolute)
    if kind != observation.kind:
        return False
    if facts == observation.stat and (not facts or max(facts[:2]) + _GRAIN_NS < observation.seen_ns):
        return True
    try:
        return _content(absolute, kind) == observation.sha256
    except OSError:
        return False


def _stat(absolute: str) -> tuple[str, tuple[int, ...]]:
    try:
        found = os.stat(absolute)
    except OSError:
        return "absent", ()
    facts = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
    if stat.S_ISREG(found.st_mode):
        return "file", facts
    if stat.S_ISDIR(found.st_mode):
        return "directory", facts
    return "other", facts


def _content(absolute: str, kind: str) -> str:
    if kind == "file":
        from lamina.core.files import file_sha256

        return file_sha256(absolute)
    if kind == "directory":
        import hashlib

        with os.scandir(absolute) as entries:
            names = sorted(_marked(entry) for entry in entries if entry.name not in _PASSING)
        return hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    return ""


def _marked(entry: os.DirEntry[str]) -> str:
    """Return the entry's name with a suffix for its type, like ``ls -F``. A symbolic link's suffix includes its target."""
    if entry.is_symlink():
        return f"{entry.name}@{os.readlink(entry.path)}"
    return entry.name + "/" if entry.is_dir() else entry.name
