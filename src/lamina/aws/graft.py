"""
Make a part without sending all of it: S3 takes what stands in the layer that was published before, and only the rest is sent.

A part is a group of segments. When one of them changes the part is new, but the others stand in the layer before, and S3 copies ranges.
What keeps it from being one request is that every part of an upload but the last must have 5 MiB. So there is an upload for each
small piece, which comes last there, and the next upload begins with what that made::

    the layer before   ···[lead][kept]                [kept]···
    sent                    │     │     [new]            │
    first upload            └─────┴──┬────┘              │
    second upload                    [made]──────┬───────┘
    the part                               [without the lead]

The lead are whatever bytes stand before, or the layer's first ones, for no reason but to have 5 MiB. The part itself is one range of the last
upload, so its SHA-256 can be told from what S3 says of it. Planning is pure but for one look at that layer.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from lamina.aws.interfaces import CopySource
from lamina.aws.parallel import in_parallel
from lamina.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lamina.aws.interfaces import Objects, SentPart
    from lamina.aws.naming import Keys
    from lamina.aws.parts import Part
    from lamina.aws.record import Record
    from lamina.aws.source import Source

__all__ = ["Graft", "Grafting", "Kept", "Made", "New", "graft", "grafts"]

# An upload is several requests, one after the other: over most lines they take longer than to send half of that.
_WORTH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes of the layer that was published before."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class New:
    """Bytes to be sent, by their place in the new part."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Made:
    """Bytes of what the upload before made."""

    start: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Graft:
    """How a part comes into being."""

    key: str
    """Of the layer that was published before."""
    uploads: tuple[tuple[Kept | New | Made, ...], ...]
    """One after the other; what the last one makes is the part."""

    @property
    def sent_bytes(self) -> int:
        """What is sent."""
        return sum(piece.size for pieces in self.uploads for piece in pieces if isinstance(piece, New))


def graft(
    part: Part, before: Mapping[str, Kept], *, key: str, least: int, worth: int = _WORTH_BYTES
) -> Graft | None:
    """
    Return how *part* is made with what stands *before* in the layer at *key*, by the names of segments.

    Every piece of an upload but its last has *least* bytes, which that layer has, too. Return nothing where *worth* bytes for
    each upload would not be saved.
    """
    uploads = tuple(_uploads(_runs(part, before), part.size, least))
    found = Graft(key=key, uploads=uploads)
    return found if part.size - found.sent_bytes >= len(uploads) * worth else None


def _runs(part: Part, before: Mapping[str, Kept]) -> list[Kept | New]:
    """Return the part as what is kept and what is new, in turns unless it stood in another order."""
    runs: list[Kept | New] = []
    start = 0
    for stretch in part.stretches:
        found = before.get(stretch.segment) if stretch.segment else None
        kept = found if found is not None and found.size == stretch.size else None
        last = runs[-1] if runs else None
        if kept is None and isinstance(last, New):
            runs[-1] = New(last.start, last.size + stretch.size)
        elif kept is not None and isinstance(last, Kept) and last.start + last.size == kept.start:
            runs[-1] = Kept(last.start, last.size + kept.size)
        else:
            runs.append(kept or New(start, stretch.size))
        start += stretch.size
    return runs


def _uploads(runs: Sequence[Kept | New], size: int, least: int) -> Iterator[tuple[Kept | New | Made, ...]]:
    first, *others = runs
    if not others and isinstance(first, Kept):
        yield (first,)
        return
    begin, lead = _beginning(first, least)
    pieces: list[Kept | New | Made] = []
    total = 0
    for run in (*begin, *others):
        pieces.append(run)
        total += run.size
        if run.size < least:
            yield tuple(pieces)
            pieces = [Made(0, total)]
    if len(pieces) > 1 or not isinstance(pieces[0], Made):
        yield tuple(pieces)
    yield (Made(lead, size),)


def _beginning(first: Kept | New, least: int) -> tuple[tuple[Kept | New, ...], int]:
    """Return what to begin with, of which only the last piece may be small, and how much of that is the lead."""
    lacking = least - first.size
    if lacking <= 0:
        return (first,), 0
    if isinstance(first, Kept) and first.start >= lacking:
        return (Kept(first.start - lacking, least),), lacking
    return (Kept(0, least), first), least


def grafts(
    objects: Objects,
    keys: Keys,
    source: Source,
    missing: frozenset[str],
    record: Record | None,
    *,
    least: int,
) -> dict[str, Graft]:
    """
    Return by SHA-256 how those of the *missing* parts of *source* are made that need not be sent as a whole.

    *record* is that of the layer published before. There is nothing to return where that does not stand as it was recorded, and in a
    bucket with versions, where what is made on the way would stay. Only reads.
    """
    groups = [(sha256, part) for sha256, part in source.pieces() if sha256 in missing and len(part.stretches) > 1]
    if not groups or record is None or not record.segments or record.zipped_bytes < least:
        return {}
    starts = accumulate((size for _, size in record.segments), initial=0)
    before = {name: Kept(start, size) for (name, size), start in zip(record.segments, starts, strict=False)}
    key = keys.layer(record.digest)
    found = {sha256: made for sha256, part in groups if (made := graft(part, before, key=key, least=least)) is not None}
    if not found:
        return {}
    stored = objects.head(key)
    stands = stored is not None and stored.size == record.zipped_bytes and stored.version_id in (None, "null")
    return found if stands else {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Grafting:
    """A part of a layer, and the bucket in which S3 makes it."""

    objects: Objects
    keys: Keys
    source: Source
    part: Part
    advance: Callable[[int], None]
    """Told of the bytes that are sent."""
    check: Callable[[], None]
    """Called before each upload; may raise."""

    def perform(self, how: Graft, key: str) -> None:
        """
        Have S3 make the part at *key*; where something stands there already, that stays.

        Whether it became what it should, S3 has to be asked. Raises AwsError and its kinds, and leaves nothing of what was made on the way.
        """
        made: list[str] = []
        try:
            for number, pieces in enumerate(how.uploads, 1):
                self.check()
                before = made[-1] if made else ""
                target = key
                if number < len(how.uploads):
                    target = self.keys.graft(uuid.uuid4().hex)
                    made.append(target)
                self._upload(target, pieces, layer=how.key, before=before)
        finally:
            # What ended it is more interesting than that one of these stays: `lamina prune` finds it.
            with suppress(AwsError):
                in_parallel(self.objects.delete, made)

    def _upload(self, key: str, pieces: Sequence[Kept | New | Made], *, layer: str, before: str) -> None:
        upload = self.objects.begin(key)

        def bring(numbered: tuple[int, Kept | New | Made]) -> SentPart:
            number, piece = numbered
            if isinstance(piece, New):
                return self._send(key, upload, number, piece)
            origin = layer if isinstance(piece, Kept) else before
            copied = CopySource(number=number, key=origin, start=piece.start, size=piece.size)
            return self.objects.copy_part(key, upload, copied)

        done = False
        try:
            self.objects.complete(key, upload, in_parallel(bring, enumerate(pieces, 1)))
            done = True
        finally:
            if not done:
                # As above, and given up later.
                with suppress(AwsError):
                    self.objects.abort(key, upload)

    def _send(self, key: str, upload: str, number: int, piece: New) -> SentPart:
        sha256 = self.source.digest(self.part, start=piece.start, size=piece.size).hex()
        with self.source.open(self.part, start=piece.start, size=piece.size, advance=self.advance) as body:
            return self.objects.send_part(key, upload, number, body, sha256=sha256)
