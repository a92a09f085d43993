"""
Unpack layers and function packages into directories that are made once per content and then only read.

Archives are hostile here too, whoever checked them before: nothing is written outside the new directory, no link is made, and no more
is inflated than Lambda takes.
"""

from __future__ import annotations

import calendar
import hashlib
import os
import shutil
import stat
import tempfile
import time
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lamina.core.errors import (
    CorruptArchiveError,
    DuplicateMemberError,
    HashMismatchError,
    SuspiciousSizeError,
    UnsafeMemberError,
)
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.core.values import Layer, Package

_CHUNK = 1 << 20
# A tree that nobody has used for so long is removed when another is made.
_UNUSED_SECONDS = 14 * 86_400


def unpack(archives: Sequence[Layer | Package], cache: Path) -> Path:
    """
    Return a directory inside *cache* that holds *archives*, later ones over earlier ones as Lambda lays layers onto ``/opt``.

    The directory is named by the archives' hashes, and made only if it is not there. Files are read-only and carry the
    time that the archive gives them, read as UTC.

    Raises HashMismatchError if an archive is not what the build recorded, ArchiveError if it is unsafe or broken.
    """
    key = hashlib.sha256("\n".join(str(archive.sha256) for archive in archives).encode()).hexdigest()
    tree = cache / key
    if not tree.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        remove_unused(cache)
        with making(tree) as temporary:
            for archive in archives:
                _extract(archive, temporary)
    with suppress(OSError):
        (cache / f"{key}.used").touch()
    return tree


@contextmanager
def making(directory: Path) -> Iterator[Path]:
    """Give an empty directory that becomes *directory* on normal exit, unless another process has made the same meanwhile."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix=".making-"))
    try:
        yield temporary
        temporary.chmod(0o755)
        try:
            temporary.rename(directory)
        except OSError:
            if not directory.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_unused(cache: Path) -> None:
    """Remove the directories in *cache*, finished or not, that were not used for two weeks."""
    oldest = time.time() - _UNUSED_SECONDS
    for entry in cache.iterdir():
        mark = cache / f"{entry.name}.used"
        with suppress(OSError):
            if entry.is_dir() and (mark if mark.exists() else entry).stat().st_mtime < oldest:
                shutil.rmtree(entry, ignore_errors=True)
                mark.unlink(missing_ok=True)


def _extract(archive: Layer | Package, directory: Path) -> None:
    with archive.path.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
        if actual != archive.sha256:
            raise HashMismatchError(filename=archive.path.name, expected=str(archive.sha256), actual=actual)
        try:
            with zipfile.ZipFile(stream) as opened:
                for member, parts in _members(opened, archive.path.name):
                    _write(opened, member, directory.joinpath(*parts), archive.path.name)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise CorruptArchiveError(f"`{archive.path.name}` cannot be unpacked: {error}") from error


def _members(opened: zipfile.ZipFile, name: str) -> Iterator[tuple[zipfile.ZipInfo, tuple[str, ...]]]:
    """List the files of an archive with the parts of their paths; refuses what leads outside, or is no file."""
    limit = quotas().unzipped_bytes
    rows = opened.infolist()
    if sum(member.file_size for member in rows) > limit:
        raise SuspiciousSizeError(f"`{name}` unpacks to more than the {limit} bytes that Lambda takes")
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
            raise UnsafeMemberError(f"`{name}` holds `{member.orig_filename}`, which is no file inside the archive")
        if member.is_dir():
            continue
        if path.parts in seen:
            raise DuplicateMemberError(f"`{name}` holds `{member.filename}` twice")
        seen.add(path.parts)
        yield member, path.parts


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, destination: Path, name: str) -> None:
    """Write one member, over that of an earlier archive; `destination` has only real directories above it, all made here."""
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.unlink(missing_ok=True)
        descriptor = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise CorruptArchiveError(f"`{name}` has `{member.filename}` where a directory and a file meet") from error
    with os.fdopen(descriptor, "wb") as target, opened.open(member) as source:
        remaining = member.file_size
        while piece := source.read(_CHUNK):
            remaining -= len(piece)
            if remaining < 0:
                raise SuspiciousSizeError(f"`{name}` holds `{member.filename}`, which is larger than it says")
            target.write(piece)
    executable = member.external_attr >> 16 & 0o111
    destination.chmod(0o555 if executable else 0o444)
    moment = calendar.timegm((*member.date_time, 0, 0, 0))
    os.utime(destination, (moment, moment))
