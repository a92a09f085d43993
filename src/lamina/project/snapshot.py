"""
Remember what files looked like, and tell cheaply whether they still do: what a build with nothing to do costs.

A path whose stat is as recorded is taken as unchanged; any other is read and compared by content.
Git's "racy" case is kept in mind: a file changed within the clock's grain of being looked at can keep its stat, so
whatever changed shortly before it was recorded is always read.
This module is on the path of a build with nothing to do, so it imports next to nothing.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

# FAT keeps modification times in steps of two seconds, the coarsest file system there is.
_GRAIN_NS = 2_000_000_000

# Imports of the service on this machine make the one, a build makes the other, and neither ever reaches a package.
_PASSING = frozenset({"__pycache__", ".lamina"})


class Observation(NamedTuple):
    """What one path was when it was looked at."""

    path: str
    """Relative to the root, with ``/``."""
    kind: str
    """``file``, ``directory``, ``absent`` or ``other``."""
    seen_ns: int
    """When it was looked at, nanoseconds since the epoch."""
    stat: tuple[int, ...]
    """Modification and change time in nanoseconds, size in bytes, inode."""
    sha256: str
    """Of a file's content, or of a directory's entries' names."""


class Snapshot(NamedTuple):
    """What a set of paths was."""

    observations: tuple[Observation, ...]

    def unchanged(self, root: str | os.PathLike[str]) -> bool:
        """Return whether every path under *root* holds what it held."""
        return all(_is_as(observation, root) for observation in self.observations)

    def to_json(self) -> list[list[Any]]:
        """Return a value that ``json`` can write."""
        return [[*observation[:3], list(observation.stat), observation.sha256] for observation in self.observations]

    @classmethod
    def from_json(cls, rows: object) -> Snapshot | None:
        """Return what `to_json` gave, or ``None`` where *rows* are anything else."""
        try:
            return cls(tuple(_observation(*row) for row in rows))  # type: ignore[attr-defined]
        except (TypeError, ValueError):
            return None


def take(root: str | os.PathLike[str], paths: Iterable[str | os.PathLike[str]]) -> Snapshot:
    """Return the snapshot of *paths*, files, directories or nothing at all, as seen from *root*."""
    return Snapshot(tuple(observe(root, path) for path in paths))


def observe(root: str | os.PathLike[str], path: str | os.PathLike[str]) -> Observation:
    """
    Return what *path* is now; symbolic links are followed.

    Look first and use afterwards: a change in between then shows as a difference the next time.
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
    """Return the entry's name with a mark for what it is, as ``ls -F`` shows it; of a link also where it leads."""
    if entry.is_symlink():
        return f"{entry.name}@{os.readlink(entry.path)}"
    return entry.name + "/" if entry.is_dir() else entry.name
