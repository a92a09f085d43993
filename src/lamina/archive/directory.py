"""
Read a zip's central directory as hostile input: every row checked, nothing inflated.

A reader that trusts the directory and one that walks the local headers must see the same files;
where they would not, the archive is refused.
Field layout: PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16 and 4.5.3 (read 2026-11).
"""

from __future__ import annotations

import stat
import struct
from collections import Counter
from typing import NamedTuple

from lamina.archive.zipformat import DEFLATED, DIRECTORY_ROW, END, LOCAL_HEADER, STORED, Member, check_path
from lamina.errors import (
    CorruptArchiveError,
    DuplicateMemberError,
    SuspiciousSizeError,
    UnsafeMemberError,
    UnsupportedMemberError,
)

__all__ = ["Located", "locate_directory", "read_directory", "read_rows"]

_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_DATA_DESCRIPTOR = 1 << 3
_PATCHED = 1 << 5
_UTF8_NAME = 1 << 11
_ZIP64_EXTRA = 0x0001
_FULL_32 = 0xFFFFFFFF
_FULL_16 = 0xFFFF
_MAX_COMMENT = 0xFFFF
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")

# Deflate cannot do better than 1:1032 (RFC 1951: a 258-byte match in two bits), so a row that says so is a lie.
_DEFLATE_RATIO = 1032
# Real wheels inflate by a factor of 2 to 10. Past both of these bounds the file was made to exhaust its reader.
_BOMB_RATIO = 100
_BOMB_BYTES = 262_144_000


class Located(NamedTuple):
    """A member of an archive on disk, and where its payload starts (bytes from the start of the file)."""

    member: Member
    start: int


class _Row(NamedTuple):
    member: Member
    offset: int
    flags: int
    name: bytes

    @property
    def is_directory(self) -> bool:
        return self.name.endswith(b"/")


class Span(NamedTuple):
    """Where the central directory lies in the file, in bytes, and how many rows it has."""

    offset: int
    length: int
    rows: int


def locate_directory(tail: bytes | memoryview, *, total: int, name: str) -> Span:
    """
    Find the central directory from the *tail* of an archive of *total* bytes; *name* is for messages.

    The end record must be the last thing in the file: what follows or precedes an archive could be another one.
    Raises CorruptArchiveError where there is no such end.
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
    end = total - (len(data) - position)
    if _FULL_16 in (here, rows) or _FULL_32 in (length, offset):
        here, rows, length, offset, end = _zip64_end(data, position, total=total, name=name)
    elif disk or directory_disk:
        raise UnsupportedMemberError(f"`{name}` is one part of a zip on several disks")
    if here != rows or offset + length != end:
        raise CorruptArchiveError(
            f"`{name}` contradicts itself: its directory does not end where its end record starts"
        )
    return Span(offset, length, rows)


def _zip64_end(data: bytes, position: int, *, total: int, name: str) -> tuple[int, int, int, int, int]:
    start = len(data)
    locator = position - _ZIP64_LOCATOR.size
    if locator >= 0 and data[locator : locator + 4] == b"PK\6\7":
        _, _, absolute, _ = _ZIP64_LOCATOR.unpack_from(data, locator)
        start = absolute - (total - len(data))
    if not 0 <= start <= locator - _ZIP64_END.size or data[start : start + 4] != b"PK\6\6":
        raise CorruptArchiveError(f"`{name}` announces a zip64 directory and has none")
    _, _, _, _, _, _, here, rows, length, offset = _ZIP64_END.unpack_from(data, start)
    return here, rows, length, offset, total - len(data) + start


def read_rows(directory: bytes | memoryview, *, span: Span, name: str) -> tuple[_Row, ...]:
    """
    Parse and check the rows of a central *directory*, those of directories included.

    Raises CorruptArchiveError, UnsupportedMemberError (encryption, other codecs), UnsafeMemberError (paths, symbolic
    links, devices), DuplicateMemberError and SuspiciousSizeError, each naming the archive and the member.
    """
    data = bytes(directory)
    rows: list[_Row] = []
    position = 0
    for _ in range(span.rows):
        if len(data) - position < DIRECTORY_ROW.size or data[position : position + 4] != b"PK\1\2":
            raise CorruptArchiveError(f"`{name}` has a damaged directory: row {len(rows) + 1} of {span.rows}")
        fields = DIRECTORY_ROW.unpack_from(data, position)
        flags, method, crc, compressed, size = fields[3], fields[4], fields[7], fields[8], fields[9]
        name_length, extra_length, comment_length = fields[10:13]
        attributes, offset = fields[15], fields[16]
        after_name = position + DIRECTORY_ROW.size + name_length
        raw_name = data[position + DIRECTORY_ROW.size : after_name]
        if _FULL_32 in (compressed, size, offset):
            extra = data[after_name : after_name + extra_length]
            size, compressed, offset = _zip64_values(extra, (size, compressed, offset), name=name)
        position = after_name + extra_length + comment_length
        path = _decode(raw_name, name=name)
        _check_attributes(path, flags=flags, method=method, mode=attributes >> 16, name=name)
        check_path(path.removesuffix("/"))
        # An empty deflate stream is two bytes long.
        if path.endswith("/") and (size or compressed > 2):
            raise CorruptArchiveError(f"`{name}` has a directory entry with content: `{path}`")
        executable = bool(attributes >> 16 & 0o111)
        rows.append(_Row(Member(path, executable, method, crc, compressed, size), offset, flags, raw_name))
    if position != len(data):
        raise CorruptArchiveError(f"`{name}` has bytes in its directory that no row explains")
    _check_whole([row.member for row in rows if not row.is_directory], name=name)
    return tuple(rows)


def _decode(raw: bytes, *, name: str) -> str:
    # The wheel format says that names are UTF-8, whether the zip flag for it is set or not
    # (packaging.python.org, binary distribution format, read 2026-11).
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnsafeMemberError(f"`{name}` has a member whose name is not UTF-8: {raw!r}") from error


def _check_attributes(path: str, *, flags: int, method: int, mode: int, name: str) -> None:
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        raise UnsafeMemberError(f"`{name}` has a symbolic link: `{path}`")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnsafeMemberError(f"`{name}` has a member that is neither file nor directory: `{path}`")
    if flags & _ENCRYPTED:
        raise UnsupportedMemberError(f"`{name}` has an encrypted member: `{path}`")
    if flags & _PATCHED or method not in (STORED, DEFLATED):
        raise UnsupportedMemberError(
            f"`{name}` compresses `{path}` with method {method}, and only stored (0) and deflate (8) are accepted",
        )


def _zip64_values(extra: bytes, values: tuple[int, int, int], *, name: str) -> tuple[int, int, int]:
    position = 0
    while len(extra) - position >= 4:
        kind, length = struct.unpack_from("<2H", extra, position)
        body = extra[position + 4 : position + 4 + length]
        position += 4 + length
        if kind != _ZIP64_EXTRA:
            continue
        wanted = [index for index, value in enumerate(values) if value == _FULL_32]
        if len(body) < 8 * len(wanted):
            break
        found = dict(zip(wanted, struct.unpack_from(f"<{len(wanted)}Q", body), strict=True))
        size, compressed, offset = (found.get(index, value) for index, value in enumerate(values))
        return size, compressed, offset
    raise CorruptArchiveError(f"`{name}` announces zip64 sizes and has none")


def _check_whole(members: list[Member], *, name: str) -> None:
    paths = {member.path for member in members}
    if len(paths) != len(members):
        counts = Counter(member.path for member in members)
        twice = sorted(path for path, count in counts.items() if count > 1)
        raise DuplicateMemberError(f"`{name}` names a path twice: {', '.join(f'`{path}`' for path in twice)}")
    for parent in {path.rpartition("/")[0] for path in paths}:
        while parent:
            if parent in paths:
                raise DuplicateMemberError(f"`{name}` has `{parent}` both as a file and as a directory")
            parent = parent.rpartition("/")[0]  # noqa: PLW2901 - walking upwards is the loop
    compressed = sum(member.compressed for member in members)
    size = sum(member.size for member in members)
    for member in members:
        if member.method == STORED and member.size != member.compressed:
            raise CorruptArchiveError(f"`{name}` stores `{member.path}` in another size than it declares")
        if member.size > (member.compressed + 1) * _DEFLATE_RATIO:
            raise SuspiciousSizeError(
                f"`{name}` declares {member.size:,} bytes for `{member.path}`, "
                f"more than {member.compressed:,} bytes of deflate can hold",
            )
    if size > _BOMB_BYTES and size > compressed * _BOMB_RATIO:
        raise SuspiciousSizeError(
            f"`{name}` would inflate from {compressed:,} to {size:,} bytes: no real distribution does",
        )


def read_directory(archive: memoryview, *, name: str) -> tuple[Located, ...]:
    """
    Return the files of the whole *archive* in file order, each with the start of its payload.

    Every local header is compared with its directory row, and no two members may share bytes.
    Raises as ``read_rows`` does, and CorruptArchiveError where header and row differ.
    """
    total = len(archive)
    tail = archive[max(0, total - END.size - _MAX_COMMENT - _ZIP64_END.size - _ZIP64_LOCATOR.size) :]
    span = locate_directory(tail, total=total, name=name)
    if span.offset < 0 or span.offset > total:
        raise CorruptArchiveError(f"`{name}` places its directory outside itself")
    rows = read_rows(archive[span.offset : span.offset + span.length], span=span, name=name)
    located: list[Located] = []
    free = 0
    for row in sorted(rows, key=lambda row: row.offset):
        if row.offset < free:
            raise CorruptArchiveError(f"`{name}` has members that share bytes, one of them `{row.member.path}`")
        start = _check_local(archive, row, end=span.offset, name=name)
        if free == 0 and row.offset:
            raise CorruptArchiveError(f"`{name}` has bytes before its first member")
        free = start + row.member.compressed
        if not row.is_directory:
            located.append(Located(row.member, start))
    return tuple(located)


def _check_local(archive: memoryview, row: _Row, *, end: int, name: str) -> int:
    member = row.member
    if row.offset + LOCAL_HEADER.size > end:
        raise CorruptArchiveError(f"`{name}` is truncated: `{member.path}` has no local header")
    signature, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = LOCAL_HEADER.unpack_from(
        archive, row.offset
    )
    after_name = row.offset + LOCAL_HEADER.size + name_length
    start: int = after_name + extra_length
    if signature != b"PK\3\4" or start + member.compressed > end:
        raise CorruptArchiveError(f"`{name}` is truncated or damaged at `{member.path}`")
    same = archive[row.offset + LOCAL_HEADER.size : after_name] == row.name and method == member.method
    if _FULL_32 in (compressed, size):
        extra = bytes(archive[after_name:start])
        size, compressed, _ = _zip64_values(extra, (size, compressed, 0), name=name)
    if flags & _DATA_DESCRIPTOR:
        # Streaming writers put sizes and CRC behind the payload; zeros here then say nothing.
        same = same and (crc, compressed, size) in ((0, 0, 0), (member.crc, member.compressed, member.size))
    else:
        same = same and (crc, compressed, size) == (member.crc, member.compressed, member.size)
    if not same or flags & _ENCRYPTED:
        raise CorruptArchiveError(
            f"`{name}` says two things of `{member.path}`: its local header differs from its directory row",
            hint="such an archive shows different files to different readers; do not use it",
        )
    return start
