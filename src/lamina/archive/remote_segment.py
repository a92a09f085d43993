"""
Describe segments in a bucket, so that lamina can use them in a layer without downloading them.

Other users can write to the bucket, so a description is untrusted input. `decode` rejects every description that lamina
would not have written.
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
# Files that the checks of finished layers read: requirements, and files that can refer to paths outside the layer.
# All of them are small.
_READ_BY_CHECKS = re.compile(r"(?:.*/)?[^/]+\.dist-info/(?:METADATA|direct_url\.json)|.*\.pth")
_ENTRY_BYTES = 256 << 10
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OBJECT = re.compile(r"parts/[0-9a-f]{64}|layers/[0-9a-f]{64}\.zip")


@frozen
class SegmentLocation:
    """The location of a segment in a bucket: the object's key without lamina's prefix, and the offset in bytes."""

    key: str
    start: int


@frozen
class LocalEntry:
    """The local header and payload of one member, and their offset in the segment in bytes."""

    start: int
    content: bytes


@frozen
class RemoteSegment:
    """The description of a segment in a bucket. Of the local entries, it contains only those that checks read."""

    name: str
    """The segment's name, the same in every store."""
    sha256: str
    """The SHA-256 of the local entries."""
    entries_bytes: int
    crc32: int
    """The CRC-32 of the local entries."""
    rows: int
    unzipped_bytes: int
    directory: bytes
    """The central directory entries, with offsets from the segment's start."""
    location: SegmentLocation
    entries: tuple[LocalEntry, ...] = ()
    """The local entries that checks of a finished layer read: small files such as METADATA."""

    def segment(self, path: Path) -> Segment:
        """Return the segment for use in a layer. *path* is its path in a store, but the file need not exist."""
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
    Return the description of the segment *name* in the unbuffered *file*.

    *span* is the offset and the size of the local entries in bytes. *directory* contains the central directory entries, with
    offsets from the segment's start. *location* is where the bucket has the segment.
    Raises `CorruptArchiveError` if the file ends before the span.
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
    Split a zip's central *directory* into the entries of each span, with offsets from the start of the span.

    *spans* contains offsets and sizes in bytes. The spans and the entries are in the order of the zip, without gaps.
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
    """Serialise *segment*: a line of JSON, the central directory entries, then the local entries that checks read."""
    description = {name: getattr(segment, name) for name in _PLAIN} | {
        "version": _VERSION,
        "standing": [segment.location.key, segment.location.start],
        "directory_bytes": len(segment.directory),
        "excerpts": [[each.start, len(each.content)] for each in segment.entries],
    }
    line = json.dumps(description, sort_keys=True, separators=(",", ":")).encode()
    return b"".join([line, b"\n", segment.directory, *(each.content for each in segment.entries)])


def decode(content: bytes, name: str) -> RemoteSegment | None:
    """Parse the remote segment *name* from *content*. Return ``None`` if lamina would not have written *content*."""
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
    """
    Check that lamina could have written *segment*.

    The central directory must be exactly the one that lamina writes for these members. All other values must fit it or have
    a valid form. Raises `ArchiveError` or `ValueError` otherwise.
    """
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
