"""
Read the rows of a zip's central directory as hostile input: every row checked, nothing inflated.

Field layout: PKWARE APPNOTE 6.3.10, sections 4.3.12 and 4.4 (read 2026-11).
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from lamina.archive.extras import FULL_32, check_unicode_path, zip64_values
from lamina.archive.paths import clashes, flaw, printable
from lamina.archive.zipformat import DEFLATED, DIRECTORY_ROW, MAX_BYTES, STORED, Member
from lamina.errors import (
    CorruptArchiveError,
    DuplicateMemberError,
    SuspiciousSizeError,
    UnsafeMemberError,
    UnsupportedMemberError,
)

if TYPE_CHECKING:
    from lamina.archive.endrecord import Span

__all__ = ["ENCRYPTED", "Row", "read_rows"]

ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
"""The flags of encryption: of the member, strong, and of its header."""
_PATCHED = 1 << 5

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
    data = bytes(directory)
    total = len(data)
    rows: list[Row] = []
    position = 0
    unpack = DIRECTORY_ROW.unpack_from
    for _ in range(span.rows):
        if total - position < DIRECTORY_ROW.size or data[position : position + 4] != b"PK\1\2":
            raise CorruptArchiveError(f"`{name}` has a damaged directory: row {len(rows) + 1} of {span.rows}")
        (
            _, _, _, flags, method, _, _, crc, compressed, size,
            name_length, extra_length, comment_length, _, _, attributes, offset,
        ) = unpack(data, position)  # fmt: skip
        start = position + DIRECTORY_ROW.size
        fields = data[position + 8 : position + 30]
        position = start + name_length
        raw = data[start:position]
        extra = data[position : position + extra_length]
        position += extra_length + comment_length
        if extra or FULL_32 in (size, compressed, offset):
            size, compressed, offset = zip64_values(extra, (size, compressed, offset), name=name)
            check_unicode_path(extra, raw, name=name)
        path = _path(raw, name=name)
        mode = attributes >> 16
        # What nearly every row looks like needs no closer look.
        if flags or mode & ~0o777 != stat.S_IFREG or method not in (STORED, DEFLATED) or path[-1] == "/":
            _check_attributes(path, flags=flags, method=method, mode=mode, name=name)
        rows.append(Row(Member(path, mode & 0o111 != 0, method, crc, compressed, size), offset, flags, raw, fields))
    if position != total:
        raise CorruptArchiveError(f"`{name}` has bytes in its directory that no row explains")
    _check_paths(rows, name=name)
    _check_sizes(rows, name=name)
    return tuple(rows)


def _path(raw: bytes, *, name: str) -> str:
    # The wheel format says that names are UTF-8, whether the zip flag for it is set or not
    # (packaging.python.org, binary distribution format, read 2026-11).
    try:
        path = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnsafeMemberError(f"`{name}` has a member whose name is not UTF-8: {raw!r}") from error
    if (reason := flaw(path.removesuffix("/"))) is not None:
        raise UnsafeMemberError(f"`{name}` has a member whose path {reason}: `{printable(path)}`")
    return path


def _check_attributes(path: str, *, flags: int, method: int, mode: int, name: str) -> None:
    kind = stat.S_IFMT(mode)
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


def _check_paths(rows: list[Row], *, name: str) -> None:
    found = clashes(row.name for row in rows if not row.is_directory)
    if twice := [clash.path.decode() for clash in found if not clash.is_directory]:
        raise DuplicateMemberError(f"`{name}` names a path twice: {', '.join(f'`{path}`' for path in twice)}")
    both = {clash.path for clash in found}
    if directories := {row.name[:-1] for row in rows if row.is_directory}:
        both |= directories & {row.name for row in rows}
    if both:
        listed = ", ".join(f"`{path.decode()}`" for path in sorted(both))
        raise DuplicateMemberError(f"`{name}` has paths that are both a file and a directory: {listed}")


def _check_sizes(rows: list[Row], *, name: str) -> None:
    total_compressed = total_size = 0
    for row in rows:
        path, _, method, _, compressed, size = row.member
        total_compressed += compressed
        total_size += size
        # An empty deflate stream is two bytes long.
        if row.name.endswith(b"/") and (size or compressed > 2):
            raise CorruptArchiveError(f"`{name}` has a directory entry with content: `{path}`")
        if method == STORED and size != compressed:
            raise CorruptArchiveError(f"`{name}` stores `{path}` in another size than it declares")
        if size > (compressed + 1) * _DEFLATE_RATIO:
            raise SuspiciousSizeError(
                f"`{name}` declares {size:,} bytes for `{path}`, more than {compressed:,} bytes of deflate can hold",
            )
        if max(size, compressed) > MAX_BYTES:
            raise SuspiciousSizeError(f"`{name}` declares {size:,} bytes for `{path}`, more than a layer can ever hold")
    if total_size > _BOMB_BYTES and total_size > total_compressed * _BOMB_RATIO:
        raise SuspiciousSizeError(
            f"`{name}` would inflate from {total_compressed:,} to {total_size:,} bytes: no real distribution does",
        )
