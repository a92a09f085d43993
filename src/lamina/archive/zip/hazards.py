"""
Read the rows of a zip's central directory as hostile input: every row checked, nothing inflated.

Field layout: PKWARE APPNOTE 6.3.10, sections 4.3.12 and 4.4 (read 2026-11).
"""

from __future__ import annotations

import stat
import struct
from typing import TYPE_CHECKING, NamedTuple

from lamina.archive.zip.extras import FULL_32, check_unicode_path, zip64_values
from lamina.archive.zip.zipformat import DEFLATED, MAX_BYTES, STORED, Member
from lamina.core.errors import (
    CorruptArchiveError,
    DuplicateMemberError,
    SuspiciousSizeError,
    UnsafeMemberError,
    UnsupportedMemberError,
)
from lamina.core.paths import clashes, flaw, flawless, printable

if TYPE_CHECKING:
    from lamina.archive.zip.endrecord import Span

__all__ = ["ENCRYPTED", "Row", "read_rows"]

ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
"""The flags of encryption: of the member, strong, and of its header."""
_PATCHED = 1 << 5

# DIRECTORY_ROW without the fields that say nothing here: signature, flags, method, CRC-32, compressed, size, name, extra and comment
# lengths, external attributes, offset of the local header.
_ROW = struct.Struct("<4s4x2H4x3L3H4x2L")
_ROW_BYTES = _ROW.size
_REGULAR_FILE = stat.S_IFREG >> 9  # the mode without permissions; it stands in the upper half of the attributes
_ANYBODY_EXECUTES = 0o111 << 16
_SLASH = ord("/")

# Deflate cannot do better than 1:1032 (RFC 1951: a 258-byte match in two bits), so a row that says so is a lie.
_DEFLATE_RATIO = 1032
# Real wheels inflate by a factor of 2 to 10. Past both of these bounds the file was made to exhaust its reader.
_BOMB_RATIO = 100
_BOMB_BYTES = 262_144_000


class Row(NamedTuple):
    """A row of the central directory: of a file, or of a directory, whose path ends with a slash."""

    member: Member
    offset: int
    """Where its local header starts, in bytes."""
    flags: int
    name: bytes
    """The path as it stands in the archive."""
    fields: bytes
    """The raw fields that its local header repeats, from the flags to the length of the name."""

    @property
    def is_directory(self) -> bool:
        """Whether there is no file in it."""
        return self.name.endswith(b"/")


def read_rows(directory: bytes | memoryview, *, span: Span, name: str) -> tuple[Row, ...]:
    """
    Parse and check the rows of a central *directory*, those of directories included; *name* is for messages.

    Raises CorruptArchiveError, UnsupportedMemberError (encryption, other codecs), UnsafeMemberError (paths, symbolic
    links, devices), DuplicateMemberError and SuspiciousSizeError, each naming the archive and the member.
    """
    rows: list[Row] = []
    try:
        unusual = _parse(bytes(directory), span, rows, name=name)
    except struct.error as error:
        raise _damaged(len(rows), span, name=name) from error
    except UnicodeDecodeError as error:
        raise UnsafeMemberError(f"`{name}` has a member whose name is not UTF-8: {error.object!r}") from error
    paths = [row[0][0] for row in rows]
    if not flawless(paths):
        _check_each(paths, name=name)
    for number, mode in unusual:
        _check_attributes(rows[number], mode=mode, name=name)
    _check_paths([row.name for row in rows], name=name)
    for number, _ in unusual:
        _check_size(rows[number], name=name)
    _check_total(rows, name=name)
    return tuple(rows)


def _parse(data: bytes, span: Span, rows: list[Row], *, name: str) -> list[tuple[int, int]]:
    """
    Append what stands in *data* to *rows*, and return number and mode of each row that needs a closer look.

    Raises CorruptArchiveError; struct.error for a row that breaks off, and UnicodeDecodeError for a path that is not UTF-8.
    """
    position = 0
    unusual: list[tuple[int, int]] = []
    # This runs for every member of every wheel: what looks like nearly all of them needs no closer look,
    # and calling the tuples' classes by their names takes twice as long.
    unpack, new = _ROW.unpack_from, tuple.__new__
    for number in range(span.rows):
        signature, flags, method, crc, compressed, size, name_bytes, extra_bytes, comment_bytes, attributes, offset = (
            unpack(data, position)
        )
        if signature != b"PK\1\2":
            raise _damaged(number, span, name=name)
        start = position + _ROW_BYTES
        fields = data[position + 8 : position + 30]
        position = start + name_bytes
        raw = data[start:position]
        if extra_bytes or FULL_32 in (size, compressed, offset):
            extra = data[position : position + extra_bytes]
            size, compressed, offset = zip64_values(extra, (size, compressed, offset), name=name)
            check_unicode_path(extra, raw, name=name)
        position += extra_bytes + comment_bytes
        if (
            flags
            or extra_bytes
            or attributes >> 25 != _REGULAR_FILE
            or size > compressed * _DEFLATE_RATIO
            or (method != DEFLATED and (method != STORED or size != compressed))
            or raw[-1:] == b"/"
        ):
            unusual.append((number, attributes >> 16))
        # The wheel format says that names are UTF-8, whether the zip flag for it is set or not
        # (packaging.python.org, binary distribution format, read 2026-11).
        member = new(Member, (raw.decode(), attributes & _ANYBODY_EXECUTES != 0, method, crc, compressed, size))
        rows.append(new(Row, (member, offset, flags, raw, fields)))
    if position != len(data):
        raise CorruptArchiveError(f"`{name}` has bytes in its directory that no row explains")
    return unusual


def _damaged(number: int, span: Span, *, name: str) -> CorruptArchiveError:
    return CorruptArchiveError(f"`{name}` has a damaged directory: row {number + 1} of {span.rows}")


def _check_each(paths: list[str], *, name: str) -> None:
    for path in paths:
        if (reason := flaw(path.removesuffix("/"))) is not None:
            raise UnsafeMemberError(f"`{name}` has a member whose path {reason}: `{printable(path)}`")


def _check_attributes(row: Row, *, mode: int, name: str) -> None:
    path, flags, method, kind = row.member.path, row.flags, row.member.method, stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        raise UnsafeMemberError(f"`{name}` has a symbolic link: `{path}`")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnsafeMemberError(f"`{name}` has a member that is neither file nor directory: `{path}`")
    if kind == stat.S_IFDIR and not path.endswith("/"):
        raise UnsafeMemberError(
            f"`{name}` has a member that is a file by its name and a directory by its mode: `{path}`"
        )
    if flags & ENCRYPTED:
        raise UnsupportedMemberError(f"`{name}` has an encrypted member: `{path}`")
    if flags & _PATCHED:
        raise UnsupportedMemberError(f"`{name}` has a member that is a patch to another file: `{path}`")
    if method not in (STORED, DEFLATED):
        raise UnsupportedMemberError(
            f"`{name}` compresses `{path}` with method {method}, and only stored (0) and deflate (8) are accepted",
        )


def _check_paths(names: list[bytes], *, name: str) -> None:
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


def _check_total(rows: list[Row], *, name: str) -> None:
    total_compressed = sum(row[0][4] for row in rows)
    total_size = sum(row[0][5] for row in rows)
    if total_size > _BOMB_BYTES and total_size > total_compressed * _BOMB_RATIO:
        raise SuspiciousSizeError(
            f"`{name}` would inflate from {total_compressed:,} to {total_size:,} bytes: no real distribution does",
        )
