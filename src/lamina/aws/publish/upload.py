"""
Bring a layer into a bucket: the parts that it lacks, what the remote index lacks, and from parts the whole.

A part is named by its SHA-256, so it is sent once per bucket, whatever layers it is in, and an interrupted upload goes on
where it stopped. S3 checks what arrives, writes only where there is nothing, and composes the layer on its own side.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.aws.api.s3 import CopySource
from lamina.aws.destination.parallel import in_parallel
from lamina.aws.publish.layer_record import encode_record, is_of
from lamina.aws.publish.part_copy import copy_part, plan_part_copies
from lamina.core.errors import AwsError, IntegrityError
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lamina.aws.api.s3 import SentPart
    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.destination.destination import Cancellation
    from lamina.aws.publish.layer_record import LayerRecord
    from lamina.aws.publish.part_copy import PartCopy
    from lamina.aws.publish.parts import Part
    from lamina.aws.publish.zip_source import LayerJob, LayerZip
    from lamina.core.reporter import Reporter


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadPlan:
    """What one bucket lacks of one layer."""

    composed: bool = False
    """Whether the bucket has the whole layer."""
    missing: frozenset[str] = frozenset()
    """SHA-256 of the parts that it lacks."""
    copies: Mapping[str, PartCopy] = field(default_factory=dict)
    """How S3 makes those of them that need not be sent as a whole."""
    indexed: frozenset[str] = frozenset()
    """Names that the remote index is known to have."""
    sent_bytes: int = 0
    """What is to be sent at most: parts, the tail, and for the remote index."""


def plan_upload(job: LayerJob, bucket: Bucket, record: LayerRecord | None, *, composed: bool) -> UploadPlan:
    """
    Return what *bucket* lacks of the layer of *job*, of which *record* is the one published before.

    Only reads; raises AwsError and its kinds.
    """
    indexed = frozenset(record.directories) if record is not None else frozenset[str]()
    index_bytes = job.index_bytes(bucket, indexed)
    if composed:
        return UploadPlan(composed=True, indexed=indexed, sent_bytes=index_bytes)
    source, layout = job.source, job.desired.layout
    missing = frozenset(source.parts) - stored_parts(bucket, source)
    copies = plan_part_copies(bucket, source, missing, record, least=quotas().multipart_part_bytes)
    sizes = dict(zip(source.parts, (part.size for part in layout.parts), strict=True))
    sizes |= {sha256: each.sent_bytes for sha256, each in copies.items()}
    tail = layout.tail_bytes if source.parts else layout.zipped_bytes
    return UploadPlan(
        missing=missing,
        copies=copies,
        indexed=indexed,
        sent_bytes=sum(sizes[sha256] for sha256 in missing) + tail + index_bytes,
    )


def stored_parts(bucket: Bucket, source: LayerZip) -> frozenset[str]:
    """Return the SHA-256 of the parts of *source* that the bucket has, whole and unharmed."""

    def find(numbered: tuple[str, Part]) -> str | None:
        sha256, part = numbered
        return sha256 if _has_part(bucket, source, sha256, part) else None

    return frozenset(sha256 for sha256 in in_parallel(find, source.unique_parts()) if sha256 is not None)


def is_composed(bucket: Bucket, source: LayerZip) -> bool:
    """Return whether the bucket has the whole layer, as far as can be known before Lambda reports its SHA-256."""
    stored = bucket.objects.head(bucket.keys.layer(source.digest))
    size = source.layout.zipped_bytes
    return stored is not None and stored.size == size and stored.sha256 in (None, source.sha256)


def _has_part(bucket: Bucket, source: LayerZip, sha256: str, part: Part) -> bool:
    stored = bucket.objects.head(bucket.keys.part(sha256))
    if stored is None or stored.size != part.size:
        return False
    if stored.sha256 is None and stored.composite_sha256 is None and stored.etag.endswith('-1"'):
        # Composed of one part, by an S3-like server without checksums of copied parts: there the MD5 decides.
        md5 = hashlib.md5(source.hash(part, "md5"), usedforsecurity=False).hexdigest()
        return stored.etag.strip('"') == f"{md5}-1"
    # lamina puts nothing there without a checksum.
    return stored.proves(sha256, part.size)


def send(job: LayerJob, bucket: Bucket, plan: UploadPlan, *, reporter: Reporter, stop: Cancellation) -> int:
    """
    Bring the parts and the entries of the remote index into the bucket that *plan* says it lacks; return how many bytes were sent.

    Raises AwsError and its kinds.
    """
    sent = send_parts(bucket, job.source, plan.missing, copies=plan.copies, reporter=reporter, stop=stop)
    indexed = job.add_to_index(bucket, known=plan.indexed)
    reporter.advance(indexed)
    return sent + indexed


def send_parts(
    bucket: Bucket,
    source: LayerZip,
    missing: Collection[str],
    *,
    copies: Mapping[str, PartCopy],
    reporter: Reporter,
    stop: Cancellation,
) -> int:
    """Bring the *missing* parts into the bucket, in parallel: by *copies*, or by sending them. Return how many bytes were sent."""

    def send_part(numbered: tuple[str, Part]) -> int:
        stop.check()
        sha256, part = numbered
        key, copied = bucket.keys.part(sha256), 0
        if (how := copies.get(sha256)) is not None:
            copy_part(bucket, key, how, source=source, part=part, reporter=reporter, stop=stop)
            copied = how.sent_bytes
            if _has_part(bucket, source, sha256, part):
                return copied
        with source.open(part, reporter=reporter) as body:
            sent = bucket.write(key, body, sha256=sha256, keep=lambda: _has_part(bucket, source, sha256, part))
        return copied + (part.size if sent else 0)

    pieces = [piece for piece in source.unique_parts() if piece[0] in missing]
    return sum(in_parallel(send_part, pieces))


def compose(bucket: Bucket, source: LayerZip) -> tuple[int, str | None]:
    """
    Have S3 compose the layer of stored parts and a tail that is sent; return how many bytes were sent, and its SHA-256.

    Whatever was there and was not the layer is replaced. Of a layer that nobody has hashed as a whole, either S3 proves every part,
    and the SHA-256 stays unknown, or it is read back. Raises IntegrityError where the result is not the layer, AwsError and its kinds.
    """
    sent = _compose(bucket, source)
    return sent, verify(bucket, source) if source.sha256 is None else source.sha256


def _compose(bucket: Bucket, source: LayerZip) -> int:
    key = bucket.keys.layer(source.digest)
    if bucket.objects.head(key) is not None:
        if is_composed(bucket, source):
            return 0
        bucket.objects.delete(key)
    if source.parts:
        _compose_of_parts(bucket, key, source)
        sent = source.layout.tail_bytes
    else:
        with source.open_tail() as body:
            bucket.objects.put(key, body, sha256=source.tail_sha256)
        sent = source.layout.zipped_bytes
    # A reply can get lost, and another publisher can be faster: what counts is what is there.
    if not is_composed(bucket, source):
        raise _not_the_layer(bucket, key)
    return sent


def verify(bucket: Bucket, source: LayerZip) -> str | None:
    """
    Make sure that the bucket's layer is exactly the parts of *source*, of which this machine has only some.

    S3 reports the SHA-256 of the SHA-256 of the parts: where it does, return nothing. Where it does not, read
    all of it back, and return the SHA-256 of the whole. Raises IntegrityError for anything else, which is deleted.
    """
    key = bucket.keys.layer(source.digest)
    stored = bucket.objects.head(key)
    if stored is not None and stored.composite_sha256 == source.composite_sha256:
        return None
    whole = hashlib.sha256()
    sizes = [*(part.size for part in source.layout.parts), source.layout.tail_bytes]
    start = 0
    same = stored is not None and stored.composite_sha256 is None
    for size, sha256 in zip(sizes, (*source.parts, source.tail_sha256), strict=True):
        digest = hashlib.sha256()
        for content in bucket.read(key, start, size) if same else ():
            digest.update(content)
            whole.update(content)
        same = same and digest.hexdigest() == sha256
        start += size
    if not same:
        bucket.objects.delete(key)
        raise _not_the_layer(bucket, key)
    return whole.hexdigest()


def _not_the_layer(bucket: Bucket, key: str) -> IntegrityError:
    return IntegrityError(f"`{bucket.url(key)}` is not the layer that was put together", hint="run again")


def _compose_of_parts(bucket: Bucket, key: str, source: LayerZip) -> None:
    def copy(upload: str, numbered: tuple[int, str]) -> SentPart:
        number, sha256 = numbered
        sent = bucket.objects.copy_part(key, upload, CopySource(number=number, key=bucket.keys.part(sha256)))
        if sent.sha256 not in (None, sha256):
            raise IntegrityError(
                f"`{bucket.url(bucket.keys.part(sha256))}` is not what its name says", hint="run again: it is replaced"
            )
        return sent

    def send_all(upload: str) -> list[SentPart]:
        sent = in_parallel(lambda numbered: copy(upload, numbered), enumerate(source.parts, 1))
        with source.open_tail() as body:
            number = len(sent) + 1
            return [*sent, bucket.objects.send_part(key, upload, number, body, sha256=source.tail_sha256)]

    try:
        bucket.compose(key, send_all)
    except AwsError:
        # A faster publisher aborts everybody's uploads, but then the layer is there.
        if not is_composed(bucket, source):
            raise
    # Nobody needs those that a killed publisher left, or that were begun twice because a reply got lost.
    for upload in list(bucket.objects.unfinished(key)):
        if upload.key == key:
            bucket.objects.abort(key, upload.id)


def record(job: LayerJob, bucket: Bucket, sha256: str) -> None:
    """Write the record of the layer, whose zip has this *sha256*, beside it; raises AwsError and its kinds."""
    content = encode_record(job.desired, job.source.parts, job.index_names(), sha256=sha256)
    key, digest = bucket.keys.record(job.desired.layer.digest), hashlib.sha256(content).hexdigest()
    bucket.write(key, io.BytesIO(content), sha256=digest, keep=lambda: is_of(bucket.objects.get(key), content))
