"""
Unpack source distributions, whose content is not trusted although their hash is locked.

Nothing is written outside the new directory, and an archive that unpacks to more than a limit is rejected before it is unpacked that far.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING, cast

from lamina.core.errors import (
    CorruptArchiveError,
    LaminaError,
    LocalBuildError,
    SuspiciousSizeError,
    UnsafeMemberError,
    UnsupportedMemberError,
)
from lamina.core.faults import exhausted
from lamina.core.files import name_file
from lamina.core.paths import check_path, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO, BinaryIO

# Four times what Lambda accepts as a function with its layers; sources include tests and documentation.
_MOST_BYTES = 1 << 30
_MOST_MEMBERS = 200_000
# Headers are read whole, and the longest path that Linux allows has 4 KiB.
_MOST_READ_BYTES = 1 << 20
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_MAGIC = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))


def extract(archive: Path, place: Path, *, name: str) -> None:
    """
    Unpack the source distribution *archive*, a tar file or a zip, into the directory *place*. *name* is its file name, for messages.

    Raises `ArchiveError` if the archive is damaged, encrypted, larger than the limits, or has members that could be written elsewhere.
    Raises `LocalBuildError` if its files cannot be written.
    """
    try:
        with archive.open("rb") as stream:
            start = stream.read(6)
        if start.startswith(b"PK"):
            _extract_zip(archive, place, name)
        else:
            _extract_tar(archive, place, name, start)
    except LaminaError:
        raise
    except tarfile.FilterError as error:
        raise UnsafeMemberError(f"`{name}` has an unsafe member: {printable(str(error))}") from error
    # zipfile and tarfile raise the other errors for archives that are invalid in unusual ways.
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        ValueError,
        LookupError,
    ) as error:
        raise _damaged(name, error) from error
    except OSError as error:
        if error.errno is None:  # gzip and bz2 report damage like this
            raise _damaged(name, error) from error
        name_file(error, place)
        raise exhausted(error) or LocalBuildError(f"cannot unpack `{name}`: {error.strerror}") from error


def _damaged(name: str, error: Exception) -> CorruptArchiveError:
    return CorruptArchiveError(
        f"`{name}` is not a complete tar file or zip: {printable(str(error))}",
        hint="its hash is the locked one, so the published file is damaged: require another version, and regenerate the lock",
    )


def _extract_zip(archive: Path, place: Path, name: str) -> None:
    with zipfile.ZipFile(archive) as file:
        total = _Total(name)
        for member in file.infolist():
            total.add(member.file_size)
            check_path(member.filename.rstrip("/"))
            if member.flag_bits & _ENCRYPTED:
                raise UnsupportedMemberError(f"`{name}` is encrypted")
            if member.compress_type not in _METHODS:
                raise UnsupportedMemberError(f"`{name}` uses zip compression method {member.compress_type}")
        # `zipfile` creates no links.
        file.extractall(place)  # noqa: S202 - the paths were checked


def _extract_tar(archive: Path, place: Path, name: str, start: bytes) -> None:
    opened = next((opened for magic, opened in _MAGIC if start.startswith(magic)), open)
    with (
        cast("BinaryIO", opened(archive, "rb")) as stream,
        tarfile.TarFile(fileobj=cast("IO[bytes]", _Bounded(stream, name))) as file,
    ):
        file.extractall(place, members=_checked(file, name), filter="data")


class _Bounded:
    """A stream for `tarfile` that refuses to read much at once: a header of any length would be read into memory."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self.tell = stream.tell
        self.seek = stream.seek

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_READ_BYTES:
            raise SuspiciousSizeError(f"`{self._name}` has a header of {size:,} bytes")
        return self._stream.read(size)


def _checked(file: tarfile.TarFile, name: str) -> Iterator[tarfile.TarInfo]:
    """Yield the members of *file*, each after checking it: `tarfile` reads a member only when the previous one is unpacked."""
    total = _Total(name)
    links: set[str] = set()
    for member in file:
        total.add(member.size)
        path = posixpath.normpath(member.name)
        targets = (
            {posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))} if member.issym() else set()
        )
        for each in {path, *targets} - {"."}:
            check_path(each)
            # Older versions of Python follow a link whose path becomes too long to resolve (CVE-2025-4517).
            if any(each.startswith(f"{link}/") for link in links):
                raise UnsafeMemberError(f"`{name}` has a member below a link: `{printable(path)}`")
        if member.issym():
            links.add(path)
        yield member


class _Total:
    """The number and size of an archive's members."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._members = self._bytes = 0

    def add(self, size: int) -> None:
        """Count a member of *size* bytes. Raises `SuspiciousSizeError` if the archive exceeds a limit."""
        self._members += 1
        self._bytes += size
        if self._bytes > _MOST_BYTES or self._members > _MOST_MEMBERS:
            raise SuspiciousSizeError(
                f"`{self._name}` unpacks to more than {_MOST_BYTES:,} bytes or {_MOST_MEMBERS:,} files",
                hint="require a version that has a wheel, and regenerate the lock",
            )
