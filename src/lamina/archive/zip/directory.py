"""
Read what a whole zip holds, as hostile input: the central directory, and every local header against it.

A reader that trusts the directory and one that walks the local headers must see the same files;
where they would not, the archive is refused. So every byte of it must belong to one member, once.
Field layout: PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.9 (read 2026-11).
"""

from __future__ import annotations

import struct
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from lamina.archive.zip.endrecord import TAIL_BYTES, Span, locate_directory
from lamina.archive.zip.extras import FULL_32, check_unicode_path, zip64_values
from lamina.archive.zip.rows import Row, read_rows
from lamina.archive.zip.zipformat import LOCAL_HEADER, Member
from lamina.core.errors import CorruptArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Located", "Row", "Span", "locate_directory", "read_directory", "read_rows"]

_DATA_DESCRIPTOR = 1 << 3
# How hard deflate tried: says nothing about the content, and writers disagree about it.
_COMPRESSION_HINTS = 1 << 1 | 1 << 2
_OFFSET = attrgetter("offset")
_SLASH = ord("/")
_HEADER_BYTES = LOCAL_HEADER.size
_RELEASED_BYTES = 4 << 20


class Located(NamedTuple):
    """A member of an archive on disk, and where its payload starts (bytes from the start of the file)."""

    member: Member
    start: int


def _keep() -> None:
    """Leave in memory what was looked at."""


def read_directory(archive: memoryview, *, name: str, release: Callable[[], object] = _keep) -> tuple[Located, ...]:
    """
    Return the files of the whole *archive* in file order, each with the start of its payload; *name* is for messages.

    Every local header is compared with its directory row, and between members there may be nothing.
    *release* is called after every few MiB of the file, to give back what a mapped *archive* takes of memory.
    Raises as ``locate_directory`` and ``read_rows`` do, and CorruptArchiveError where header and row differ.
    """
    total = len(archive)
    span = locate_directory(archive[max(0, total - TAIL_BYTES) :], total=total, name=name)
    rows = read_rows(archive[span.offset : span.offset + span.length], span=span, name=name)
    located: list[Located] = []
    free = released = 0
    new = tuple.__new__  # half the time of calling the class by its name
    for row in sorted(rows, key=_OFFSET):
        member, offset, flags, path, fields = row
        if offset != free:
            raise _misplaced(row, free, name=name)
        start = offset + _HEADER_BYTES + len(path)
        # Nearly every writer repeats the row's fields as they are, time and date included, and adds no extra field.
        header = archive[offset:start].tobytes()
        if header[6:] != fields + b"\0\0" + path or header[:4] != b"PK\3\4":
            start = _compare(archive, row, end=span.offset, name=name)
        free = start + member[4]
        if free > span.offset:
            raise _damaged(row, name=name)
        if flags & _DATA_DESCRIPTOR:
            free = _after_descriptor(archive, free, row, name=name)
        if start - released > _RELEASED_BYTES:
            release()
            released = start
        if path[-1] != _SLASH:
            located.append(new(Located, (member, start)))
    if free != span.offset:
        raise CorruptArchiveError(f"`{name}` has bytes between its last member and its directory")
    return tuple(located)


def _misplaced(row: Row, free: int, *, name: str) -> CorruptArchiveError:
    path = row.member.path
    if row.offset < free:
        return CorruptArchiveError(f"`{name}` has members that share bytes, one of them `{path}`")
    if free == 0:
        return CorruptArchiveError(f"`{name}` has bytes before its first member")
    return CorruptArchiveError(f"`{name}` has bytes before `{path}` that belong to no member")


def _damaged(row: Row, *, name: str) -> CorruptArchiveError:
    return CorruptArchiveError(f"`{name}` is truncated or damaged at `{row.member.path}`")


def _compare(archive: memoryview, row: Row, *, end: int, name: str) -> int:
    """Compare a local header field by field with its *row*, and return where the payload starts."""
    member = row.member
    after_fixed = row.offset + LOCAL_HEADER.size
    if after_fixed > end or archive[row.offset : row.offset + 4].tobytes() != b"PK\3\4":
        raise _damaged(row, name=name)
    fixed = archive[row.offset : after_fixed]
    _, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = LOCAL_HEADER.unpack(fixed)
    after_name = after_fixed + name_length
    start: int = after_name + extra_length
    if start + member.compressed > end:
        raise _damaged(row, name=name)
    extra = archive[after_name:start].tobytes()
    check_unicode_path(extra, row.name, name=name)
    if FULL_32 in (compressed, size):
        size, compressed, _ = zip64_values(extra, (size, compressed, 0), name=name)
    stated = (crc, compressed, size)
    # Streaming writers put sizes and CRC behind the payload; zeros here then say nothing.
    silent = flags & _DATA_DESCRIPTOR and stated == (0, 0, 0)
    same = (
        archive[after_fixed:after_name].tobytes() == row.name
        and method == member.method
        and (flags ^ row.flags) & ~_COMPRESSION_HINTS == 0
        and (silent or stated == (member.crc, member.compressed, member.size))
    )
    if not same:
        raise CorruptArchiveError(
            f"`{name}` says two things of `{member.path}`: its local header differs from its directory row",
            hint="such an archive shows different files to different readers; do not use it",
        )
    return start


def _after_descriptor(archive: memoryview, position: int, row: Row, *, name: str) -> int:
    """Return where the data descriptor at *position* ends: it comes in four forms, and nothing says in which."""
    for descriptor in _descriptors(row.member):
        if archive[position : position + len(descriptor)] == descriptor:
            return position + len(descriptor)
    raise CorruptArchiveError(
        f"`{name}` says two things of `{row.member.path}`: its data descriptor differs from its directory row",
        hint="such an archive shows different files to different readers; do not use it",
    )


def _descriptors(member: Member) -> Iterator[bytes]:
    values = (member.crc, member.compressed, member.size)
    for layout in ("<L2Q", "<3L"):
        packed = struct.pack(layout, *values)
        yield b"PK\7\10" + packed
        yield packed
