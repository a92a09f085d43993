"""
Define the structures of a zip, and write them the same on every machine.

lamina uses only zip features that Lambda is known to support: stored or deflate, "version made by" 2.0 on unix, the date
1980-01-01, mode 0644 or 0755, no data descriptors, no extra fields, no entries for directories, no zip64.
Field layout: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.16 and 4.4 (read 2026-11).
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lamina.core.errors import DuplicateMemberError, SuspiciousSizeError, UnsupportedMemberError
from lamina.core.paths import check_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STORED = 0
DEFLATED = 8

LOCAL_HEADER = struct.Struct("<4s5H3L2H")
"""
The local header: signature, version needed, flags, method, time, date, CRC-32, compressed size, size, and the lengths of
name and extra field.
"""
DIRECTORY_ROW = struct.Struct("<4s6H3L5H2L")
"""
The central directory entry: signature, version made by, version needed, flags, method, time, date, CRC-32, compressed
size, size, lengths of name, extra field and comment, disk, internal and external attributes, offset of the local header.
"""
END = struct.Struct("<4s4H2LH")
"""
The end of central directory record: signature, disk, disk of the central directory, entries on this disk, entries, size
and offset of the central directory, length of the comment.
"""

# The fields that both headers share: flags, method, time, date, CRC-32, compressed size, size, lengths of name and extra field.
_COMMON = struct.Struct("<4H3L2H")
_OFFSET = struct.Struct("<L")
_ROW_END = struct.Struct("<3H2L")
_LOCAL_START = struct.pack("<4sH", b"PK\3\4", 20)
_ROW_START = struct.pack("<4s2H", b"PK\1\2", 3 << 8 | 20, 20)  # made on unix, by version 2.0

_DOS_TIME = 0
_DOS_DATE = 1 << 5 | 1  # 1980-01-01, the earliest date in the format
_UTF8_NAME = 1 << 11
_READABLE = 0o100644 << 16
_EXECUTABLE = 0o100755 << 16

# The maximum value of each field is reserved: it means that the value is in a zip64 record.
MAX_ROWS = 0xFFFE
"""The maximum number of files in a zip without the zip64 extension."""
MAX_BYTES = 0xFFFFFFFE
"""The maximum size in bytes of a member, and of a zip before its end record, without the zip64 extension."""

_TOO_LARGE_HINT = "leave out files: set `exclude` for layers, or narrow `source` for functions"

# Level 6 of libdeflate compresses 0.7 % better than typical wheels, in a third of zlib's time.
# pyproject.toml pins the library's exact version, because another version may produce different bytes.
_CODEC_LEVEL = 6


class Member(NamedTuple):
    """One file of a zip. A tuple, because a layer has thousands of members."""

    path: str
    executable: bool
    method: int
    crc: int
    compressed: int
    """The compressed size in bytes."""
    size: int
    """The uncompressed size in bytes."""


class Row(NamedTuple):
    """A central directory entry of a file, or of a directory if its path ends with a slash."""

    member: Member
    offset: int
    """The offset of the local header in bytes."""
    flags: int
    mode: int
    """The unix file type and permissions, or 0 if they are not set."""
    name: bytes
    """The undecoded path."""
    fields: bytes
    """The raw fields that the local header repeats, from the flags to the length of the name."""

    @property
    def is_directory(self) -> bool:
        """Whether the entry is a directory: its path ends with a slash."""
        return self.name.endswith(b"/")


class EndRecord(NamedTuple):
    """The fields of an end of central directory record that describe the central directory."""

    rows_here: int
    """The number of entries on this disk."""
    rows: int
    length: int
    """The length of the central directory in bytes."""
    offset: int
    """The offset of the central directory in bytes."""


class Entry(NamedTuple):
    """A member to write, with its payload: the bytes that follow its local header."""

    member: Member
    payload: bytes | memoryview


class WrittenZip(NamedTuple):
    """The sizes of a zip that `write_sorted` wrote."""

    zipped_bytes: int
    unzipped_bytes: int
    files: int


class _Writable(Protocol):
    def write(self, data: bytes | memoryview, /) -> object: ...


def headers(member: Member, offset: int) -> tuple[bytes, bytes]:
    """
    Return the local header and the central directory entry of *member*.

    *offset* is the offset of the local header in bytes. Only the central directory entry contains it.
    """
    path, executable, method, crc, compressed, size = member
    name = path.encode()
    flags = 0 if len(name) == len(path) else _UTF8_NAME
    common = _COMMON.pack(flags, method, _DOS_TIME, _DOS_DATE, crc, compressed, size, len(name), 0)
    return (
        _LOCAL_START + common + name,
        _ROW_START + common + _ROW_END.pack(0, 0, 0, _EXECUTABLE if executable else _READABLE, offset) + name,
    )


def directory_row(member: Member, offset: int) -> bytes:
    """Return the central directory entry of *member*. *offset* is the offset of the local header in bytes."""
    return headers(member, offset)[1]


def end_of_directory(*, rows: int, directory_bytes: int, directory_offset: int) -> bytes:
    """
    Return the end of central directory record.

    Raises `UnsupportedMemberError` for more than 65,534 entries, and `SuspiciousSizeError` if members and central directory
    have more than 4,294,967,294 bytes, because both would need zip64.
    """
    if rows > MAX_ROWS:
        raise UnsupportedMemberError(
            f"the archive would contain {rows:,} files; a zip without zip64 supports at most {MAX_ROWS:,}",
            hint=_TOO_LARGE_HINT,
        )
    if directory_offset + directory_bytes > MAX_BYTES:
        raise SuspiciousSizeError(
            f"the archive would have {directory_offset + directory_bytes:,} bytes; "
            f"a zip without zip64 supports at most {MAX_BYTES:,}",
            hint=_TOO_LARGE_HINT,
        )
    return END.pack(b"PK\5\6", 0, 0, rows, rows, directory_bytes, directory_offset, 0)


def rebase(directory: bytes, base: int) -> bytearray:
    """Return the central directory entries in *directory* with *base* added to every offset."""
    rows = bytearray(directory)
    if base == 0:
        return rows
    read_offset, write_offset = _OFFSET.unpack_from, _OFFSET.pack_into
    position, end = 0, len(rows)
    while position < end:
        write_offset(rows, position + 42, read_offset(rows, position + 42)[0] + base)
        position += 46 + rows[position + 28] + (rows[position + 29] << 8)
    return rows


def own_rows(directory: bytes) -> Iterator[tuple[Member, int]]:
    """Parse a central *directory* that lamina wrote, without checks. Yield each member and its local header's offset."""
    position = 0
    while position < len(directory):
        fields = DIRECTORY_ROW.unpack_from(directory, position)
        position += DIRECTORY_ROW.size + fields[10]
        path = directory[position - fields[10] : position].decode()
        yield Member(path, fields[15] == _EXECUTABLE, fields[4], *fields[7:10]), fields[16]


def compress(data: bytes) -> bytes:
    """Compress *data* to a raw deflate stream with libdeflate."""
    import deflate

    return bytes(deflate.deflate_compress(data, _CODEC_LEVEL))


def encode(path: str, data: bytes, *, executable: bool = False) -> Entry:
    """
    Return *data* as a member at *path*, compressed only if that makes it smaller.

    Raises `UnsafeMemberError` for an unsafe path.
    """
    check_path(path)
    payload, method = data, STORED
    if data:
        deflated = compress(data)
        if len(deflated) < len(data):
            payload, method = deflated, DEFLATED
    return Entry(
        member=Member(path, executable, method, zlib.crc32(data), len(payload), len(data)),
        payload=payload,
    )


def write_sorted(stream: _Writable, entries: Iterable[Entry]) -> WrittenZip:
    """
    Write a complete zip of *entries*, sorted by path, to *stream*, and return its sizes.

    Only one entry at a time is in memory. The bytes of the zip depend only on the entries.
    Raises `DuplicateMemberError` for a repeated path and `ValueError` for unsorted entries. Raises the errors of `end_of_directory`.
    """
    position = unzipped = 0
    rows: list[bytes] = []
    previous = ""
    for member, payload in entries:
        if member.path == previous:
            raise DuplicateMemberError(f"the archive would contain `{member.path}` twice")
        if member.path < previous:
            raise ValueError(f"entries are not sorted by path: `{member.path}` follows `{previous}`")
        previous = member.path
        header, row = headers(member, position)
        rows.append(row)
        stream.write(header)
        stream.write(payload)
        position += len(header) + len(payload)
        unzipped += member.size
    directory = b"".join(rows)
    stream.write(directory)
    stream.write(end_of_directory(rows=len(rows), directory_bytes=len(directory), directory_offset=position))
    return WrittenZip(position + len(directory) + END.size, unzipped, len(rows))
