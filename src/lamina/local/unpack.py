"""
Unpack layers and function packages into directories of read-only files, one directory for each combination of archives.

Archives are treated as untrusted, although earlier steps have checked them. Nothing is written outside the new directory, no links are
created, and an archive that unpacks to more than Lambda's size limit is rejected.
"""

from __future__ import annotations

import calendar
import hashlib
import os
import shutil
import stat
import time
import zipfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from lamina.core.errors import (
    CorruptArchiveError,
    DamagedOutputError,
    DuplicateMemberError,
    SuspiciousSizeError,
    UnsafeMemberError,
)
from lamina.core.files import naming, open_own_file, own_directory, remove_file
from lamina.core.target import quotas
from lamina.core.temporary import temporary_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

_CHUNK = 1 << 20
# A directory that has not been used for this long is deleted when another one is created.
_UNUSED_SECONDS = 14 * 86_400


class Archive(Protocol):
    """A zip on disk whose content is known: a `Layer`, a `Package`, or the zip of a pinned layer by ARN."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def sha256(self) -> str | None:
        """The SHA-256 that the file must have, in lower-case hexadecimal."""


def unpack(archives: Sequence[Archive], cache: Path) -> Path:
    """
    Unpack *archives* in order into one directory inside *cache*, and return the directory.

    Files of later archives replace those of earlier ones, as Lambda merges layers into ``/opt``. The directory's name is derived from
    the archives' hashes; an existing directory is reused. Files are read-only and have the archive's modification time, read as UTC.

    Raises `DamagedOutputError` if an archive differs from the one that the build recorded, and `ArchiveError` if an archive is unsafe,
    corrupt or larger than Lambda's limit.
    """
    key = hashlib.sha256("\n".join(str(archive.sha256) for archive in archives).encode()).hexdigest()
    tree = cache / key
    if not is_own_directory(tree):
        remove_unused(cache)
        with making(tree) as temporary:
            for archive in archives:
                _extract(archive, temporary)
    _mark_used(cache / f"{key}.used")
    return tree


def is_own_directory(directory: Path) -> bool:
    """Return whether *directory* exists. Raises `ForeignFileError` if it is a link or a file, and creates its parents otherwise."""
    own_directory(directory.parent)
    own_directory(directory.parent, directory.name, create=False)
    return directory.is_dir()


def _mark_used(mark: Path) -> None:
    """Set the time at which a directory was used last, as far as this machine allows it: without, the directory is unpacked again some day."""
    with suppress(OSError):
        os.close(open_own_file(mark))
        os.utime(mark)


@contextmanager
def making(directory: Path) -> Iterator[Path]:
    """
    Provide an empty directory and rename it to *directory* on normal exit.

    If another process has created *directory* in the meantime, its directory is kept and the new one is deleted. On an exception, the new
    directory is deleted, too.
    """
    own_directory(directory.parent)
    with temporary_directory("making", parent=directory.parent) as temporary:
        yield temporary
        temporary.chmod(0o755)
        try:
            temporary.rename(directory)
        except OSError:
            if not directory.is_dir():
                raise


def remove_unused(cache: Path) -> None:
    """Delete the directories in *cache* that have not been used for two weeks, including those that were never completed."""
    oldest = time.time() - _UNUSED_SECONDS
    for entry in cache.iterdir():
        mark = cache / f"{entry.name}.used"
        with suppress(OSError):
            if (
                not entry.is_symlink()
                and entry.is_dir()
                and (mark if mark.exists() else entry).stat().st_mtime < oldest
            ):
                shutil.rmtree(entry, ignore_errors=True)
                for beside in cache.glob(f"{entry.name}.*"):
                    remove_file(beside)


def _extract(archive: Archive, directory: Path) -> None:
    with archive.path.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
        if actual != archive.sha256:
            raise DamagedOutputError(archive.path, f"the build recorded the SHA-256 {archive.sha256}, got {actual}")
        unzip(stream, directory, name=archive.path.name)


def unzip(stream: BinaryIO, directory: Path, *, name: str) -> None:
    """
    Unpack the zip in *stream* into *directory*, whose parents are real directories. *name* is its file name, for messages.

    Raises `ArchiveError` if the zip is unsafe, corrupt or larger than Lambda's limit.
    """
    try:
        with zipfile.ZipFile(stream) as opened:
            for member, parts in _members(opened, name):
                _write(opened, member, directory.joinpath(*parts), name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise CorruptArchiveError(f"failed to unpack `{name}`: {error}") from error


def _members(opened: zipfile.ZipFile, name: str) -> Iterator[tuple[zipfile.ZipInfo, tuple[str, ...]]]:
    """
    Yield the regular files of an archive with the components of their paths.

    Raises `ArchiveError` if a path leads outside the archive or occurs twice, if an entry is a link or a device, or if the unpacked files
    exceed Lambda's size limit.
    """
    limit = quotas().unzipped_bytes
    rows = opened.infolist()
    if sum(member.file_size for member in rows) > limit:
        raise SuspiciousSizeError(f"`{name}` unpacks to more than Lambda's limit of {limit:,} bytes")
    seen: set[tuple[str, ...]] = set()
    for member in rows:
        path = PurePosixPath(member.filename)
        kind = stat.S_IFMT(member.external_attr >> 16)
        unsafe = (
            path.is_absolute()
            or not path.parts
            or ".." in path.parts
            or any(character in member.orig_filename for character in "\\\0")
            or kind not in {0, stat.S_IFREG, stat.S_IFDIR}
        )
        if unsafe:
            raise UnsafeMemberError(f"`{name}` contains the unsafe entry `{member.orig_filename}`")
        if member.is_dir():
            continue
        if path.parts in seen:
            raise DuplicateMemberError(f"`{name}` contains `{member.filename}` twice")
        seen.add(path.parts)
        yield member, path.parts


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, destination: Path, name: str) -> None:
    """
    Write one entry to *destination*, replacing a file of an earlier archive.

    The parents of *destination* are real directories that this module created, never links. Raises `ArchiveError` if one entry is a file
    where another is a directory, or if the entry is larger than its declared size.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.unlink(missing_ok=True)
        descriptor = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except OSError as error:
        # macOS reports a directory in place of a file as a missing permission.
        if not (isinstance(error, (FileExistsError, NotADirectoryError)) or destination.is_dir()):
            raise
        raise CorruptArchiveError(
            f"`{member.filename}` in `{name}` conflicts with another entry: one is a file, the other a directory"
        ) from error
    with naming(destination), os.fdopen(descriptor, "wb") as target, opened.open(member) as source:
        remaining = member.file_size
        while piece := source.read(_CHUNK):
            remaining -= len(piece)
            if remaining < 0:
                raise SuspiciousSizeError(
                    f"`{member.filename}` in `{name}` unpacks to more than its declared size of {member.file_size:,} bytes"
                )
            target.write(piece)
    executable = member.external_attr >> 16 & 0o111
    destination.chmod(0o555 if executable else 0o444)
    moment = calendar.timegm((*member.date_time, 0, 0, 0))
    os.utime(destination, (moment, moment))
