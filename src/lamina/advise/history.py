"""
Read from git how often a service was deployed, and which distributions changed together.

Each commit that changes the distributions in the lock file counts as a deploy with an update, and each other commit that changes the
sources as a deploy with edited code. Where git knows nothing, such as in a shallow clone, the updates are those of each single
distribution.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.core.errors import StartError
from lamina.core.frozen import frozen
from lamina.core.store import key_of
from lamina.core.supervised.git import run_git
from lamina.core.values import DirectorySource
from lamina.lock import formats
from lamina.lock.listing import list_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from lamina.core.store import Store
    from lamina.core.values import SourcePin
    from lamina.lock.types import LockFile
    from lamina.pipeline.context import BuildContext
    from lamina.project.service import Service

VERSIONS_AREA = "versions"
"""The area of the store with the distributions that lock files of earlier commits list."""
MOST_REVISIONS = 50
"""The number of the last changes of the lock file that are read."""
MOST_YEARS = 3
"""The age of the oldest changes that are read. Older ones say little about what changes together today."""
_FORMAT = 2
_YEAR = dt.timedelta(days=365)
_NO_FILE = frozenset("0")


@frozen
class History:
    """The deploys of a year, and the updates of distributions."""

    bumps: tuple[frozenset[str], ...]
    """For each update, the names of the distributions that changed, as far as the lock file has them today."""
    edits_per_year: int | None
    """The commits of the last twelve months that changed sources but not the lock file; ``None`` if git does not know."""
    bumps_per_year: int | None
    """The commits of the last twelve months that changed today's distributions; ``None`` if git does not know."""
    revisions: int
    """The number of changes of the lock file that *bumps* come from; 0 if they are those of each single distribution."""
    unknown: str | None = None
    """Why git does not know the deploys of a year; ``None`` if it does."""


class _Change(NamedTuple):
    """A commit that changed the lock file."""

    time: int
    """Seconds since the epoch."""
    old: str
    """The object name of the lock file before."""
    new: str


def read_history(
    service: Service, context: BuildContext, names: Iterable[str], *, local: Iterable[SourcePin] = (), now: dt.datetime
) -> History:
    """
    Return the history of *service* up to *now*. *names* are the distributions that its layers have today.

    *local* are the local packages in its functions. A revision of the lock file that cannot be read is left out. Raises the errors of
    running git.
    """
    known = frozenset(names)
    single = tuple(frozenset({name}) for name in sorted(known))
    lock_file = formats.find(context.project, service.lock, target=service.target)
    unknown = _unknown(lock_file)
    if unknown is not None:
        return History(bumps=single, edits_per_year=None, bumps_per_year=None, revisions=0, unknown=unknown)
    year = (now - _YEAR).timestamp()
    reader = _VersionReader(lock_file, context.store, offline=context.options.offline)
    bumps: list[frozenset[str]] = []
    recent = 0
    for number, change in enumerate(_changes(lock_file, (now - MOST_YEARS * _YEAR).timestamp())):
        # What is not read counts as an update, but not as one of certain distributions.
        changed = reader.changed(change, known) if number < MOST_REVISIONS else None
        bumps += [changed] if changed else []
        recent += change.time >= year and changed != frozenset()
    places = [each.source.path for each in local if isinstance(each.source, DirectorySource)]
    return History(
        bumps=tuple(bumps) or single,
        edits_per_year=_edits(service, lock_file, places, year),
        bumps_per_year=recent,
        revisions=len(bumps),
    )


def _unknown(lock_file: LockFile) -> str | None:
    """Return why git has no history of *lock_file*, or ``None`` if it has one."""
    lines = _git(lock_file.path.parent, "rev-parse", "--is-shallow-repository", f"HEAD:./{lock_file.path.name}")
    if lines is None:
        return "git has no commit with the lock file"
    return "the clone is shallow; run `git fetch --unshallow`" if lines[0] == "true" else None


def _changes(lock_file: LockFile, since: float) -> list[_Change]:
    """Return the commits after *since* that changed *lock_file*, the newest first, without those that created or deleted it."""
    directory, name = lock_file.path.parent, lock_file.path.name
    lines = _git(directory, *_log("%ct", since), "--raw", "--no-abbrev", "--no-renames", "--", name) or []
    found: list[_Change] = []
    time = 0
    for line in lines:
        if line.startswith(":"):
            old, new = line.split()[2:4]
            if not {*old} <= _NO_FILE and not {*new} <= _NO_FILE:
                found.append(_Change(time, old, new))
        elif line:
            time = int(line)
    return found


def _edits(service: Service, lock_file: LockFile, local: Iterable[Path], since: float) -> int:
    """Return the number of commits after *since* that changed sources of *service* or *local* packages, but not *lock_file*."""
    sources = {entry for each in service.functions for entry in (each.source or service.source)} or set(service.source)
    # Globs of the configuration mean the same to git with its long form of pathspecs.
    paths = [f":(glob){entry}" if "*" in entry else entry for entry in sorted(sources)]
    log = (*_log("%H", since), "--")
    own = {line for place in local for line in _git(place, *log, ".") or []}
    own.update(_git(service.root, *log, *paths) or [])
    return len(own.difference(_git(lock_file.path.parent, *log, lock_file.path.name) or [], [""]))


def _log(form: str, since: float) -> tuple[str, ...]:
    """Return the arguments that list commits after *since*, one line each in the format *form*, whatever the user has configured."""
    return "log", f"--format={form}", f"--since={int(since)}", "--no-show-signature", "--no-follow", "--no-color"


class _VersionReader:
    """Reads which versions the lock file of a commit lists. The store keeps the results."""

    def __init__(self, lock_file: LockFile, store: Store, *, offline: bool) -> None:
        self._lock_file = lock_file
        self._store = store
        # A partial clone downloads a file when it is read.
        self._options = ("-c", "protocol.allow=never") if offline else ()
        self._read: dict[str, Mapping[str, tuple[str, ...]] | None] = {}

    def changed(self, change: _Change, names: Iterable[str]) -> frozenset[str] | None:
        """Return which of *names* have other versions after *change*; ``None`` if one of the two lock files cannot be read."""
        old, new = self._versions(change.old), self._versions(change.new)
        return (
            None if old is None or new is None else frozenset(each for each in names if old.get(each) != new.get(each))
        )

    def _versions(self, blob: str) -> Mapping[str, tuple[str, ...]] | None:
        """Return the versions by distribution in the lock file with the object name *blob*; ``None`` if it cannot be read."""
        if blob not in self._read:
            self._read[blob] = self._listed(blob)
        return self._read[blob]

    def _listed(self, blob: str) -> Mapping[str, tuple[str, ...]] | None:
        place = self._store.entry(VERSIONS_AREA, key_of(_FORMAT, self._lock_file.kind, blob), ".json")
        known = self._store.read_document(place, _parsed)
        if known is None:
            directory = self._lock_file.path.parent
            done = run_git(["cat-file", "blob", blob], directory=directory, options=self._options)
            if done.code:
                # A partial clone may lack the file, and may have it later.
                return None
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
