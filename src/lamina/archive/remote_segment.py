"""
What has to be known of a segment to put it into a layer without having its bytes: its directory, and where the bytes stand.

A fragment travels through a bucket, so reading one is reading hostile input: whatever lamina would not have written is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

from lamina.archive.segment import Segment
from lamina.archive.zip.copying import read_at, read_pieces
from lamina.archive.zip.directory import Span, read_rows
from lamina.archive.zip.zipformat import DIRECTORY_ROW, LOCAL_HEADER, MAX_BYTES, headers, own_rows, rebase
from lamina.core.errors import ArchiveError
from lamina.core.frozen import frozen
from lamina.core.paths import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import BinaryIO

    from lamina.archive.zip.zipformat import Member

__all__ = ["Excerpt", "RemoteSegment", "SegmentLocation", "decode", "describe", "encode", "rows_between"]

_VERSION = 1
# What the checks of finished layers read: requirements, and what leads out of the layer. All of it is small.
_READ_BY_CHECKS = re.compile(r"(?:.*/)?[^/]+\.dist-info/(?:METADATA|direct_url\.json)|.*\.pth")
_EXCERPT_BYTES = 256 << 10
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OBJECT = re.compile(r"parts/[0-9a-f]{64}|layers/[0-9a-f]{64}\.zip")


@frozen
class SegmentLocation:
    """Where a segment's bytes stand in a bucket: below lamina's prefix, the key, and the first byte in that object."""

    key: str
    start: int


@frozen
class Excerpt:
    """A local entry, header included, and where it begins in its segment."""

    start: int
    content: bytes


@frozen
class RemoteSegment:
    """A segment without its bytes."""

    name: str
    """That of the segment in every store."""
    sha256: str
    """Of the local entries."""
    entries_bytes: int
    crc32: int
    """Of the local entries."""
    rows: int
    unzipped_bytes: int
    directory: bytes
    """The directory rows, with offsets from zero."""
    standing: SegmentLocation
    excerpts: tuple[Excerpt, ...] = ()
    """The members whose content is looked at when a layer is checked."""

    def segment(self, path: Path) -> Segment:
        """Return what a layer is composed of; nothing stands at *path*, where a store would have it."""
        return Segment(
            path=path,
            entries_bytes=self.entries_bytes,
            crc32=self.crc32,
            rows=self.rows,
            unzipped_bytes=self.unzipped_bytes,
            directory=self.directory,
        )


def describe(
    name: str, file: BinaryIO, span: tuple[int, int], directory: bytes, standing: SegmentLocation
) -> RemoteSegment:
    """
    Return the fragment of the segment *name*, which the unbuffered *file* has in *span*: the first byte, and how many.

    *directory* are its rows. Raises CorruptArchiveError for a file that ends before.
    """
    start, size = span
    digest, crc32 = hashlib.sha256(), 0
    for piece in read_pieces(file, start, size):
        digest.update(piece)
        crc32 = zlib.crc32(piece, crc32)
    members = list(own_rows(directory))
    excerpts = tuple(
        Excerpt(start=offset, content=read_at(file, start + offset, _entry_bytes(member)))
        for member, offset in members
        if _READ_BY_CHECKS.fullmatch(member.path) and _entry_bytes(member) <= _EXCERPT_BYTES
    )
    return RemoteSegment(
        name=name,
        sha256=digest.hexdigest(),
        entries_bytes=size,
        crc32=crc32,
        rows=len(members),
        unzipped_bytes=sum(member.size for member, _ in members),
        directory=directory,
        standing=standing,
        excerpts=excerpts,
    )


def rows_between(directory: bytes, spans: Iterable[tuple[int, int]]) -> list[bytes]:
    """
    Return the rows of a zip's own *directory*, one group for each span of bytes, with offsets from the span's start.

    *spans* are starts and sizes, which follow each other from the zip's first byte on, as do the rows.
    """
    found: list[bytes] = []
    position = 0
    for start, size in spans:
        first = position
        while position < len(directory):
            fields = DIRECTORY_ROW.unpack_from(directory, position)
            if fields[16] >= start + size:
                break
            position += DIRECTORY_ROW.size + fields[10]
        found.append(bytes(rebase(directory[first:position], -start)))
    return found


def encode(fragment: RemoteSegment) -> bytes:
    """Return *fragment* as a bucket keeps it, uncompressed: one line of JSON, the rows, and the excerpts."""
    description = {
        "version": _VERSION,
        "name": fragment.name,
        "sha256": fragment.sha256,
        "entries_bytes": fragment.entries_bytes,
        "crc32": fragment.crc32,
        "rows": fragment.rows,
        "unzipped_bytes": fragment.unzipped_bytes,
        "standing": [fragment.standing.key, fragment.standing.start],
        "directory_bytes": len(fragment.directory),
        "excerpts": [[each.start, len(each.content)] for each in fragment.excerpts],
    }
    line = json.dumps(description, sort_keys=True, separators=(",", ":")).encode()
    return b"".join([line, b"\n", fragment.directory, *(each.content for each in fragment.excerpts)])


def decode(content: bytes, name: str) -> RemoteSegment | None:
    """Return the fragment of the segment *name* in *content*, or nothing where it is not one that lamina would have written."""
    try:
        return _decoded(content, name)
    except (ArchiveError, KeyError, TypeError, ValueError):
        return None


def _decoded(content: bytes, name: str) -> RemoteSegment:
    line, _, rest = content.partition(b"\n")
    row: dict[str, Any] = json.loads(line)
    key, start = row["standing"]
    length = int(row["directory_bytes"])
    directory, position = rest[:length], length
    excerpts = []
    for offset, size in row["excerpts"]:
        excerpts.append(Excerpt(start=int(offset), content=rest[position : position + int(size)]))
        position += int(size)
    fragment = RemoteSegment(
        name=str(row["name"]),
        sha256=str(row["sha256"]),
        entries_bytes=int(row["entries_bytes"]),
        crc32=int(row["crc32"]),
        rows=int(row["rows"]),
        unzipped_bytes=int(row["unzipped_bytes"]),
        directory=directory,
        standing=SegmentLocation(key=str(key), start=int(start)),
        excerpts=tuple(excerpts),
    )
    if row["version"] != _VERSION or position != len(rest) or fragment.name != name:
        raise ValueError(name)
    _check(fragment)
    return fragment


def _check(fragment: RemoteSegment) -> None:
    """Raise ArchiveError or ValueError unless the rows are exactly those that lamina writes for these bytes, without gaps."""
    whole = Span(0, len(fragment.directory), fragment.rows)
    rows = read_rows(fragment.directory, span=whole, name=fragment.name)
    entries: dict[int, bytes] = {}
    written: list[bytes] = []
    position = 0
    for row in rows:
        if not row.member.path.startswith(PREFIX) or row.is_directory:
            raise ValueError(row.member.path)
        header, expected = headers(row.member, position)
        written.append(expected)
        entries[position] = header
        position += _entry_bytes(row.member)
    sizes = {start: end - start for start, end in zip(entries, [*list(entries)[1:], position], strict=True)}
    fine = (
        b"".join(written) == fragment.directory
        and 0 < position == fragment.entries_bytes <= MAX_BYTES
        and fragment.unzipped_bytes == sum(row.member.size for row in rows)
        and _SHA256.fullmatch(fragment.sha256) is not None
        and 0 <= fragment.crc32 <= 0xFFFFFFFF
        and _OBJECT.fullmatch(fragment.standing.key) is not None
        and 0 <= fragment.standing.start <= MAX_BYTES
        and all(
            len(each.content) == sizes.get(each.start) and each.content.startswith(entries[each.start])
            for each in fragment.excerpts
        )
    )
    if not fine:
        raise ValueError(fragment.name)


def _entry_bytes(member: Member) -> int:
    return LOCAL_HEADER.size + len(member.path.encode()) + member.compressed
