"""
Reject zips that are malicious or ambiguous.

A zip is rejected if two programs could find different files in it, if a member could be written outside the extraction
directory, or if reading it could exhaust memory or disk. `lamina.archive.zip.directory` parses zips and calls these
checks. `lamina.core.paths` checks paths. Add new checks here.
The checks must be fast, so they test all central directory entries together, and test only unusual entries one by one.
Meaning of the fields: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.6 (read 2026-11).
"""

from __future__ import annotations

import stat
import struct
from typing import TYPE_CHECKING

from lamina.archive.zip.inflate import BROKEN_WHEEL_HINT
from lamina.archive.zip.zipformat import DEFLATED, DIRECTORY_ROW, MAX_BYTES, STORED, EndRecord, Row
from lamina.core.errors import (
    CorruptArchiveError,
    DuplicateMemberError,
    SuspiciousSizeError,
    UnsafeMemberError,
    UnsupportedMemberError,
)
from lamina.core.paths import clashes, flaw, flawless, printable, twins

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DATA_DESCRIPTOR = 1 << 3
"""The flag of a member whose sizes and CRC-32 follow its payload."""
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13  # encrypted, strongly encrypted, or encrypted header
_PATCHED = 1 << 5
# The compression level. It does not affect the content, and programs set it differently.
_COMPRESSION_HINTS = 1 << 1 | 1 << 2
_UNICODE_PATH = 0x7075
_FULL = EndRecord(0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
_REGULAR_FILE = stat.S_IFREG >> 9  # the mode without permissions
_SLASH = ord("/")

# The maximum ratio of deflate is 1:1032 (RFC 1951: a 258-byte match in two bits). A higher declared ratio is false.
_DEFLATE_RATIO = 1032
# Real wheels inflate by a factor of 2 to 10. A file that exceeds both limits is a zip bomb.
_BOMB_RATIO = 100
_BOMB_BYTES = 262_144_000

_AMBIGUOUS = "use another version of the distribution; programs would extract different files from this one"


def check_end_record(
    record: EndRecord, zip64: EndRecord | None, *, end: int, is_split: bool, name: str, most_rows: int
) -> None:
    """
    Reject end records that could lead two programs to different central directories.

    *end* is the offset where the central directory must end. *is_split* is true if *record* refers to other disks.
    Raises `CorruptArchiveError` for a contradiction, `UnsupportedMemberError` for a part of a split zip, and
    `SuspiciousSizeError` for more than *most_rows* entries.
    """
    if zip64 is not None:
        # Some programs always use the zip64 record, others only if the plain record has maximum values. Both must agree.
        if any(plain not in (value, full) for plain, value, full in zip(record, zip64, _FULL, strict=True)):
            raise CorruptArchiveError(
                f"`{name}` is inconsistent: its zip64 end record differs from its end record", hint=_AMBIGUOUS
            )
    elif is_split:
        raise UnsupportedMemberError(f"`{name}` is one part of a split zip", hint=BROKEN_WHEEL_HINT)
    here, rows, length, offset = zip64 or record
    if here != rows or offset + length != end or length < rows * DIRECTORY_ROW.size:
        raise CorruptArchiveError(
            f"`{name}` is inconsistent: its end record states a wrong position, size or number of entries",
            hint=_AMBIGUOUS,
        )
    if rows > most_rows:
        raise SuspiciousSizeError(
            f"`{name}` contains {rows:,} entries; lamina supports at most {most_rows:,}", hint=BROKEN_WHEEL_HINT
        )


def check_unicode_path(fields: Iterable[tuple[int, bytes]], path: bytes, *, name: str) -> None:
    """
    Reject a Unicode path in the extra *fields* that differs from the header's *path*: programs differ in which one they use.

    Raises `CorruptArchiveError`.
    """
    for kind, body in fields:
        # The path follows a version byte and the CRC-32 of the header's path.
        if kind == _UNICODE_PATH and body[5:] != path:
            first, second = (printable(each.decode("utf-8", "backslashreplace")) for each in (path, body[5:]))
            raise CorruptArchiveError(
                f"`{name}` is inconsistent: it stores two paths for one member, `{first}` and `{second}`",
                hint=_AMBIGUOUS,
            )


def check_rows(rows: Sequence[Row], *, name: str) -> None:
    """
    Reject unsafe *rows* of a central directory.

    Raises `UnsupportedMemberError` (encryption, patches, unknown compression methods), `UnsafeMemberError` (paths, symbolic
    links, devices), `DuplicateMemberError`, `CorruptArchiveError` (contradictory sizes) or `SuspiciousSizeError` (sizes that
    are impossible or exceed a limit). *name* is the zip's name in messages.
    """
    paths = [row[0][0] for row in rows]
    if not flawless(paths):
        _check_each_path(paths, name=name)
        _check_twins([row.name for row in rows], name=name)
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


def _check_each_path(paths: Iterable[str], *, name: str) -> None:
    for path in paths:
        if (reason := flaw(path.removesuffix("/"))) is not None:
            raise UnsafeMemberError(
                f"`{name}` has a member whose path {reason}: `{printable(path)}`", hint=BROKEN_WHEEL_HINT
            )


def _check_twins(paths: list[bytes], *, name: str) -> None:
    if found := twins(path for path in paths if path[-1] != _SLASH):
        listed = ", ".join(f"`{path}`" for path in found)
        raise DuplicateMemberError(
            f"`{name}` contains paths that differ only in the Unicode normalization of their characters: {listed}",
            hint=_AMBIGUOUS,
        )


def _check_attributes(row: Row, *, name: str) -> None:
    path, flags, method, kind = row.member.path, row.flags, row.member.method, stat.S_IFMT(row.mode)
    if kind == stat.S_IFLNK:
        raise UnsafeMemberError(f"`{name}` contains a symbolic link: `{path}`", hint=BROKEN_WHEEL_HINT)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnsafeMemberError(
            f"`{name}` has a member that is neither a file nor a directory: `{path}`", hint=BROKEN_WHEEL_HINT
        )
    if kind == stat.S_IFDIR and not path.endswith("/"):
        raise UnsafeMemberError(
            f"`{name}` has a member with the name of a file and the mode of a directory: `{path}`",
            hint=BROKEN_WHEEL_HINT,
        )
    if flags & _ENCRYPTED:
        raise UnsupportedMemberError(f"`{name}` has an encrypted member: `{path}`", hint=BROKEN_WHEEL_HINT)
    if flags & _PATCHED:
        raise UnsupportedMemberError(
            f"`{name}` has a member that is a patch to another file: `{path}`", hint=BROKEN_WHEEL_HINT
        )
    if method not in (STORED, DEFLATED):
        raise UnsupportedMemberError(
            f"`{name}` compresses `{path}` with method {method}; lamina supports only stored (0) and deflate (8)",
            hint=BROKEN_WHEEL_HINT,
        )


def _check_duplicates(names: list[bytes], *, name: str) -> None:
    directories = {each[:-1] for each in names if each[-1] == _SLASH}
    found = clashes([each for each in names if each[-1] != _SLASH] if directories else names)
    if twice := [clash.path.decode() for clash in found if not clash.is_directory]:
        listed = ", ".join(f"`{path}`" for path in twice)
        raise DuplicateMemberError(f"`{name}` contains duplicate paths: {listed}", hint=BROKEN_WHEEL_HINT)
    both = {clash.path for clash in found}
    if directories:
        both |= directories.intersection(names)
    if both:
        listed = ", ".join(f"`{path.decode()}`" for path in sorted(both))
        raise DuplicateMemberError(
            f"`{name}` contains paths that are both a file and a directory: {listed}", hint=BROKEN_WHEEL_HINT
        )


def _check_size(row: Row, *, name: str) -> None:
    path, _, method, _, compressed, size = row.member
    # An empty deflate stream has two bytes.
    if row.is_directory and (size or compressed > 2):
        raise CorruptArchiveError(f"`{name}` has a directory entry with content: `{path}`", hint=BROKEN_WHEEL_HINT)
    if method == STORED and size != compressed:
        raise CorruptArchiveError(
            f"`{name}` declares {size:,} bytes for the uncompressed `{path}` but stores {compressed:,}",
            hint=BROKEN_WHEEL_HINT,
        )
    if size > (compressed + 1) * _DEFLATE_RATIO:
        raise SuspiciousSizeError(
            f"`{name}` declares {size:,} bytes for `{path}`, more than {compressed:,} compressed bytes can contain",
            hint=BROKEN_WHEEL_HINT,
        )
    if max(size, compressed) > MAX_BYTES:
        raise SuspiciousSizeError(
            f"`{name}` declares {max(size, compressed):,} bytes for `{path}`; lamina supports at most {MAX_BYTES:,}",
            hint=BROKEN_WHEEL_HINT,
        )


def check_total(rows: Iterable[Row], *, name: str) -> None:
    """Raise `SuspiciousSizeError` if the sizes of all *rows* of the zip *name* together indicate a zip bomb."""
    total_compressed = sum(row[0][4] for row in rows)
    total_size = sum(row[0][5] for row in rows)
    if total_size > _BOMB_BYTES and total_size > total_compressed * _BOMB_RATIO:
        raise SuspiciousSizeError(
            f"`{name}` may be a zip bomb: {total_compressed:,} bytes inflate to {total_size:,}; "
            f"above {_BOMB_BYTES:,} bytes, lamina supports a factor of at most {_BOMB_RATIO}",
            hint=BROKEN_WHEEL_HINT,
        )


def misplaced(row: Row, free: int, *, name: str) -> CorruptArchiveError:
    """Return the error for a *row* whose member does not start at *free*, the end of the previous member."""
    path = row.member.path
    if row.offset < free:
        return CorruptArchiveError(f"`{name}` has overlapping members, including `{path}`", hint=BROKEN_WHEEL_HINT)
    if free == 0:
        return CorruptArchiveError(f"`{name}` has extra bytes before its first member", hint=BROKEN_WHEEL_HINT)
    return CorruptArchiveError(f"`{name}` has extra bytes before `{path}`", hint=BROKEN_WHEEL_HINT)


def check_local_header(
    row: Row, path: bytes, *, flags: int, method: int, stated: tuple[int, int, int], name: str
) -> None:
    """
    Reject a local header that differs from its central directory entry, *row*.

    *path*, *flags*, *method* and *stated* (CRC-32, compressed size and size) are the local header's fields. If a data
    descriptor follows, *stated* may be zeros. Raises `CorruptArchiveError`.
    """
    member = row.member
    # Programs that stream write the sizes and the CRC-32 after the payload, and zeros in the header.
    silent = flags & DATA_DESCRIPTOR and stated == (0, 0, 0)
    same = (
        path == row.name
        and method == member.method
        and (flags ^ row.flags) & ~_COMPRESSION_HINTS == 0
        and (silent or stated == (member.crc, member.compressed, member.size))
    )
    if not same:
        raise CorruptArchiveError(
            f"`{name}` is inconsistent: the local header of `{member.path}` differs from its central directory entry",
            hint=_AMBIGUOUS,
        )


def after_descriptor(archive: memoryview, position: int, row: Row, *, name: str) -> int:
    """
    Return the end of the data descriptor at *position*, or raise `CorruptArchiveError` if it differs from its *row*.

    A descriptor may have a signature, and 64-bit sizes. No field states which, so all four forms are tried.
    """
    values = (row.member.crc, row.member.compressed, row.member.size)
    for layout in ("<L2Q", "<3L"):
        packed = struct.pack(layout, *values)
        for descriptor in (b"PK\7\10" + packed, packed):
            if archive[position : position + len(descriptor)] == descriptor:
                return position + len(descriptor)
    raise CorruptArchiveError(
        f"`{name}` is inconsistent: the data descriptor of `{row.member.path}` differs from its central directory entry",
        hint=_AMBIGUOUS,
    )
