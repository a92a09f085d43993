"""
Divide a layer's zip into parts, from which S3 can compose it. This module does no input or output.

In a multipart upload, every part except the last must have at least 5 MiB, and most segments are smaller. So each large
segment is its own part. The small segments follow in the order of their names, and are grouped into parts.

Names decide where a group ends, not positions, so that a change of one wheel moves no other boundary. Among the positions that
leave enough bytes on both sides, the segment whose name has the smallest hash becomes a boundary. Each side is divided again in
the same way. A new version of a wheel has the same name, so the boundaries stay, unless its size makes another set of positions
possible. Groups have 5 to 15 MiB, mostly less than 12.5 MiB.

The rest of the zip is the tail, which is uploaded every time: the manifest and the central directory, and also the small segments if
all of them together have less than 5 MiB.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from lamina.core.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.core.target import Quotas
    from lamina.core.values import Extent


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A sequence of whole segments that begins at byte *start* of the zip. Several layers may share a part."""

    start: int
    extents: tuple[Extent, ...]

    @property
    def size(self) -> int:
        """The part's size in bytes."""
        return sum(extent.size for extent in self.extents)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the distributions in the part."""
        return tuple(extent.name for extent in self.extents)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartLayout:
    """The division of a zip: its *parts* in order, then the tail, which begins at byte *tail_start*."""

    parts: tuple[Part, ...]
    tail_start: int
    zipped_bytes: int

    @property
    def tail_bytes(self) -> int:
        """The size in bytes of the tail, which is always uploaded."""
        return self.zipped_bytes - self.tail_start


def layout_parts(extents: Sequence[Extent], zipped_bytes: int, limits: Quotas) -> PartLayout:
    """
    Divide a zip of *zipped_bytes* bytes into parts. *extents* are its segments, from the first byte of the zip.

    Raises `ArchiveError` if the number of parts, including the tail, exceeds S3's limit.
    """
    least = limits.multipart_part_bytes
    parts: list[Part] = []
    start = 0
    for group in _groups(extents, least):
        part = Part(start=start, extents=tuple(group))
        if part.size < least:
            break
        parts.append(part)
        start += part.size
    # The tail counts as a part.
    if len(parts) >= limits.multipart_parts:
        raise ArchiveError(
            f"the layer would need {len(parts) + 1:,} parts; S3's limit for an upload is {limits.multipart_parts:,} parts"
        )
    return PartLayout(parts=tuple(parts), tail_start=start, zipped_bytes=zipped_bytes)


def _groups(extents: Sequence[Extent], least: int) -> Iterator[Sequence[Extent]]:
    """Yield groups of segments in the order of the zip. Only the last group may have less than *least* bytes."""
    count = next((number for number, extent in enumerate(extents) if extent.size < least), len(extents))
    for extent in extents[:count]:
        yield [extent]
    if small := extents[count:]:
        yield from _split(small, least)


def _split(extents: Sequence[Extent], least: int) -> Iterator[Sequence[Extent]]:
    sizes = list(accumulate(extent.size for extent in extents))
    total = sizes[-1]
    # With less room, a change of a few bytes would add or remove the boundary.
    if total < least * 2 + least // 2:
        yield extents
        return
    possible = [number for number, before in enumerate(sizes, 1) if before >= least and total - before >= least]
    if not possible:
        yield extents  # one segment, almost as large as a part, fills the middle
        return
    boundary = min(possible, key=lambda number: (_rank(extents[number]), number))
    yield from _split(extents[:boundary], least)
    yield from _split(extents[boundary:], least)


def _rank(extent: Extent) -> bytes:
    return hashlib.sha256(extent.name.encode()).digest()
