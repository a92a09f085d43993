"""
Lay a layer's zip out as parts that S3 can compose it of. Pure: sizes and digests in, extents out.

Every part but the last of a multipart upload must have at least 5 MiB, and segments are mostly smaller. So a large
segment is a part of its own, and the small ones, which come after it in the order of their names, are grouped.

Where groups end is decided by names, not by counting from the start, so that a change of one wheel moves no other
boundary: among the places that leave enough on both sides, the one whose name has the smallest hash is a boundary,
and so on within each half. A new version of a wheel keeps its name, and with it the boundaries, unless its size moves
one of them out of, or a better one into, the places that can be. Groups have 5 to 15 MiB, mostly less than 12.5.

The tail, which S3 gets anew each time, is the manifest and the central directory,
and the small segments too where all of them together are less than a part.
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
    """A run of whole segments, from byte *start* of the zip; other layers may have the same."""

    start: int
    extents: tuple[Extent, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(extent.size for extent in self.extents)

    @property
    def names(self) -> tuple[str, ...]:
        """The distributions in it."""
        return tuple(extent.name for extent in self.extents)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartLayout:
    """A zip as S3 is to compose it: *parts* in order, then the tail from byte *tail_start* on."""

    parts: tuple[Part, ...]
    tail_start: int
    zipped_bytes: int

    @property
    def tail_bytes(self) -> int:
        """What is always uploaded."""
        return self.zipped_bytes - self.tail_start


def layout_parts(extents: Sequence[Extent], zipped_bytes: int, limits: Quotas) -> PartLayout:
    """
    Return the parts of a zip of *zipped_bytes* that begins with *extents*.

    Raises ArchiveError where S3 would not take so many parts.
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
    # The tail is a part, too.
    if len(parts) >= limits.multipart_parts:
        raise ArchiveError(f"The layer would take {len(parts) + 1:,} parts, and S3 takes {limits.multipart_parts:,}")
    return PartLayout(parts=tuple(parts), tail_start=start, zipped_bytes=zipped_bytes)


def _groups(extents: Sequence[Extent], least: int) -> Iterator[Sequence[Extent]]:
    """Yield runs in the order of the zip; only the last may have less than *least*."""
    count = next((number for number, extent in enumerate(extents) if extent.size < least), len(extents))
    for extent in extents[:count]:
        yield [extent]
    if small := extents[count:]:
        yield from _split(small, least)


def _split(extents: Sequence[Extent], least: int) -> Iterator[Sequence[Extent]]:
    sizes = list(accumulate(extent.size for extent in extents))
    total = sizes[-1]
    # With less room than that, a few bytes more or less would make and unmake the boundary.
    if total < least * 2 + least // 2:
        yield extents
        return
    possible = [number for number, before in enumerate(sizes, 1) if before >= least and total - before >= least]
    if not possible:
        yield extents  # a segment of nearly a part's size fills the middle
        return
    boundary = min(possible, key=lambda number: (_rank(extents[number]), number))
    yield from _split(extents[:boundary], least)
    yield from _split(extents[boundary:], least)


def _rank(extent: Extent) -> bytes:
    return hashlib.sha256(extent.name.encode()).digest()
