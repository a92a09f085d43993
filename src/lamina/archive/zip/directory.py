"""
Read the central directory of a zip, and compare every local header with it.

Some programs read the central directory and others read the local headers. Both must find the same files, so every byte
of a zip must belong to exactly one member. `lamina.archive.zip.hazards` contains the other checks.
Field layout: PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16, 4.4 and 4.5 (read 2026-11).
"""

from __future__ import annotations

import os
import struct
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from lamina.archive.zip.copying import read_at
from lamina.archive.zip.hazards import (
    DATA_DESCRIPTOR,
    after_descriptor,
    check_end_record,
    check_local_header,
    check_rows,
    check_total,
    check_unicode_path,
    misplaced,
)
from lamina.archive.zip.inflate import BROKEN_WHEEL_HINT
from lamina.archive.zip.zipformat import END, LOCAL_HEADER, MAX_ROWS, EndRecord, Member, Row
from lamina.core.errors import CorruptArchiveError, UnsafeMemberError
from lamina.core.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MAX_COMMENT = 0xFFFF
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
"""Signature, disk and offset of the zip64 end record, number of disks."""
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
"""
Signature, size of the remaining record, version made by, version needed, disk, disk of the central directory, entries on
this disk, entries, size and offset of the central directory.
"""
_ZIP64_FIELD = 0x0001
_FULL_32 = 0xFFFFFFFF  # the value of a 32-bit field if the actual value is in the zip64 extra field

TAIL_BYTES = END.size + _MAX_COMMENT + _ZIP64_END.size + _ZIP64_LOCATOR.size
"""The number of bytes at the end of a zip that are always enough for `locate_directory`."""

# DIRECTORY_ROW without unused fields: signature, flags, method, CRC-32, compressed size, size, lengths of name, extra field
# and comment, external attributes, offset of the local header.
_ROW = struct.Struct("<4s4x2H4x3L3H4x2L")
_ROW_BYTES = _ROW.size
_ANYBODY_EXECUTES = 0o111

_OFFSET = attrgetter("offset")
_SLASH = ord("/")
_HEADER_BYTES = LOCAL_HEADER.size
_RELEASED_BYTES = 4 << 20


class Span(NamedTuple):
    """The offset and length of the central directory in bytes, and its number of entries."""

    offset: int
    length: int
    rows: int


class Located(NamedTuple):
    """A member of a zip, and the offset of its payload in bytes from the start of the file."""

    member: Member
    start: int


def members(path: Path) -> tuple[Member, ...]:
    """
    Return the files of the zip at *path*, without directories, in the order of its central directory.

    Reads only the central directory. The zip may be untrusted, and a zip bomb: nothing is inflated. Raises the errors of `locate_directory` and `read_rows`, and `OSError` if the file is unreadable.
    """
    data, span = _directory_of(path)
    rows = _rows(data, span=span, name=path.name)
    return tuple(row.member for row in rows if not row.is_directory)


def raw_directory(path: Path) -> bytes:
    """
    Return the central directory of the zip at *path* as unparsed bytes. Searching these is faster than parsing them.

    Raises the errors of `locate_directory`, and `OSError` if the file is unreadable.
    """
    return _directory_of(path)[0]


def _directory_of(path: Path) -> tuple[bytes, Span]:
    with open_regular(path) as file:
        total = os.fstat(file.fileno()).st_size
        start = max(0, total - TAIL_BYTES)
        span = locate_directory(read_at(file, start, total - start), total=total, name=path.name)
        return read_at(file, span.offset, span.length), span


def locate_directory(tail: bytes | memoryview, *, total: int, name: str, most_rows: int = MAX_ROWS) -> Span:
    """
    Return the location of the central directory of a zip. Its *tail* is the last `TAIL_BYTES` of its *total* bytes.

    *name* is the zip's name in messages, and *most_rows* the number of entries that it may have.
    Raises `CorruptArchiveError` if the end record or the zip64 end record is missing, or if bytes follow the end record,
    because they could be a second zip. Raises the errors of `check_end_record`.
    """
    data = bytes(tail)
    position = data.rfind(b"PK\5\6", max(0, len(data) - END.size - _MAX_COMMENT))
    if position < 0 or len(data) - position < END.size:
        raise CorruptArchiveError(
            f"`{name}` is not a zip or is truncated: end of central directory record not found",
            hint="run `lamina cache verify`, then build again; if the error remains, use another version of the distribution",
        )
    _, disk, directory_disk, *fields, comment = END.unpack_from(data, position)
    if position + END.size + comment != len(data):
        raise CorruptArchiveError(f"`{name}` has extra bytes after its end record", hint=BROKEN_WHEEL_HINT)
    record, zip64 = EndRecord(*fields), None
    before = total - len(data)
    end = before + position
    locator = position - _ZIP64_LOCATOR.size
    if locator >= 0 and data[locator : locator + 4] == b"PK\6\7":
        zip64, end = _zip64_end(data, locator, before=before, name=name)
    check_end_record(record, zip64, end=end, is_split=bool(disk or directory_disk), name=name, most_rows=most_rows)
    _, rows, length, offset = zip64 or record
    return Span(offset, length, rows)


def _zip64_end(data: bytes, locator: int, *, before: int, name: str) -> tuple[EndRecord, int]:
    """Return the zip64 end record and its offset in the file. Raises `CorruptArchiveError` if the record is missing."""
    _, _, absolute, _ = _ZIP64_LOCATOR.unpack_from(data, locator)
    # Some programs ignore the offset in the locator and read the record directly before it, so the two must be adjacent.
    start = locator - _ZIP64_END.size
    if start >= 0 and absolute == before + start and data[start : start + 4] == b"PK\6\6":
        _, following, _, _, _, _, *fields = _ZIP64_END.unpack_from(data, start)
        if following == _ZIP64_END.size - 12:
            return EndRecord(*fields), absolute
    raise CorruptArchiveError(
        f"`{name}` has a zip64 locator without a zip64 end record directly before it", hint=BROKEN_WHEEL_HINT
    )


def read_rows(directory: bytes | memoryview, *, span: Span, name: str) -> tuple[Row, ...]:
    """
    Parse and check all entries of a central *directory*, including directories. *name* is the zip's name in messages.

    Raises `CorruptArchiveError` for invalid data, and `UnsafeMemberError` for a path that is not UTF-8. Raises the errors of
    `check_rows` and `check_total`.
    """
    rows = _rows(directory, span=span, name=name)
    check_total(rows, name=name)
    return rows


def _rows(directory: bytes | memoryview, *, span: Span, name: str) -> tuple[Row, ...]:
    rows: list[Row] = []
    try:
        _parse(bytes(directory), span, rows, name=name)
    except struct.error as error:
        raise _damaged_row(len(rows), span, name=name) from error
    except UnicodeDecodeError as error:
        raise UnsafeMemberError(
            f"`{name}` has a member whose path is not UTF-8: {error.object!r}", hint=BROKEN_WHEEL_HINT
        ) from error
    check_rows(rows, name=name)
    return tuple(rows)


def _parse(data: bytes, span: Span, rows: list[Row], *, name: str) -> None:
    """
    Parse the central directory entries in *data* and append them to *rows*.

    Raises `CorruptArchiveError` for invalid data, `struct.error` for a truncated entry, and `UnicodeDecodeError` for a path
    that is not UTF-8.
    """
    position = 0
    # This loop runs for every member of every wheel. tuple.__new__ is twice as fast as calling the named tuple's class.
    unpack, new = _ROW.unpack_from, tuple.__new__
    for number in range(span.rows):
        signature, flags, method, crc, compressed, size, name_bytes, extra_bytes, comment_bytes, attributes, offset = (
            unpack(data, position)
        )
        if signature != b"PK\1\2":
            raise _damaged_row(number, span, name=name)
        start = position + _ROW_BYTES
        fields = data[position + 8 : position + 30]
        position = start + name_bytes
        path = data[start:position]
        if extra_bytes or _FULL_32 in (size, compressed, offset):
            extra = data[position : position + extra_bytes]
            size, compressed, offset = _zip64_values(extra, (size, compressed, offset), name=name)
            check_unicode_path(_extra_fields(extra), path, name=name)
        position += extra_bytes + comment_bytes
        mode = attributes >> 16
        # The wheel format requires UTF-8 names even without the zip flag for UTF-8
        # (packaging.python.org, binary distribution format, read 2026-11).
        member = new(Member, (path.decode(), mode & _ANYBODY_EXECUTES != 0, method, crc, compressed, size))
        rows.append(new(Row, (member, offset, flags, mode, path, fields)))
    if position != len(data):
        raise CorruptArchiveError(f"`{name}` has extra bytes in its central directory", hint=BROKEN_WHEEL_HINT)


def _damaged_row(number: int, span: Span, *, name: str) -> CorruptArchiveError:
    return CorruptArchiveError(
        f"`{name}` has a central directory that is damaged at entry {number + 1:,} of {span.rows:,}",
        hint=BROKEN_WHEEL_HINT,
    )


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    # Fewer than four bytes are padding, which some programs use to align payloads.
    position = 0
    while len(extra) - position >= 4:
        kind, length = struct.unpack_from("<2H", extra, position)
        position += 4
        yield kind, extra[position : position + length]
        position += length


def _zip64_values(extra: bytes, values: tuple[int, int, int], *, name: str) -> tuple[int, int, int]:
    """
    Return *values*, which are a header's size, compressed size and offset, with 64-bit values from its *extra* fields.

    Only values of 0xFFFFFFFF are replaced.
    Raises `CorruptArchiveError` if the zip64 extra field is missing or too short.
    """
    if _FULL_32 not in values:
        return values
    body = next((body for kind, body in _extra_fields(extra) if kind == _ZIP64_FIELD), b"")
    wanted = [index for index, value in enumerate(values) if value == _FULL_32]
    if len(body) < 8 * len(wanted):
        raise CorruptArchiveError(
            f"`{name}` has a member whose zip64 extra field is missing or too short", hint=BROKEN_WHEEL_HINT
        )
    found = dict(zip(wanted, struct.unpack_from(f"<{len(wanted)}Q", body), strict=True))
    size, compressed, offset = (found.get(index, value) for index, value in enumerate(values))
    return size, compressed, offset


def read_directory(
    archive: memoryview, *, name: str, release: Callable[[], object] = lambda: None, most_rows: int = MAX_ROWS
) -> tuple[Located, ...]:
    """
    Return the files of *archive*, ordered by offset, each with the offset of its payload.

    Every local header is compared with its central directory entry. *name* is the zip's name in messages.
    *release* is called after every few MiB, so that the caller can release the memory of a mapped *archive*. *most_rows* is
    the number of entries that the zip may have.
    Raises the errors of `locate_directory` and `read_rows`. Raises `CorruptArchiveError` if a local header differs, if members
    overlap, or if bytes belong to no member.
    """
    total = len(archive)
    span = locate_directory(archive[max(0, total - TAIL_BYTES) :], total=total, name=name, most_rows=most_rows)
    rows = read_rows(archive[span.offset : span.offset + span.length], span=span, name=name)
    located: list[Located] = []
    free = released = 0
    new = tuple.__new__  # twice as fast as calling the class
    for row in sorted(rows, key=_OFFSET):
        member, offset, flags, _, path, fields = row
        if offset != free:
            raise misplaced(row, free, name=name)
        start = offset + _HEADER_BYTES + len(path)
        # Most programs repeat the central directory entry's fields unchanged and add no extra field. Compare these quickly.
        header = archive[offset:start].tobytes()
        if header[6:] != fields + b"\0\0" + path or header[:4] != b"PK\3\4":
            start = _payload_start(archive, row, end=span.offset, name=name)
        free = start + member[4]
        if free > span.offset:
            raise _damaged_member(row, name=name)
        if flags & DATA_DESCRIPTOR:
            free = after_descriptor(archive, free, row, name=name)
        if start - released > _RELEASED_BYTES:
            release()
            released = start
        if path[-1] != _SLASH:
            located.append(new(Located, (member, start)))
    if free != span.offset:
        raise CorruptArchiveError(
            f"`{name}` has extra bytes between its last member and its central directory", hint=BROKEN_WHEEL_HINT
        )
    return tuple(located)


def _payload_start(archive: memoryview, row: Row, *, end: int, name: str) -> int:
    """Return the payload's offset. Compare a local header with its *row* field by field, because their bytes differ."""
    after_fixed = row.offset + _HEADER_BYTES
    if after_fixed > end or archive[row.offset : row.offset + 4].tobytes() != b"PK\3\4":
        raise _damaged_member(row, name=name)
    _, _, flags, method, _, _, crc, compressed, size, name_bytes, extra_bytes = LOCAL_HEADER.unpack_from(
        archive, row.offset
    )
    after_name = after_fixed + name_bytes
    start: int = after_name + extra_bytes
    if start + row.member.compressed > end:
        raise _damaged_member(row, name=name)
    extra = archive[after_name:start].tobytes()
    check_unicode_path(_extra_fields(extra), row.name, name=name)
    size, compressed, _ = _zip64_values(extra, (size, compressed, 0), name=name)
    path = archive[after_fixed:after_name].tobytes()
    check_local_header(row, path, flags=flags, method=method, stated=(crc, compressed, size), name=name)
    return start


def _damaged_member(row: Row, *, name: str) -> CorruptArchiveError:
    return CorruptArchiveError(f"`{name}` is truncated or damaged at `{row.member.path}`", hint=BROKEN_WHEEL_HINT)
