"""
Measure, verify and clean the store. These operations are slow, because they visit every file.

All files in the store are copies or derived data. The next build downloads or creates deleted files again.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.archive import segment
from lamina.archive.zip.directory import read_directory
from lamina.archive.zip.zipformat import directory_row, end_of_directory
from lamina.bytecode.interpreter import CACHE as INTERPRETERS
from lamina.core import documents
from lamina.core.errors import LaminaError
from lamina.core.files import file_sha256, own_directory, remove_empty_directory
from lamina.core.reporter import SILENT
from lamina.core.store import is_hexadecimal, place_of
from lamina.project.pinned import EXTERNAL_AREA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store

_WHEELS = "wheels"
_PARTIAL = "partial"
# Files of running processes. They are not content, and the store itself cleans them up.
_HOUSEKEEPING = frozenset({"tmp", "locks"})
# uv's cache. Only uv can tell which of its files belong together, so lamina keeps or deletes it as a whole.
_FOREIGN = "uv"
# Files of programs that lamina installed.
_SANDBOX = "sandbox"
# Only files have names that end like this.
_FILES = frozenset({".json", ".pack", ".seg", ".zip"})
# The beginning of the name of a download whose hash is not known.
_BY_URL = "url-"
# A file's key is the hexadecimal digits of a SHA-256. Its first two are the name of its directory.
_KEY_DIGITS = 64
_GROUP_DIGITS = 2
_DAY_SECONDS = 86_400
_SEGMENTS = frozenset({".seg", ".pack"})
_DOCUMENT = re.compile(r"[0-9a-f]{64}\.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Area:
    """The file count and size of one area, a top-level directory of the store."""

    name: str
    files: int
    bytes: int
    """The sum of the file sizes, in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """A damaged file that has been deleted from the store."""

    path: Path
    """The file's path, relative to the store."""
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """The number and size of the files that `clean` deleted, or would delete in a dry run."""

    files: int
    bytes: int
    dry_run: bool


def measure(store: Store) -> tuple[Area, ...]:
    """Return the file count and size of each area of *store*, sorted by name."""
    totals: dict[str, list[int]] = {}
    for path in (*_files(store), *_foreign_files(store)):
        total = totals.setdefault(path.relative_to(store.root).parts[0], [0, 0])
        total[0] += 1
        total[1] += path.lstat().st_size
    return tuple(Area(name=name, files=files, bytes=size) for name, (files, size) in sorted(totals.items()))


def verify(store: Store, *, reporter: Reporter = SILENT) -> tuple[Damage, ...]:
    """
    Check every wheel, pinned layer, segment and JSON file in *store*, delete the damaged ones, and return them.

    The SHA-256 of a wheel, and of the zip of a pinned layer, must match the one in its path. A segment's CRC-32 and central directory must match its entries. A JSON file
    must be the document that lamina wrote to its path. Files that another version of lamina wrote in another format are unused, not damaged.
    Unfinished downloads are skipped, because resuming a download checks its hash; so is uv's cache. The files' access and
    modification times are preserved.
    """
    paths = [path for path in _files(store) if path.relative_to(store.root).parts[0] != _PARTIAL]
    paths += [path for path in (store.root / INTERPRETERS,) if os.path.lexists(path)]
    reporter.stage("verifying the store", total=len(paths))
    damages = []
    for path in paths:
        try:
            reason = complaint(path, path.relative_to(store.root).parts[0])
        except FileNotFoundError:
            reason = None
        if reason is not None:
            damages.append(Damage(path=path.relative_to(store.root), reason=reason))
        reporter.advance(1)
    if damages:
        with store.alone(lambda: reporter.note("waiting until no other lamina process uses the store")):
            for damage in damages:
                _remove(store.root / damage.path, store)
    return tuple(damages)


def clean(
    store: Store, *, older_than_days: float | None = None, dry_run: bool = False, reporter: Reporter = SILENT
) -> Removed:
    """
    Delete the files that were not read or written for *older_than_days*, and return their number and size.

    Without *older_than_days*, delete all files, including uv's cache. With *dry_run*, only count the files. Wait until no
    other process uses the store.
    """
    limit = None if older_than_days is None else time.time() - older_than_days * _DAY_SECONDS
    files = size = 0
    with store.alone(lambda: reporter.note("waiting until no other lamina process uses the store")):
        if not dry_run:
            store.sweep()
        if limit is None:
            for path in _foreign_files(store):
                files += 1
                size += path.lstat().st_size
            if not dry_run:
                shutil.rmtree(own_directory(store.root, _FOREIGN, create=False), ignore_errors=True)
        for path in _files(store):
            status = path.lstat()
            # File systems that do not record access times report the modification time.
            if limit is None or max(status.st_atime, status.st_mtime) < limit:
                files += 1
                size += status.st_size
                if not dry_run:
                    _remove(path, store)
    return Removed(files=files, bytes=size, dry_run=dry_run)


def _files(store: Store) -> Iterator[Path]:
    """
    Yield the files that lamina created in all areas except uv's cache, sorted by area and path.

    Other files are left alone: the store may be in a directory of the user with files of the user. Raises `ForeignFileError` for a link in
    place of a directory.
    """
    try:
        areas = sorted(path for path in store.root.iterdir() if path.is_symlink() or path.is_dir())
    except FileNotFoundError:
        return
    for area in areas:
        own_directory(store.root, area.name)
        for path in _entries(area, store):
            yield from _below(path)


def _entries(area: Path, store: Store) -> list[Path]:
    """Return the files and directories in *area* that have names as lamina gives them."""
    if area.name in _HOUSEKEEPING | {_FOREIGN}:
        return []
    if area.name == _PARTIAL:
        return [path for path in _listed(area, store) if _is_key(path.name.removeprefix(_BY_URL))]
    if area.name == _SANDBOX:
        return [path for path in _listed(area, store) if is_hexadecimal(path.name)]
    groups = [path for path in _listed(area, store) if len(path.name) == _GROUP_DIGITS and is_hexadecimal(path.name)]
    return [
        path
        for group in groups
        for path in _listed(group, store)
        if path.name.startswith(group.name) and _is_key(path.name[:_KEY_DIGITS])
    ]


def _listed(directory: Path, store: Store) -> list[Path]:
    """Return the entries of *directory*, sorted. Raises `ForeignFileError` if it is a link."""
    own_directory(store.root, str(directory.relative_to(store.root)))
    return sorted(directory.iterdir())


def _below(path: Path) -> Iterator[Path]:
    """Yield *path*, or the files and links in it and its subdirectories if it is a directory and not in place of a file."""
    if path.suffix in _FILES or path.is_symlink() or not path.is_dir():
        yield path
        return
    for directory, directories, names in os.walk(path):
        directories.sort()
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]
        for name in sorted((*names, *links)):
            yield Path(directory, name)


def _is_key(text: str) -> bool:
    return len(text) == _KEY_DIGITS and is_hexadecimal(text)


def _foreign_files(store: Store) -> Iterator[Path]:
    """Yield the files of uv's cache, without symbolic links."""
    for directory, _, names in os.walk(own_directory(store.root, _FOREIGN, create=False)):
        for name in names:
            path = Path(directory, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _remove(path: Path, store: Store) -> None:
    """Delete *path*, whose links are not followed, and each parent directory that becomes empty."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    for directory in path.parents:
        # Another process may create a file here at any time, so let the system decide whether the directory is empty.
        if directory == store.root or not remove_empty_directory(directory):
            break


def complaint(path: Path, area: str) -> str | None:
    """Return how the file at *path* is damaged, or ``None`` if it is intact. Preserve its access and modification times."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return None if area == _SANDBOX else "it is not a regular file"
    try:
        if area == _WHEELS:
            return _hash_complaint(path, path.parent.name)
        if area == EXTERNAL_AREA:
            return _hash_complaint(path, path.stem)
        if area != _SANDBOX and (area == INTERPRETERS or path.suffix in _SEGMENTS or _DOCUMENT.fullmatch(path.name)):
            content = path.read_bytes()
            # The list of interpreters has the format in its name.
            is_other = area != INTERPRETERS and has_other_format(content, path)
            return None if is_other else content_complaint(content, path)
    finally:
        # A store that is read-only or belongs to another user keeps the times that the system sets.
        with suppress(OSError):
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return None


def has_other_format(content: bytes, path: Path) -> bool:
    """Return whether another version of lamina wrote *content* to *path* of a store, in another format: nothing uses it here."""
    return segment.has_other_format(content) if path.suffix in _SEGMENTS else documents.has_other_format(content)


def content_complaint(content: bytes, path: Path) -> str | None:
    """Return how *content*, that of the segment or the JSON file *path* of a store, is damaged, or ``None`` if it is intact."""
    if path.suffix not in _SEGMENTS:
        label = INTERPRETERS if path.name == INTERPRETERS else place_of(path)
        return None if documents.is_sealed(content, label) else "its content does not match its checksum"
    try:
        return _segment_complaint(content, path)
    except (LaminaError, ValueError, KeyError, TypeError) as error:
        return f"unreadable: {error}"


def _hash_complaint(path: Path, expected: str) -> str | None:
    actual = file_sha256(path)
    return None if actual == expected else f"its SHA-256 is {actual}, expected {expected}"


def _segment_complaint(content: bytes, path: Path) -> str | None:
    found = segment.parse_segment(content, len(content), path)
    entries = content[: found.entries_bytes]
    if zlib.crc32(entries) != found.crc32:
        return "its entries do not match its CRC-32"
    return None if _rows(entries, found) == found.directory else "its central directory does not match its entries"


def _rows(entries: bytes, found: segment.Segment) -> bytes:
    """
    Return the central directory that *entries*, the entries of *found*, should have.

    Raises an ArchiveError if the central directory of *found* does not fit the entries.
    """
    end = end_of_directory(rows=found.rows, directory_bytes=found.rows_bytes, directory_offset=found.entries_bytes)
    located = read_directory(memoryview(entries + found.directory + end), name=found.path.name)
    return b"".join(directory_row(each.member, _header(each.start, each.member.path)) for each in located)


def _header(start: int, path: str) -> int:
    """Return the offset of the local header before the payload at *start*. It is 30 bytes long, plus the name *path*."""
    return start - 30 - len(path.encode())
