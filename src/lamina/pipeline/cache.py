"""
Measure, verify and clean the store. Slow by nature: it looks at every file.

What is removed here is only ever a copy or a derivative; the next build makes it again.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.archive.segment import Segment, read_segment
from lamina.archive.zip.copying import read_at
from lamina.archive.zip.directory import read_directory
from lamina.archive.zip.zipformat import directory_row, end_of_directory
from lamina.core.errors import LaminaError
from lamina.core.files import file_sha256
from lamina.core.reporter import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store

_WHEELS = "wheels"
_PARTIAL = "partial"
# What belongs to processes that may be alive: not content, and cleaned up by the store itself.
_HOUSEKEEPING = frozenset({"tmp", "locks"})
# The cache of another program, which knows what belongs together in it: kept or removed as a whole.
_FOREIGN = "uv"
_DAY_SECONDS = 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class Area:
    """How much one part of the store holds."""

    name: str
    files: int
    bytes: int
    """Sum of the files' sizes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """One file that is not what its place in the store says, and has been removed."""

    path: Path
    """Relative to the store."""
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """What cleaning took away, or would."""

    files: int
    bytes: int
    dry_run: bool


def measure(store: Store) -> tuple[Area, ...]:
    """Return what each area of *store* holds, sorted by name."""
    totals: dict[str, list[int]] = {}
    for path in (*_files(store), *_foreign_files(store)):
        total = totals.setdefault(path.relative_to(store.root).parts[0], [0, 0])
        total[0] += 1
        total[1] += path.stat().st_size
    return tuple(Area(name=name, files=files, bytes=size) for name, (files, size) in sorted(totals.items()))


def verify(store: Store, *, reporter: Reporter = SILENT) -> tuple[Damage, ...]:
    """
    Read every wheel, segment and answer in *store* again, remove what is damaged, and return what that was.

    Wheels must have the SHA-256 they are kept under; segments the CRC-32 of their entries, and the directory that
    follows from the entries. Unfinished downloads are not looked at: resuming one hashes it anyway.
    """
    paths = [path for path in _files(store) if path.relative_to(store.root).parts[0] != _PARTIAL]
    reporter.stage("Verifying", total=len(paths))
    damages = []
    for path in paths:
        try:
            reason = _complaint(path, path.relative_to(store.root).parts[0])
        except FileNotFoundError:
            reason = None
        if reason is not None:
            damages.append(Damage(path=path.relative_to(store.root), reason=reason))
        reporter.advance(1)
    if damages:
        with store.alone(lambda: reporter.note("waiting for builds that use the store")):
            for damage in damages:
                _remove(store.root / damage.path, store)
    return tuple(damages)


def clean(
    store: Store, *, older_than_days: float | None = None, dry_run: bool = False, reporter: Reporter = SILENT
) -> Removed:
    """
    Remove what has not been read or written for *older_than_days*, or everything; return how much that was.

    Waits for builds that use the store. With *dry_run*, only counts.
    """
    limit = None if older_than_days is None else time.time() - older_than_days * _DAY_SECONDS
    files = size = 0
    with store.alone(lambda: reporter.note("waiting for builds that use the store")):
        if not dry_run:
            store.sweep()
        if limit is None:
            for path in _foreign_files(store):
                files += 1
                size += path.stat().st_size
            if not dry_run:
                shutil.rmtree(store.root / _FOREIGN, ignore_errors=True)
        for path in _files(store):
            status = path.stat()
            # Systems that do not record reading leave the time of writing.
            if limit is None or max(status.st_atime, status.st_mtime) < limit:
                files += 1
                size += status.st_size
                if not dry_run:
                    _remove(path, store)
    return Removed(files=files, bytes=size, dry_run=dry_run)


def _files(store: Store) -> Iterator[Path]:
    """Yield the files of all areas, in a fixed order."""
    try:
        areas = sorted(
            path
            for path in store.root.iterdir()
            if path.is_dir() and path.name not in _HOUSEKEEPING and path.name != _FOREIGN
        )
    except FileNotFoundError:
        return
    for area in areas:
        for directory, directories, names in os.walk(area):
            directories.sort()
            for name in sorted(names):
                yield Path(directory, name)


def _foreign_files(store: Store) -> Iterator[Path]:
    """Yield the files of the other program's cache, but not the links in it."""
    for directory, _, names in os.walk(store.root / _FOREIGN):
        for name in names:
            path = Path(directory, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _remove(path: Path, store: Store) -> None:
    """Remove *path*, and the directories that it leaves empty."""
    path.unlink(missing_ok=True)
    for directory in path.parents:
        # Another process may put something there at any time, so the system decides what is empty.
        if directory == store.root or not _removed_directory(directory):
            break


def _removed_directory(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:
        return False
    return True


def _complaint(path: Path, area: str) -> str | None:
    """Return what is wrong with the file at *path*, leaving its times as they are, or None."""
    status = path.stat()
    try:
        if area == _WHEELS:
            return _wheel_complaint(path)
        if path.suffix in {".seg", ".pack"}:
            return _segment_complaint(path)
        if path.suffix == ".json":
            json.loads(path.read_bytes())
    except (LaminaError, ValueError, KeyError, TypeError) as error:
        return f"it cannot be read: {error}"
    finally:
        if path.exists():
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return None


def _wheel_complaint(path: Path) -> str | None:
    actual = file_sha256(path)
    return None if actual == path.parent.name else f"its sha256 is {actual}"


def _segment_complaint(path: Path) -> str | None:
    segment = read_segment(path)
    if segment is None:
        return None
    with path.open("rb", buffering=0) as file:
        entries = read_at(file, 0, segment.entries_bytes)
    if zlib.crc32(entries) != segment.crc32:
        return "its entries do not have their CRC-32"
    return None if _rows(entries, segment) == segment.directory else "its directory is not that of its entries"


def _rows(entries: bytes, segment: Segment) -> bytes:
    """Return the directory rows that follow from *entries*, which are whole; raises for rows that contradict them."""
    end = end_of_directory(
        rows=segment.rows, directory_bytes=segment.rows_bytes, directory_offset=segment.entries_bytes
    )
    located = read_directory(memoryview(entries + segment.directory + end), name=segment.path.name)
    return b"".join(directory_row(each.member, _header(each.start, each.member.path)) for each in located)


def _header(start: int, path: str) -> int:
    """Return the offset of the local header (30 bytes and the name, without extra field) of a payload at *start*."""
    return start - 30 - len(path.encode())
