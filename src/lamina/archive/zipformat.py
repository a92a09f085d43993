"""
The zip structures that lamina writes, and the one codec for members that no wheel holds.

Only what Lambda is known to accept is ever written: stored or deflate, "version made by" 2.0 on unix, 1980-01-01,
0644 or 0755, no data descriptors, no extra fields, no directory entries, no zip64.
Field layout: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.16 and 4.4 (read 2026-11).
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lamina.errors import DuplicateMemberError, SuspiciousSizeError, UnsafeMemberError, UnsupportedMemberError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DEFLATED",
    "DIRECTORY_ROW",
    "END",
    "LOCAL_HEADER",
    "STORED",
    "Encoded",
    "Member",
    "check_path",
    "compress",
    "directory_row",
    "encode",
    "end_of_directory",
    "local_header",
    "rebase",
    "write_archive",
    "write_sorted",
]

STORED = 0
DEFLATED = 8

LOCAL_HEADER = struct.Struct("<4s5H3L2H")
"""Signature, version needed, flags, method, time, date, CRC-32, compressed, size, name length, extra length."""
DIRECTORY_ROW = struct.Struct("<4s6H3L5H2L")
"""Signature, made by, needed, flags, method, time, date, CRC-32, compressed, size, name, extra and comment
lengths, disk, internal attributes, external attributes, offset of the local header."""
END = struct.Struct("<4s4H2LH")
"""Signature, disk, directory's disk, rows here, rows, directory bytes, directory offset, comment length."""

_MADE_BY_UNIX_20 = 3 << 8 | 20
_NEEDED = 20
_DOS_TIME = 0
_DOS_DATE = 1 << 5 | 1  # 1980-01-01, the first day that the format can express
_UTF8_NAME = 1 << 11
_REGULAR_FILE = 0o100000
_MAX_ROWS = 0xFFFF
_MAX_BYTES = 0xFFFFFFFF

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


class Encoded(NamedTuple):
    """A member together with its payload, for files that lamina itself puts into an archive."""

    member: Member
    payload: bytes


class _Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


def check_path(path: str) -> None:
    """
    Refuse a member path that any extractor could read as pointing elsewhere.

    Raises UnsafeMemberError for absolute paths, drive letters, backslashes, ``.``, ``..`` or empty components, control
    characters and components over 255 bytes.
    """
    reason = None
    components = path.split("/")
    if not path or path[0] == "/" or "\\" in path or (len(path) > 1 and path[1] == ":"):
        reason = "is not relative"
    elif not path.isprintable() and any(ord(character) < 0x20 or ord(character) == 0x7F for character in path):
        reason = "holds a control character"
    elif "" in components or "." in components or ".." in components:
        reason = "has an empty, `.` or `..` component"
    elif len(path) > 255 and any(len(component.encode()) > 255 for component in components):
        reason = "has a component over 255 bytes"
    if reason is not None:
        raise UnsafeMemberError(f"Member path `{path!r}` {reason}")


def _name_and_flags(path: str) -> tuple[bytes, int]:
    return (path.encode("ascii"), 0) if path.isascii() else (path.encode("utf-8"), _UTF8_NAME)


def local_header(member: Member) -> bytes:
    """Return the header that stands before *member*'s payload. It does not know its own position."""
    name, flags = _name_and_flags(member.path)
    return (
        LOCAL_HEADER.pack(
            b"PK\3\4",
            _NEEDED,
            flags,
            member.method,
            _DOS_TIME,
            _DOS_DATE,
            member.crc,
            member.compressed,
            member.size,
            len(name),
            0,
        )
        + name
    )


def directory_row(member: Member, offset: int) -> bytes:
    """Return *member*'s row of the central directory; *offset* is where its local header starts, in bytes."""
    name, flags = _name_and_flags(member.path)
    mode = _REGULAR_FILE | (0o755 if member.executable else 0o644)
    return (
        DIRECTORY_ROW.pack(
            b"PK\1\2",
            _MADE_BY_UNIX_20,
            _NEEDED,
            flags,
            member.method,
            _DOS_TIME,
            _DOS_DATE,
            member.crc,
            member.compressed,
            member.size,
            len(name),
            0,
            0,
            0,
            0,
            mode << 16,
            offset,
        )
        + name
    )


def end_of_directory(*, rows: int, directory_bytes: int, directory_offset: int) -> bytes:
    """
    Return the record that ends an archive.

    Raises UnsupportedMemberError for more than 65,535 rows and SuspiciousSizeError for more than 4 GiB: both would
    need zip64, which is never written.
    """
    if rows > _MAX_ROWS:
        raise UnsupportedMemberError(
            f"The archive would hold {rows:,} files, and a zip without the zip64 extension holds {_MAX_ROWS:,}",
            hint="leave files out with `exclude`, or split the layer",
        )
    if directory_offset + directory_bytes > _MAX_BYTES:
        raise SuspiciousSizeError(
            f"The archive would be {directory_offset + directory_bytes:,} bytes, "
            f"and a zip without the zip64 extension ends at {_MAX_BYTES:,}",
        )
    return END.pack(b"PK\5\6", 0, 0, rows, rows, directory_bytes, directory_offset, 0)


def rebase(fragment: bytes, base: int) -> bytearray:
    """Return the directory rows *fragment*, whose offsets count from zero, as they read *base* bytes further on."""
    rows = bytearray(fragment)
    if base == 0:
        return rows
    lengths = struct.Struct("<H").unpack_from
    offset_field = struct.Struct("<L")
    read_offset, write_offset = offset_field.unpack_from, offset_field.pack_into
    position, end = 0, len(rows)
    while position < end:
        write_offset(rows, position + 42, read_offset(rows, position + 42)[0] + base)
        position += 46 + lengths(rows, position + 28)[0]
    return rows


def compress(data: bytes) -> bytes:
    """Return *data* as a raw deflate stream from the one pinned codec."""
    import deflate  # noqa: PLC0415 - a layer of wheels alone needs it once, for the manifest

    return bytes(deflate.deflate_compress(data, _CODEC_LEVEL))


def encode(path: str, data: bytes, *, executable: bool = False) -> Encoded:
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
    return Encoded(
        member=Member(path, executable, method, zlib.crc32(data), len(payload), len(data)),
        payload=payload,
    )


def write_archive(stream: _Writable, entries: Iterable[Encoded]) -> int:
    """
    Write a whole archive of *entries*, sorted by path, to *stream*; return its bytes.

    The result depends on the entries and on nothing else.
    Raises DuplicateMemberError for one path twice, and whatever ``end_of_directory`` raises.
    """
    return write_sorted(stream, sorted(entries, key=lambda entry: entry.member.path))


def write_sorted(stream: _Writable, entries: Iterable[Encoded]) -> int:
    """
    Do as `write_archive` does with *entries* that come sorted by path, holding one of them in memory at a time.

    Raises ValueError for entries in any other order.
    """
    position = 0
    rows: list[bytes] = []
    previous = ""
    for member, payload in entries:
        if member.path == previous:
            raise DuplicateMemberError(f"The archive would hold `{member.path}` twice")
        if member.path < previous:
            raise ValueError(f"`{member.path}` comes after `{previous}`")
        previous = member.path
        rows.append(directory_row(member, position))
        header = local_header(member)
        stream.write(header)
        stream.write(payload)
        position += len(header) + len(payload)
    directory = b"".join(rows)
    stream.write(directory)
    stream.write(end_of_directory(rows=len(rows), directory_bytes=len(directory), directory_offset=position))
    return position + len(directory) + END.size
