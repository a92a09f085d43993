"""
Create a part without uploading all of it. S3 copies the bytes that other objects of the bucket have, and lamina uploads the rest.

A part is a group of segments. If one segment changes, the part is new, but the previous layer still has the other segments, and S3 can
copy ranges of the previous layer. Other objects of the bucket, such as another service's layer, may have further segments of the part.
The remote index lists the objects that have a segment.

One upload is not enough, because every part of a multipart upload except the last must have at least 5 MiB. So each smaller piece is
the last part of a separate upload, and the next upload begins with the result of that upload::

    previous layer     ···[lead][kept]                [kept]···
    uploaded                │     │     [new]            │
    first upload            └─────┴──┬────┘              │
    second upload                   [result]─────┬───────┘
    the part                               [without the lead]

The lead is padding that brings the first piece to 5 MiB: the bytes before the piece, or the first bytes of any object. The last upload
copies the part, without the lead, as its only piece. So the checksum that S3 reports proves the part's SHA-256. Planning only reads.
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

# The saving that justifies one upload. An upload is several sequential requests; most connections send half of this in less time.
_WORTH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ExistingRange:
    """A range of an object in the bucket: the object's key, the offset of the first byte, and the size in bytes."""

    key: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class NewRange:
    """A range of the new part that must be uploaded: its offset in the part and its size in bytes."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class PreviousUpload:
    """A range of the object that the previous upload created: its offset and its size in bytes."""

    start: int
    size: int


Piece = ExistingRange | NewRange | PreviousUpload


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCopy:
    """The plan for creating one part from existing and new bytes."""

    uploads: tuple[tuple[Piece, ...], ...]
    """The pieces of each multipart upload, in order. The last upload creates the part."""

    @property
    def sent_bytes(self) -> int:
        """The number of bytes that lamina uploads."""
        return sum(piece.size for pieces in self.uploads for piece in pieces if isinstance(piece, NewRange))


def plan_part_copy(
    part: Part, existing: Mapping[str, ExistingRange], *, least: int, worth: int = _WORTH_BYTES
) -> PartCopy | None:
    """
    Plan how to create *part* from segments in the bucket. *existing* maps names of segments to their ranges there.

    In each planned upload, every piece except the last has at least *least* bytes. Each object in *existing* must have at least *least*
    bytes, because the lead may be copied from it. Return ``None`` unless the plan saves at least *worth* bytes for each upload.
    """
    uploads = tuple(_uploads(_runs(part, existing), part.size, least))
    found = PartCopy(uploads=uploads)
    return found if part.size - found.sent_bytes >= len(uploads) * worth else None


def _runs(part: Part, existing: Mapping[str, ExistingRange]) -> list[ExistingRange | NewRange]:
    """Return the part as a sequence of existing and new ranges. Adjacent ranges are merged."""
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
    Return the pieces up to *first*, and the size of the lead in bytes.

    If *first* has at least *least* bytes, there is no lead. Otherwise the lead consists of the bytes before *first* in the same object,
    or, if they are too few, of the first *least* bytes of the object at *key*.
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
    Plan how to create *missing* parts of *source* partly from objects in *bucket*. Return the plans by the part's SHA-256.

    A part without a plan must be uploaded in full.

    *record* is the record of the previously published layer, if any. Versioned objects are not used, because in a versioned bucket
    the temporary objects would remain as old versions. This function only reads. Raises `AwsError`.
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
    """Return the ranges of the segments with these *names* that the remote index lists."""
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
    Create *part* of *source* at *key* according to the plan *how*. An existing object at *key* is not replaced.

    The caller must verify the result. Temporary objects are deleted even after a failure. Raises `AwsError`.
    """
    intermediate = [bucket.keys.intermediate(uuid.uuid4().hex) for _ in how.uploads[1:]]
    try:
        for target, pieces, before in zip((*intermediate, key), how.uploads, ("", *intermediate), strict=True):
            stop.check()
            _upload(bucket, target, pieces, before, source=source, part=part, reporter=reporter)
    finally:
        # Report the first failure, not one of the cleanup. `lamina prune` deletes an object that remains.
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
    """Compose the object at *key* of *pieces*. *before* is the key of the previous upload's object, or empty for the first upload."""

    def send(upload: str, number: int, piece: Piece) -> SentPart:
        if isinstance(piece, NewRange):
            sha256 = source.hash(part, start=piece.start, size=piece.size).hex()
            with source.open(part, start=piece.start, size=piece.size, reporter=reporter) as body:
                return bucket.objects.send_part(key, upload, number, body, sha256=sha256)
        origin = piece.key if isinstance(piece, ExistingRange) else before
        copied = CopySource(number=number, key=origin, start=piece.start, size=piece.size)
        return bucket.objects.copy_part(key, upload, copied)

    bucket.compose(key, lambda upload: in_parallel(lambda row: send(upload, *row), enumerate(pieces, 1)))
