"""
Find the one central directory of a zip from its last bytes, or refuse the zip.

Readers look for the end record in different ways; an archive for which they would find different ones is refused.
Field layout: PKWARE APPNOTE 6.3.10, sections 4.3.14 to 4.3.16 (read 2026-11).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from lamina.archive.zip.zipformat import DIRECTORY_ROW, END, MAX_ROWS
from lamina.core.errors import CorruptArchiveError, SuspiciousSizeError, UnsupportedMemberError

__all__ = ["TAIL_BYTES", "Span", "locate_directory"]

_FULL_16 = 0xFFFF
_FULL_32 = 0xFFFFFFFF
_MAX_COMMENT = 0xFFFF
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
"""Signature, disk of the zip64 end record, its offset, number of disks."""
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
"""Signature, bytes that follow this field, made by, needed, disk, directory's disk, rows here, rows, bytes, offset."""

TAIL_BYTES = END.size + _MAX_COMMENT + _ZIP64_END.size + _ZIP64_LOCATOR.size
"""The most bytes at the end of an archive that locating its directory needs."""


class Span(NamedTuple):
    """Where the central directory lies in the file, in bytes, and how many rows it has."""

    offset: int
    length: int
    rows: int


def locate_directory(tail: bytes | memoryview, *, total: int, name: str) -> Span:
    """
    Find the central directory from the *tail* of an archive of *total* bytes; *name* is for messages.

    The end record must be the last thing in the file: what follows or precedes an archive could be another one.
    Raises CorruptArchiveError where there is no such end, UnsupportedMemberError for a part of a split zip, and
    SuspiciousSizeError for more rows than a layer can ever hold.
    """
    data = bytes(tail)
    position = data.rfind(b"PK\5\6", max(0, len(data) - END.size - _MAX_COMMENT))
    if position < 0 or len(data) - position < END.size:
        raise CorruptArchiveError(
            f"`{name}` is no zip, or is truncated: it has no end record",
            hint="remove it from the store (lamina cache verify) and build again",
        )
    _, disk, directory_disk, here, rows, length, offset, comment = END.unpack_from(data, position)
    if position + END.size + comment != len(data):
        raise CorruptArchiveError(f"`{name}` has bytes after its end record")
    before = total - len(data)
    end = before + position
    locator = position - _ZIP64_LOCATOR.size
    if locator >= 0 and data[locator : locator + 4] == b"PK\6\7":
        # Some readers always follow the locator, others only where the plain record is full: both must be told the same.
        plain = (here, rows, length, offset)
        here, rows, length, offset, end = _zip64_end(data, locator, before=before, name=name)
        if not _agrees(plain, (here, rows, length, offset)):
            raise CorruptArchiveError(f"`{name}` contradicts itself: its two end records differ")
    elif disk or directory_disk:
        raise UnsupportedMemberError(f"`{name}` is one part of a zip on several disks")
    if here != rows or offset + length != end or length < rows * DIRECTORY_ROW.size:
        raise CorruptArchiveError(
            f"`{name}` contradicts itself: its directory does not end where its end record starts"
        )
    if rows > MAX_ROWS:
        raise SuspiciousSizeError(f"`{name}` names {rows:,} files, and a layer can hold {MAX_ROWS:,}")
    return Span(offset, length, rows)


def _zip64_end(data: bytes, locator: int, *, before: int, name: str) -> tuple[int, int, int, int, int]:
    _, _, absolute, _ = _ZIP64_LOCATOR.unpack_from(data, locator)
    # Readers that do not believe the locator look right before it, so no data may stand between the two.
    start = locator - _ZIP64_END.size
    if start < 0 or absolute != before + start or data[start : start + 4] != b"PK\6\6":
        raise CorruptArchiveError(f"`{name}` announces a zip64 directory and has none")
    _, following, _, _, _, _, here, rows, length, offset = _ZIP64_END.unpack_from(data, start)
    if following != _ZIP64_END.size - 12:
        raise CorruptArchiveError(f"`{name}` announces a zip64 directory and has none")
    return here, rows, length, offset, before + start


def _agrees(plain: tuple[int, ...], extended: tuple[int, ...]) -> bool:
    full = (_FULL_16, _FULL_16, _FULL_32, _FULL_32)
    return all(short in (value, most) for short, value, most in zip(plain, extended, full, strict=True))
