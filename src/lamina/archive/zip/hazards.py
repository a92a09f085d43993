"""
The tricks of hostile zips, and the checks that refuse them; a new trick gets its check here.

An archive is refused where two readers could see different files in it, where a member could be extracted to another
place than its path says, and where reading it could exhaust the machine. `lamina.archive.zip.directory` parses and asks
here; `lamina.core.paths` knows which paths are safe.
Reading has to cost next to nothing, so the checks look at all rows at once, and closely only at rows that are unlike
nearly all others.
Meaning of the fields: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.6 (read 2026-11).
"""

from __future__ import annotations

import stat
import struct
from typing import TYPE_CHECKING

from lamina.archive.zip.zipformat import DEFLATED, DIRECTORY_ROW, MAX_BYTES, MAX_ROWS, STORED, EndRecord, Row
from lamina.core.errors import (
    CorruptArchiveError,
    DuplicateMemberError,
    SuspiciousSizeError,
    UnsafeMemberError,
    UnsupportedMemberError,
)
from lamina.core.paths import clashes, flaw, flawless, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DATA_DESCRIPTOR = 1 << 3
"""The flag of a member whose sizes and CRC-32 stand behind its payload."""
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13  # the member, strongly, or its header
_PATCHED = 1 << 5
# How hard deflate tried: says nothing about the content, and writers disagree about it.
_COMPRESSION_HINTS = 1 << 1 | 1 << 2
_UNICODE_PATH = 0x7075
_FULL = EndRecord(0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
_REGULAR_FILE = stat.S_IFREG >> 9  # the mode without permissions
_SLASH = ord("/")

# Deflate cannot do better than 1:1032 (RFC 1951: a 258-byte match in two bits), so a row that says so is a lie.
_DEFLATE_RATIO = 1032
# Real wheels inflate by a factor of 2 to 10. Past both of these bounds the file was made to exhaust its reader.
_BOMB_RATIO = 100
_BOMB_BYTES = 262_144_000

_AMBIGUOUS = "such an archive shows different files to different readers; do not use it"


def check_end_record(record: EndRecord, zip64: EndRecord | None, *, end: int, is_split: bool, name: str) -> None:
    """
    Refuse end records by which two readers could find two directories.

    *end* is where the directory has to end; *is_split* says whether the plain *record* names other disks.
    Raises CorruptArchiveError for a contradiction, UnsupportedMemberError for a part of a split zip, and
    SuspiciousSizeError for more rows than a layer can ever hold.
    """
    if zip64 is not None:
        # Some readers always follow the locator, others only where the plain record is full: both must be told the same.
        if any(plain not in (value, full) for plain, value, full in zip(record, zip64, _FULL, strict=True)):
            raise CorruptArchiveError(f"`{name}` contradicts itself: its two end records differ")
    elif is_split:
        raise UnsupportedMemberError(f"`{name}` is one part of a zip on several disks")
    here, rows, length, offset = zip64 or record
    if here != rows or offset + length != end or length < rows * DIRECTORY_ROW.size:
        raise CorruptArchiveError(
            f"`{name}` contradicts itself: its directory does not end where its end record starts"
        )
    if rows > MAX_ROWS:
        raise SuspiciousSizeError(f"`{name}` names {rows:,} files, and a layer can hold {MAX_ROWS:,}")


def check_unicode_path(fields: Iterable[tuple[int, bytes]], path: bytes, *, name: str) -> None:
    """
    Refuse extra *fields* that give the member another path than its header: some readers believe the one, some the other.

    Raises CorruptArchiveError.
    """
    for kind, body in fields:
        # A version byte and the CRC-32 of the path that it replaces come first.
        if kind == _UNICODE_PATH and body[5:] != path:
            raise CorruptArchiveError(f"`{name}` says two things of a member's path: {path!r} and {body[5:]!r}")


def check_rows(rows: Sequence[Row], *, name: str) -> None:
    """
    Refuse *rows* of a central directory that are unsafe, by themselves or together.

    Raises UnsupportedMemberError (encryption, patches, other codecs), UnsafeMemberError (paths, symbolic links, devices),
    DuplicateMemberError, CorruptArchiveError and SuspiciousSizeError, each naming the archive and the member.
    """
    paths = [row[0][0] for row in rows]
    if not flawless(paths):
        _check_each_path(paths, name=name)
    unusual: list[Row] = []
    for row in rows:
        (_, _, method, _, compressed, size), _, flags, mode, path, _ = row
        if (
            flags
            or mode >> 9 != _REGULAR_FILE
            or size > compressed * _DEFLATE_RATIO
            or size > MAX_BYTES
            or compressed > MAX_BYTES
            or (method != DEFLATED and (method != STORED or size != compressed))
            or path[-1] == _SLASH
        ):
            unusual.append(row)
    for row in unusual:
        _check_attributes(row, name=name)
    _check_duplicates([row.name for row in rows], name=name)
    for row in unusual:
        _check_size(row, name=name)
    _check_total(rows, name=name)


def _check_each_path(paths: Iterable[str], *, name: str) -> None:
    for path in paths:
        if (reason := flaw(path.removesuffix("/"))) is not None:
            raise UnsafeMemberError(f"`{name}` has a member whose path {reason}: `{printable(path)}`")


def _check_attributes(row: Row, *, name: str) -> None:
    path, flags, method, kind = row.member.path, row.flags, row.member.method, stat.S_IFMT(row.mode)
    if kind == stat.S_IFLNK:
        raise UnsafeMemberError(f"`{name}` has a symbolic link: `{path}`")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnsafeMemberError(f"`{name}` has a member that is neither file nor directory: `{path}`")
    if kind == stat.S_IFDIR and not path.endswith("/"):
        raise UnsafeMemberError(
            f"`{name}` has a member that is a file by its name and a directory by its mode: `{path}`"
        )
    if flags & _ENCRYPTED:
        raise UnsupportedMemberError(f"`{name}` has an encrypted member: `{path}`")
    if flags & _PATCHED:
        raise UnsupportedMemberError(f"`{name}` has a member that is a patch to another file: `{path}`")
    if method not in (STORED, DEFLATED):
        raise UnsupportedMemberError(
            f"`{name}` compresses `{path}` with method {method}, and only stored (0) and deflate (8) are accepted",
        )


def _check_duplicates(names: list[bytes], *, name: str) -> None:
    directories = {each[:-1] for each in names if each[-1] == _SLASH}
    found = clashes([each for each in names if each[-1] != _SLASH] if directories else names)
    if twice := [clash.path.decode() for clash in found if not clash.is_directory]:
        raise DuplicateMemberError(f"`{name}` names a path twice: {', '.join(f'`{path}`' for path in twice)}")
    both = {clash.path for clash in found}
    if directories:
        both |= directories.intersection(names)
    if both:
        listed = ", ".join(f"`{path.decode()}`" for path in sorted(both))
        raise DuplicateMemberError(f"`{name}` has paths that are both a file and a directory: {listed}")


def _check_size(row: Row, *, name: str) -> None:
    path, _, method, _, compressed, size = row.member
    # An empty deflate stream is two bytes long.
    if row.is_directory and (size or compressed > 2):
        raise CorruptArchiveError(f"`{name}` has a directory entry with content: `{path}`")
    if method == STORED and size != compressed:
        raise CorruptArchiveError(f"`{name}` stores `{path}` in another size than it declares")
    if size > (compressed + 1) * _DEFLATE_RATIO:
        raise SuspiciousSizeError(
            f"`{name}` declares {size:,} bytes for `{path}`, more than {compressed:,} bytes of deflate can hold",
        )
    if max(size, compressed) > MAX_BYTES:
        raise SuspiciousSizeError(f"`{name}` declares {size:,} bytes for `{path}`, more than a layer can ever hold")


def _check_total(rows: Iterable[Row], *, name: str) -> None:
    total_compressed = sum(row[0][4] for row in rows)
    total_size = sum(row[0][5] for row in rows)
    if total_size > _BOMB_BYTES and total_size > total_compressed * _BOMB_RATIO:
        raise SuspiciousSizeError(
            f"`{name}` would inflate from {total_compressed:,} to {total_size:,} bytes: no real distribution does",
        )


def misplaced(row: Row, free: int, *, name: str) -> CorruptArchiveError:
    """Return what to say of a *row* whose member does not start at *free*, where the one before it ended."""
    path = row.member.path
    if row.offset < free:
        return CorruptArchiveError(f"`{name}` has members that share bytes, one of them `{path}`")
    if free == 0:
        return CorruptArchiveError(f"`{name}` has bytes before its first member")
    return CorruptArchiveError(f"`{name}` has bytes before `{path}` that belong to no member")


def check_local_header(
    row: Row, path: bytes, *, flags: int, method: int, stated: tuple[int, int, int], name: str
) -> None:
    """
    Refuse a local header that says anything else than its *row*; *stated* are its CRC-32, compressed size and size.

    Raises CorruptArchiveError.
    """
    member = row.member
    # Streaming writers put sizes and CRC behind the payload; zeros here then say nothing.
    silent = flags & DATA_DESCRIPTOR and stated == (0, 0, 0)
    same = (
        path == row.name
        and method == member.method
        and (flags ^ row.flags) & ~_COMPRESSION_HINTS == 0
        and (silent or stated == (member.crc, member.compressed, member.size))
    )
    if not same:
        raise CorruptArchiveError(
            f"`{name}` says two things of `{member.path}`: its local header differs from its directory row",
            hint=_AMBIGUOUS,
        )


def after_descriptor(archive: memoryview, position: int, row: Row, *, name: str) -> int:
    """
    Return where the data descriptor at *position* ends: it comes in four forms, and nothing says in which.

    Raises CorruptArchiveError for one that says anything else than its *row*.
    """
    values = (row.member.crc, row.member.compressed, row.member.size)
    for layout in ("<L2Q", "<3L"):
        packed = struct.pack(layout, *values)
        for descriptor in (b"PK\7\10" + packed, packed):
            if archive[position : position + len(descriptor)] == descriptor:
                return position + len(descriptor)
    raise CorruptArchiveError(
        f"`{name}` says two things of `{row.member.path}`: its data descriptor differs from its directory row",
        hint=_AMBIGUOUS,
    )
