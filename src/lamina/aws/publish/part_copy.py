"""
Make a part without sending all of it: S3 takes what stands in the layer that was published before, or elsewhere in the bucket, and only
the rest is sent.

A part is a group of segments. When one of them changes the part is new, but the others stand in the layer before, and S3 copies ranges.
What is not there may have come into the bucket with another service's layer, and the shelf says where.
What keeps it from being one request is that every part of an upload but the last must have 5 MiB. So there is an upload for each
small piece, which comes last there, and the next upload begins with what that made::

    the layer before   ···[lead][kept]                [kept]···
    sent                    │     │     [new]            │
    first upload            └─────┴──┬────┘              │
    second upload                    [made]──────┬───────┘
    the part                               [without the lead]

The lead are whatever bytes stand before, or an object's first ones, for no reason but to have 5 MiB. The part itself is one range of the last
upload, so its SHA-256 can be told from what S3 says of it. Planning only reads.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.archive.remote_segment import decode
from lamina.aws.api.parallel import in_parallel
from lamina.aws.api.protocols import CopySource
from lamina.aws.publish.remote.index import RemoteIndex
from lamina.core.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lamina.aws.api.protocols import Objects, SentPart
    from lamina.aws.publish.manifest import Record
    from lamina.aws.publish.naming import Keys
    from lamina.aws.publish.parts import Part
    from lamina.aws.publish.zip_source import LayerZip

__all__ = [
    "ExistingRange",
    "NewRange",
    "PartCopier",
    "PartCopy",
    "PreviousUpload",
    "plan_part_copies",
    "plan_part_copy",
]

# An upload is several requests, one after the other: over most lines they take longer than to send half of that.
_WORTH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ExistingRange:
    """Bytes that stand in the bucket: the object's key, the first byte, and how many."""

    key: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class NewRange:
    """Bytes to be sent, by their place in the new part."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class PreviousUpload:
    """Bytes of what the upload before made."""

    start: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCopy:
    """How a part comes into being."""

    uploads: tuple[tuple[ExistingRange | NewRange | PreviousUpload, ...], ...]
    """One after the other; what the last one makes is the part."""

    @property
    def sent_bytes(self) -> int:
        """What is sent."""
        return sum(piece.size for pieces in self.uploads for piece in pieces if isinstance(piece, NewRange))


def plan_part_copy(
    part: Part, standing: Mapping[str, ExistingRange], *, least: int, worth: int = _WORTH_BYTES
) -> PartCopy | None:
    """
    Return how *part* is made with what is *standing* in the bucket, by the names of segments.

    Every piece of an upload but its last has *least* bytes, which the objects there have, too. Return nothing where *worth* bytes for
    each upload would not be saved.
    """
    uploads = tuple(_uploads(_runs(part, standing), part.size, least))
    found = PartCopy(uploads=uploads)
    return found if part.size - found.sent_bytes >= len(uploads) * worth else None


def _runs(part: Part, standing: Mapping[str, ExistingRange]) -> list[ExistingRange | NewRange]:
    """Return the part as what is kept and what is new, in as few pieces as can be."""
    runs: list[ExistingRange | NewRange] = []
    start = 0
    for extent in part.extents:
        found = standing.get(extent.segment) if extent.segment else None
        kept = found if found is not None and found.size == extent.size else None
        last = runs[-1] if runs else None
        if kept is None and isinstance(last, NewRange):
            runs[-1] = NewRange(last.start, last.size + extent.size)
        elif (
            kept is not None
            and isinstance(last, ExistingRange)
            and (last.key, last.start + last.size) == (kept.key, kept.start)
        ):
            runs[-1] = ExistingRange(last.key, last.start, last.size + kept.size)
        else:
            runs.append(kept or NewRange(start, extent.size))
        start += extent.size
    return runs


def _uploads(
    runs: Sequence[ExistingRange | NewRange], size: int, least: int
) -> Iterator[tuple[ExistingRange | NewRange | PreviousUpload, ...]]:
    first, *others = runs
    key = next((run.key for run in runs if isinstance(run, ExistingRange)), None)
    if key is None or (not others and isinstance(first, ExistingRange)):
        yield (first,)
        return
    begin, lead = _beginning(first, key, least)
    pieces: list[ExistingRange | NewRange | PreviousUpload] = []
    total = 0
    for run in (*begin, *others):
        pieces.append(run)
        total += run.size
        if run.size < least:
            yield tuple(pieces)
            pieces = [PreviousUpload(0, total)]
    if len(pieces) > 1 or not isinstance(pieces[0], PreviousUpload):
        yield tuple(pieces)
    yield (PreviousUpload(lead, size),)


def _beginning(
    first: ExistingRange | NewRange, key: str, least: int
) -> tuple[tuple[ExistingRange | NewRange, ...], int]:
    """
    Return what to begin with, of which only the last piece may be small, and how much of that is the lead.

    The lead may come from the object at *key*.
    """
    lacking = least - first.size
    if lacking <= 0:
        return (first,), 0
    if isinstance(first, ExistingRange) and first.start >= lacking:
        return (ExistingRange(first.key, first.start - lacking, least),), lacking
    return (ExistingRange(key, 0, least), first), least


def plan_part_copies(
    objects: Objects, keys: Keys, source: LayerZip, missing: frozenset[str], record: Record | None, *, least: int
) -> dict[str, PartCopy]:
    """
    Return by SHA-256 how those of the *missing* parts of *source* are made that need not be sent as a whole.

    *record* is that of the layer published before, if any. What stands in a bucket with versions is not used: there, what is made on
    the way would stay. Only reads; raises AwsError and its kinds.
    """
    groups = [(sha256, part) for sha256, part in source.pieces() if sha256 in missing and len(part.extents) > 1]
    sizes = {extent.segment: extent.size for _, part in groups for extent in part.extents if extent.segment}
    standing = {name: kept for name, kept in _recorded(record, keys) if sizes.get(name) == kept.size}
    standing |= _shelved([name for name in sizes if name not in standing], objects, keys)
    usable = {key for key in {kept.key for kept in standing.values()} if _is_usable(key, standing, objects, least)}
    standing = {name: kept for name, kept in standing.items() if kept.key in usable}
    made = {sha256: plan_part_copy(part, standing, least=least) for sha256, part in groups}
    return {sha256: how for sha256, how in made.items() if how is not None}


def _recorded(record: Record | None, keys: Keys) -> Iterator[tuple[str, ExistingRange]]:
    if record is not None:
        start = 0
        for name, size in record.segments:
            yield name, ExistingRange(keys.layer(record.digest), start, size)
            start += size


def _shelved(names: Sequence[str], objects: Objects, keys: Keys) -> dict[str, ExistingRange]:
    """Return what the shelf knows of the segments of these *names*."""
    found = {name: decode(payload, name) for name, payload in RemoteIndex(objects, keys).look(names).items()}
    return {
        name: ExistingRange(keys.below(each.location.key), each.location.start, each.entries_bytes)
        for name, each in found.items()
        if each is not None
    }


def _is_usable(key: str, standing: Mapping[str, ExistingRange], objects: Objects, least: int) -> bool:
    stored = objects.head(key)
    if stored is None or stored.version_id not in (None, "null") or stored.size <= least:
        return False
    return all(kept.start + kept.size <= stored.size for kept in standing.values() if kept.key == key)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCopier:
    """A part of a layer, and the bucket in which S3 makes it."""

    objects: Objects
    keys: Keys
    source: LayerZip
    part: Part
    advance: Callable[[int], None]
    """Told of the bytes that are sent."""
    check: Callable[[], None]
    """Called before each upload; may raise."""

    def perform(self, how: PartCopy, key: str) -> None:
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
                self._upload(target, pieces, before)
        finally:
            # What ended it is more interesting than that one of these stays: `lamina prune` finds it.
            with suppress(AwsError):
                in_parallel(self.objects.delete, made)

    def _upload(self, key: str, pieces: Sequence[ExistingRange | NewRange | PreviousUpload], before: str) -> None:
        upload = self.objects.begin(key)

        def bring(numbered: tuple[int, ExistingRange | NewRange | PreviousUpload]) -> SentPart:
            number, piece = numbered
            if isinstance(piece, NewRange):
                return self._send(key, upload, number, piece)
            origin = piece.key if isinstance(piece, ExistingRange) else before
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

    def _send(self, key: str, upload: str, number: int, piece: NewRange) -> SentPart:
        sha256 = self.source.digest(self.part, start=piece.start, size=piece.size).hex()
        with self.source.open(self.part, start=piece.start, size=piece.size, advance=self.advance) as body:
            return self.objects.send_part(key, upload, number, body, sha256=sha256)
