"""
A remote segment: what is known of a segment whose bytes are in a bucket, enough to put it into a layer.

Its description travels through a bucket, so reading one is reading hostile input: whatever lamina would not have written is refused.
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

_VERSION = 1
_PLAIN = {"name": str, "sha256": str, "entries_bytes": int, "crc32": int, "rows": int, "unzipped_bytes": int}
# What the checks of finished layers read: requirements, and what leads out of the layer. All of it is small.
_READ_BY_CHECKS = re.compile(r"(?:.*/)?[^/]+\.dist-info/(?:METADATA|direct_url\.json)|.*\.pth")
_ENTRY_BYTES = 256 << 10
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OBJECT = re.compile(r"parts/[0-9a-f]{64}|layers/[0-9a-f]{64}\.zip")


@frozen
class SegmentLocation:
    """Where a segment's bytes are in a bucket: the key below lamina's prefix, and the first byte in that object."""

    key: str
    start: int


@frozen
class LocalEntry:
    """A member's local header and payload, and where they begin in the segment."""

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
    location: SegmentLocation
    entries: tuple[LocalEntry, ...] = ()
    """Those whose content is looked at when a layer is checked."""

    def segment(self, path: Path) -> Segment:
        """Return the segment of a layer. *path* is where a store would keep it; no file exists there."""
        return Segment(
            path=path,
            entries_bytes=self.entries_bytes,
            crc32=self.crc32,
            rows=self.rows,
            unzipped_bytes=self.unzipped_bytes,
            directory=self.directory,
        )


def describe(
    name: str, file: BinaryIO, span: tuple[int, int], directory: bytes, location: SegmentLocation
) -> RemoteSegment:
    """
    Return the description of the segment *name*, which the unbuffered *file* has in *span*: the first byte, and how many.

    *directory* are its rows. Raises CorruptArchiveError for a file that ends before.
    """
    start, size = span
    digest, crc32 = hashlib.sha256(), 0
    for piece in read_pieces(file, start, size):
        digest.update(piece)
        crc32 = zlib.crc32(piece, crc32)
    members = list(own_rows(directory))
    entries = tuple(
        LocalEntry(start=offset, content=read_at(file, start + offset, _entry_bytes(member)))
        for member, offset in members
        if _READ_BY_CHECKS.fullmatch(member.path) and _entry_bytes(member) <= _ENTRY_BYTES
    )
    return RemoteSegment(
        name=name,
        sha256=digest.hexdigest(),
        entries_bytes=size,
        crc32=crc32,
        rows=len(members),
        unzipped_bytes=sum(member.size for member, _ in members),
        directory=directory,
        location=location,
        entries=entries,
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


def encode(segment: RemoteSegment) -> bytes:
    """Return *segment* as a bucket keeps it, uncompressed: one line of JSON, the rows, and the local entries."""
    description = {name: getattr(segment, name) for name in _PLAIN} | {
        "version": _VERSION,
        "standing": [segment.location.key, segment.location.start],
        "directory_bytes": len(segment.directory),
        "excerpts": [[each.start, len(each.content)] for each in segment.entries],
    }
    line = json.dumps(description, sort_keys=True, separators=(",", ":")).encode()
    return b"".join([line, b"\n", segment.directory, *(each.content for each in segment.entries)])


def decode(content: bytes, name: str) -> RemoteSegment | None:
    """Return the remote segment *name* in *content*, or nothing where it is not one that lamina would have written."""
    try:
        return _decoded(content, name)
    except (ArchiveError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
        return None


def _decoded(content: bytes, name: str) -> RemoteSegment:
    line, _, rest = content.partition(b"\n")
    row: dict[str, Any] = json.loads(line)
    key, start = row["standing"]
    length = int(row["directory_bytes"])
    directory, position = rest[:length], length
    entries = []
    for offset, size in row["excerpts"]:
        entries.append(LocalEntry(start=int(offset), content=rest[position : position + int(size)]))
        position += int(size)
    segment = RemoteSegment(
        **{name: kind(row[name]) for name, kind in _PLAIN.items()},
        directory=directory,
        location=SegmentLocation(key=str(key), start=int(start)),
        entries=tuple(entries),
    )
    if row["version"] != _VERSION or position != len(rest) or segment.name != name:
        raise ValueError(name)
    _check(segment)
    return segment


def _check(segment: RemoteSegment) -> None:
    """Raise ArchiveError or ValueError unless the rows are exactly those that lamina writes for these bytes, without gaps."""
    whole = Span(0, len(segment.directory), segment.rows)
    rows = read_rows(segment.directory, span=whole, name=segment.name)
    local_headers: dict[int, bytes] = {}
    written: list[bytes] = []
    position = 0
    for row in rows:
        if not row.member.path.startswith(PREFIX) or row.is_directory:
            raise ValueError(row.member.path)
        header, expected = headers(row.member, position)
        written.append(expected)
        local_headers[position] = header
        position += _entry_bytes(row.member)
    sizes = {start: end - start for start, end in zip(local_headers, [*list(local_headers)[1:], position], strict=True)}
    fine = (
        b"".join(written) == segment.directory
        and 0 < position == segment.entries_bytes <= MAX_BYTES
        and segment.unzipped_bytes == sum(row.member.size for row in rows)
        and _SHA256.fullmatch(segment.sha256) is not None
        and 0 <= segment.crc32 <= 0xFFFFFFFF
        and _OBJECT.fullmatch(segment.location.key) is not None
        and 0 <= segment.location.start <= MAX_BYTES
        and all(
            len(each.content) == sizes.get(each.start) and each.content.startswith(local_headers[each.start])
            for each in segment.entries
        )
    )
    if not fine:
        raise ValueError(segment.name)


def _entry_bytes(member: Member) -> int:
    return LOCAL_HEADER.size + len(member.path.encode()) + member.compressed
