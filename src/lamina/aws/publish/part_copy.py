"""
Make a part without sending all of it: S3 copies what the layer that was published before, or another object of the bucket, has of it,
and only the rest is sent.

A part is a group of segments. When one of them changes the part is new, but the others are in the layer before, and S3 copies ranges.
What is not there may have come into the bucket with another service's layer, and the remote index says where.
What keeps it from being one request is that every part of an upload but the last must have 5 MiB. So there is an upload for each
small piece, which comes last there, and the next upload begins with what that made::

    the layer before   ···[lead][kept]                [kept]···
    sent                    │     │     [new]            │
    first upload            └─────┴──┬────┘              │
    second upload                    [made]──────┬───────┘
    the part                               [without the lead]

The lead is whatever bytes come before, or an object's first ones, for no reason but to have 5 MiB. The part itself is one range of the
last upload, so S3 reports a checksum from which its SHA-256 is known. Planning only reads.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.archive.remote_segment import decode
from lamina.aws.api.s3 import CopySource
from lamina.aws.destination.parallel import in_parallel
from lamina.aws.publish.remote_index import RemoteIndex
from lamina.core.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lamina.aws.api.s3 import SentPart
    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.destination.destination import Cancellation
    from lamina.aws.destination.naming import Keys
    from lamina.aws.publish.layer_record import LayerRecord
    from lamina.aws.publish.parts import Part
    from lamina.aws.publish.zip_source import LayerZip
    from lamina.core.reporter import Reporter

# An upload is several requests, one after the other: over most lines they take longer than to send half of that.
_WORTH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ExistingRange:
    """Bytes that the bucket has: the object's key, the first byte, and how many."""

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
    """Bytes of what the previous upload made."""

    start: int
    size: int


Piece = ExistingRange | NewRange | PreviousUpload


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCopy:
    """How a part comes into being."""

    uploads: tuple[tuple[Piece, ...], ...]
    """One after the other; what the last one makes is the part."""

    @property
    def sent_bytes(self) -> int:
        """What is sent."""
        return sum(piece.size for pieces in self.uploads for piece in pieces if isinstance(piece, NewRange))


def plan_part_copy(
    part: Part, existing: Mapping[str, ExistingRange], *, least: int, worth: int = _WORTH_BYTES
) -> PartCopy | None:
    """
    Return how *part* is made with what is *existing* in the bucket, by the names of segments.

    Every piece of an upload but its last has *least* bytes, which the objects there have, too. Return nothing where *worth* bytes for
    each upload would not be saved.
    """
    uploads = tuple(_uploads(_runs(part, existing), part.size, least))
    found = PartCopy(uploads=uploads)
    return found if part.size - found.sent_bytes >= len(uploads) * worth else None


def _runs(part: Part, existing: Mapping[str, ExistingRange]) -> list[ExistingRange | NewRange]:
    """Return the part as what is kept and what is new, in as few pieces as can be."""
    runs: list[ExistingRange | NewRange] = []
    start = 0
    for extent in part.extents:
        found = existing.get(extent.segment) if extent.segment else None
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


def _uploads(runs: Sequence[ExistingRange | NewRange], size: int, least: int) -> Iterator[tuple[Piece, ...]]:
    first, *others = runs
    key = next((run.key for run in runs if isinstance(run, ExistingRange)), None)
    if key is None or (not others and isinstance(first, ExistingRange)):
        yield (first,)
        return
    begin, lead = _beginning(first, key, least)
    pieces: list[Piece] = []
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
    bucket: Bucket, source: LayerZip, missing: frozenset[str], record: LayerRecord | None, *, least: int
) -> dict[str, PartCopy]:
    """
    Return by SHA-256 how those of the *missing* parts of *source* are made that need not be sent as a whole.

    *record* is that of the layer published before, if any. Objects of a bucket with versions are not used: there, what is made on
    the way would stay. Only reads; raises AwsError and its kinds.
    """
    groups = [(sha256, part) for sha256, part in source.unique_parts() if sha256 in missing and len(part.extents) > 1]
    sizes = {extent.segment: extent.size for _, part in groups for extent in part.extents if extent.segment}
    existing = {name: kept for name, kept in _recorded(record, bucket.keys) if sizes.get(name) == kept.size}
    existing |= _indexed([name for name in sizes if name not in existing], bucket)
    usable = {key for key in {kept.key for kept in existing.values()} if _is_usable(key, existing, bucket, least)}
    existing = {name: kept for name, kept in existing.items() if kept.key in usable}
    made = {sha256: plan_part_copy(part, existing, least=least) for sha256, part in groups}
    return {sha256: how for sha256, how in made.items() if how is not None}


def _recorded(record: LayerRecord | None, keys: Keys) -> Iterator[tuple[str, ExistingRange]]:
    if record is not None:
        start = 0
        for name, size in record.segments:
            yield name, ExistingRange(keys.layer(record.digest), start, size)
            start += size


def _indexed(names: Sequence[str], bucket: Bucket) -> dict[str, ExistingRange]:
    """Return what the remote index knows of the segments of these *names*."""
    found = {name: decode(payload, name) for name, payload in RemoteIndex(bucket).read(names).items()}
    return {
        name: ExistingRange(bucket.keys.below(each.location.key), each.location.start, each.entries_bytes)
        for name, each in found.items()
        if each is not None
    }


def _is_usable(key: str, existing: Mapping[str, ExistingRange], bucket: Bucket, least: int) -> bool:
    stored = bucket.objects.head(key)
    if stored is None or stored.version_id not in (None, "null") or stored.size <= least:
        return False
    return all(kept.start + kept.size <= stored.size for kept in existing.values() if kept.key == key)


def copy_part(
    bucket: Bucket, key: str, how: PartCopy, *, source: LayerZip, part: Part, reporter: Reporter, stop: Cancellation
) -> None:
    """
    Have S3 make *part* of *source* at *key*; an object that is there already stays.

    Whether it became what it should, S3 has to be asked. Raises AwsError and its kinds, and leaves nothing of what was made on the way.
    """
    intermediate = [bucket.keys.intermediate(uuid.uuid4().hex) for _ in how.uploads[1:]]
    try:
        for target, pieces, before in zip((*intermediate, key), how.uploads, ("", *intermediate), strict=True):
            stop.check()
            _upload(bucket, target, pieces, before, source=source, part=part, reporter=reporter)
    finally:
        # The first failure is the one to report; `lamina prune` finds an object that is left.
        with suppress(AwsError):
            in_parallel(bucket.objects.delete, intermediate)


def _upload(
    bucket: Bucket,
    key: str,
    pieces: Sequence[Piece],
    before: str,
    *,
    source: LayerZip,
    part: Part,
    reporter: Reporter,
) -> None:
    """Compose the object at *key* of *pieces*; *before* is the key of what the previous upload made."""

    def send(upload: str, number: int, piece: Piece) -> SentPart:
        if isinstance(piece, NewRange):
            sha256 = source.hash(part, start=piece.start, size=piece.size).hex()
            with source.open(part, start=piece.start, size=piece.size, reporter=reporter) as body:
                return bucket.objects.send_part(key, upload, number, body, sha256=sha256)
        origin = piece.key if isinstance(piece, ExistingRange) else before
        copied = CopySource(number=number, key=origin, start=piece.start, size=piece.size)
        return bucket.objects.copy_part(key, upload, copied)

    bucket.compose(key, lambda upload: in_parallel(lambda row: send(upload, *row), enumerate(pieces, 1)))
