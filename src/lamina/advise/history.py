"""
Read from git how often a service was deployed, and which distributions changed together.

Each commit that changes the lock file counts as a deploy with an update, and each other commit that changes the sources as a deploy with
edited code. Where git knows nothing, such as in a shallow clone, the updates are those of each single distribution.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.core.errors import StartError
from lamina.core.frozen import frozen
from lamina.core.store import key_of
from lamina.core.supervised.git import run_git
from lamina.lock import formats
from lamina.lock.listing import list_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from lamina.core.store import Store
    from lamina.lock.types import LockFile
    from lamina.pipeline.context import BuildContext
    from lamina.project.service import Service

VERSIONS_AREA = "versions"
"""The area of the store with the distributions that lock files of earlier commits list."""
MOST_REVISIONS = 50
"""The number of the last changes of the lock file that are read."""
_FORMAT = 1
_YEAR_DAYS = 365


@frozen
class History:
    """The deploys of a year, and the updates of distributions."""

    bumps: tuple[frozenset[str], ...]
    """For each update, the names of the distributions that changed, as far as the lock file has them today."""
    edits_per_year: int | None
    """The commits of the last twelve months that changed sources but not the lock file; ``None`` without git."""
    bumps_per_year: int | None
    """The commits of the last twelve months that changed the lock file; ``None`` without git."""
    revisions: int
    """The number of changes of the lock file that *bumps* come from; 0 if they are those of each single distribution."""


class _Change(NamedTuple):
    """A commit that changed the lock file."""

    time: int
    """Seconds since the epoch."""
    old: str
    """The object name of the lock file before; zeros if it was new."""
    new: str


def read_history(service: Service, context: BuildContext, names: Iterable[str], *, now: dt.datetime) -> History:
    """
    Return the history of *service* up to *now*. *names* are the distributions that its layers have today.

    A revision of the lock file that cannot be read is left out. Raises the errors of running git.
    """
    single = tuple(frozenset({name}) for name in sorted(names))
    lock_file = formats.find(context.project, service.lock, target=service.target)
    changes = _changes(lock_file)
    if changes is None:
        return History(bumps=single, edits_per_year=None, bumps_per_year=None, revisions=0)
    since = (now - dt.timedelta(days=_YEAR_DAYS)).timestamp()
    known = frozenset(names)
    reader = _VersionReader(lock_file, context.store)
    bumps: list[frozenset[str]] = []
    for change in changes[:MOST_REVISIONS]:
        old, new = reader.versions(change.old), reader.versions(change.new)
        if old is not None and new is not None:
            changed = frozenset(name for name in known if old.get(name) != new.get(name))
            bumps += [changed] if changed else []
    recent = sum(change.time >= since for change in changes)
    return History(
        bumps=tuple(bumps) or single,
        edits_per_year=_edits(service, lock_file, since),
        bumps_per_year=recent,
        revisions=len(bumps),
    )


def _changes(lock_file: LockFile) -> list[_Change] | None:
    """Return the commits that changed *lock_file*, the newest first; ``None`` if it is in no git repository with commits."""
    lines = _git(
        lock_file.path.parent, "log", "--format=%ct", "--raw", "--no-abbrev", "--no-renames", "--", lock_file.path.name
    )
    if lines is None or not lines:
        return None
    found: list[_Change] = []
    time = 0
    for line in lines:
        if line.startswith(":"):
            old, new = line.split()[2:4]
            found.append(_Change(time, old, new))
        elif line:
            time = int(line)
    return found


def _edits(service: Service, lock_file: LockFile, since: float) -> int:
    """Return the number of commits after *since* that changed sources of *service*, but not *lock_file*."""
    sources = {entry for each in service.functions for entry in (each.source or service.source)} or set(service.source)
    # Globs of the configuration mean the same to git with its long form of pathspecs.
    paths = [f":(glob){entry}" if "*" in entry else entry for entry in sorted(sources)]
    log = ("log", "--format=%H", f"--since={int(since)}", "--")
    own = _git(service.root, *log, *paths) or []
    locked = _git(lock_file.path.parent, *log, lock_file.path.name) or []
    return len({*own} - {*locked} - {""})


class _VersionReader:
    """Reads which versions the lock file of a commit lists. The store keeps the results."""

    def __init__(self, lock_file: LockFile, store: Store) -> None:
        self._lock_file = lock_file
        self._store = store
        self._read: dict[str, Mapping[str, tuple[str, ...]] | None] = {}

    def versions(self, blob: str) -> Mapping[str, tuple[str, ...]] | None:
        """Return the versions by distribution in the lock file with the object name *blob*; ``None`` if it cannot be read."""
        if blob not in self._read:
            self._read[blob] = None if set(blob) == {"0"} else self._versions(blob)
        return self._read[blob]

    def _versions(self, blob: str) -> Mapping[str, tuple[str, ...]] | None:
        place = self._store.entry(VERSIONS_AREA, key_of(_FORMAT, self._lock_file.kind, blob), ".json")
        known = self._store.read_document(place, _parsed)
        if known is None:
            done = run_git(["cat-file", "blob", blob], directory=self._lock_file.path.parent)
            try:
                known = list_versions(self._lock_file.kind, done.output)
            except (ValueError, RecursionError):
                # A commit may have a broken lock file, such as one with the marks of a conflict.
                return None
            self._store.write_document(place, known)
        return known


def _parsed(content: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {str(name): tuple(str(version) for version in versions) for name, versions in content.items()}


def _git(directory: Path, *arguments: str) -> list[str] | None:
    """Return the lines that ``git`` prints with *arguments*, or ``None`` if it fails, such as outside of repositories."""
    try:
        done = run_git(arguments, directory=directory)
    except StartError:
        return None
    return None if done.code else os.fsdecode(done.output).splitlines()
