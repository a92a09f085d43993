"""
The structures of a zip, how lamina writes them, and the one codec for members that no wheel holds.

Only what Lambda is known to accept is ever written: stored or deflate, "version made by" 2.0 on unix, 1980-01-01,
0644 or 0755, no data descriptors, no extra fields, no directory entries, no zip64.
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
"""Signature, version needed, flags, method, time, date, CRC-32, compressed, size, name length, extra length."""
DIRECTORY_ROW = struct.Struct("<4s6H3L5H2L")
"""Signature, made by, needed, flags, method, time, date, CRC-32, compressed, size, name, extra and comment
lengths, disk, internal attributes, external attributes, offset of the local header."""
END = struct.Struct("<4s4H2LH")
"""Signature, disk, directory's disk, rows here, rows, directory bytes, directory offset, comment length."""

# What both headers share, in the same order: flags, method, time, date, CRC-32, compressed, size, name and extra lengths.
_COMMON = struct.Struct("<4H3L2H")
_OFFSET = struct.Struct("<L")
_ROW_END = struct.Struct("<3H2L")
_LOCAL_START = struct.pack("<4sH", b"PK\3\4", 20)
_ROW_START = struct.pack("<4s2H", b"PK\1\2", 3 << 8 | 20, 20)  # made on unix, by version 2.0

_DOS_TIME = 0
_DOS_DATE = 1 << 5 | 1  # 1980-01-01, the first day that the format can express
_UTF8_NAME = 1 << 11
_READABLE = 0o100644 << 16
_EXECUTABLE = 0o100755 << 16

# The highest value of each field means "see the zip64 record", whether there is one or not.
MAX_ROWS = 0xFFFE
"""The most files that an archive without the zip64 extension holds."""
MAX_BYTES = 0xFFFFFFFE
"""The most bytes of a member, and of an archive before its end record, without the zip64 extension."""

# Level 6 of libdeflate is 0.7 % smaller than what wheels carry, at a third of zlib's time.
# The library's version is pinned exactly in pyproject.toml: another one may give other bytes.
_CODEC_LEVEL = 6


class Member(NamedTuple):
    """One file of an archive, as its directory describes it; a tuple, because a layer has thousands."""

    path: str
    executable: bool
    method: int
    crc: int
    compressed: int
    """Bytes in the archive."""
    size: int
    """Bytes on disk."""


class Row(NamedTuple):
    """A row of the central directory: of a file, or of a directory, whose path ends with a slash."""

    member: Member
    offset: int
    """Where its local header starts, in bytes."""
    flags: int
    mode: int
    """As unix has it: kind of file and permissions; 0 where the writer does not say."""
    name: bytes
    """The path, unchanged from the archive."""
    fields: bytes
    """The raw fields that its local header repeats, from the flags to the length of the name."""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory: its path ends with a slash."""
        return self.name.endswith(b"/")


class EndRecord(NamedTuple):
    """What an end of central directory record says of the directory."""

    rows_here: int
    """On this disk."""
    rows: int
    length: int
    """In bytes."""
    offset: int
    """Where the directory starts, in bytes."""


class Entry(NamedTuple):
    """A member to write, and its payload: the bytes that follow its local header."""

    member: Member
    payload: bytes | memoryview


class WrittenZip(NamedTuple):
    """The sizes of an archive that was written."""

    zipped_bytes: int
    unzipped_bytes: int
    files: int


class _Writable(Protocol):
    def write(self, data: bytes | memoryview, /) -> object: ...


def headers(member: Member, offset: int) -> tuple[bytes, bytes]:
    """
    Return *member*'s local header, which does not know its own position, and its row of the central directory.

    *offset* is where the local header starts, in bytes.
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
    """Return *member*'s row of the central directory; *offset* is where its local header starts, in bytes."""
    return headers(member, offset)[1]


def end_of_directory(*, rows: int, directory_bytes: int, directory_offset: int) -> bytes:
    """
    Return the record that ends an archive.

    Raises UnsupportedMemberError for more than 65,534 rows and SuspiciousSizeError for 4 GiB: both would need zip64,
    which is never written.
    """
    if rows > MAX_ROWS:
        raise UnsupportedMemberError(
            f"The archive would hold {rows:,} files, and a zip without the zip64 extension holds {MAX_ROWS:,}",
            hint="leave files out with `exclude`, or split the layer",
        )
    if directory_offset + directory_bytes > MAX_BYTES:
        raise SuspiciousSizeError(
            f"The archive would be {directory_offset + directory_bytes:,} bytes, "
            f"and a zip without the zip64 extension ends at {MAX_BYTES:,}",
        )
    return END.pack(b"PK\5\6", 0, 0, rows, rows, directory_bytes, directory_offset, 0)


def rebase(directory: bytes, base: int) -> bytearray:
    """Return the rows of *directory* as they read when all entries are *base* bytes further on."""
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
    """Yield each member, and where its local header starts, from a *directory* that lamina wrote; nothing is checked."""
    position = 0
    while position < len(directory):
        fields = DIRECTORY_ROW.unpack_from(directory, position)
        position += DIRECTORY_ROW.size + fields[10]
        path = directory[position - fields[10] : position].decode()
        yield Member(path, fields[15] == _EXECUTABLE, fields[4], *fields[7:10]), fields[16]


def compress(data: bytes) -> bytes:
    """Return *data* as a raw deflate stream from the one pinned codec."""
    import deflate

    return bytes(deflate.deflate_compress(data, _CODEC_LEVEL))


def encode(path: str, data: bytes, *, executable: bool = False) -> Entry:
    """
    Return *data* as a member at *path*: deflated, or stored where that is not larger.

    Raises UnsafeMemberError for a path that leaves the archive.
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
    Write a whole archive of *entries*, which come sorted by path, to *stream*; return its sizes.

    One of them is in memory at a time, and the result depends on them and on nothing else.
    Raises DuplicateMemberError for one path twice, ValueError for entries in any other order, and whatever
    ``end_of_directory`` raises.
    """
    position = unzipped = 0
    rows: list[bytes] = []
    previous = ""
    for member, payload in entries:
        if member.path == previous:
            raise DuplicateMemberError(f"The archive would hold `{member.path}` twice")
        if member.path < previous:
            raise ValueError(f"`{member.path}` comes after `{previous}`")
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
