"""
Upload a layer to a bucket: send the missing parts and index entries, then compose the layer of its parts.

A part's key contains its SHA-256. So each part is uploaded once for all layers that contain it, and an interrupted upload resumes
with the parts that are still missing. S3 checks the uploaded content against its SHA-256, and composes the layer from the parts.
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
    """The upload that one bucket needs for one layer."""

    composed: bool = False
    """Whether the bucket already has the complete layer."""
    missing: frozenset[str] = frozenset()
    """The SHA-256 of each part that the bucket lacks."""
    copies: Mapping[str, PartCopy] = field(default_factory=dict)
    """The copy plans, by SHA-256, of the missing parts that need not be uploaded completely."""
    indexed: frozenset[str] = frozenset()
    """The names of entries that the remote index already has."""
    sent_bytes: int = 0
    """The maximum number of bytes to upload: parts, tail and entries of the remote index."""


def plan_upload(job: LayerJob, bucket: Bucket, record: LayerRecord | None, *, composed: bool) -> UploadPlan:
    """
    Plan the upload of the layer of *job* to *bucket*. *record* is the record of the previously published layer, if any.

    *composed* states whether the bucket already has the layer. This function only reads. Raises `AwsError`.
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
    """Return the SHA-256 hashes of the parts of *source* that the bucket has, verified with the checksums from S3."""

    def find(numbered: tuple[str, Part]) -> str | None:
        sha256, part = numbered
        return sha256 if _has_part(bucket, source, sha256, part) else None

    return frozenset(sha256 for sha256 in in_parallel(find, source.unique_parts()) if sha256 is not None)


def is_composed(bucket: Bucket, source: LayerZip) -> bool:
    """Return whether the bucket has the layer's zip in the right size and, if S3 reports a SHA-256 for it, with the right SHA-256."""
    stored = bucket.objects.head(bucket.keys.layer(source.digest))
    size = source.layout.zipped_bytes
    return stored is not None and stored.size == size and stored.sha256 in (None, source.sha256)


def _has_part(bucket: Bucket, source: LayerZip, sha256: str, part: Part) -> bool:
    stored = bucket.objects.head(bucket.keys.part(sha256))
    if stored is None or stored.size != part.size:
        return False
    if stored.sha256 is None and stored.composite_sha256 is None and stored.etag.endswith('-1"'):
        # An S3-compatible server without checksums for copied parts composed the object of one part. Compare the MD5 in its ETag.
        md5 = hashlib.md5(source.hash(part, "md5"), usedforsecurity=False).hexdigest()
        return stored.etag.strip('"') == f"{md5}-1"
    # lamina uploads every part with a checksum, so an object without one is not accepted.
    return stored.proves(sha256, part.size)


def send(job: LayerJob, bucket: Bucket, plan: UploadPlan, *, reporter: Reporter, stop: Cancellation) -> int:
    """Upload the parts and index entries that the bucket lacks according to *plan*. Return the number of bytes uploaded. Raises `AwsError`."""
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
    """
    Create the *missing* parts in the bucket, in parallel. Return the number of bytes uploaded.

    A part with a plan in *copies* is copied from existing objects. A part without a plan, or with a wrong copy, is uploaded in full.
    """

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
    Compose the layer in the bucket from its stored parts and the tail. Return the number of bytes uploaded, and the zip's SHA-256.

    An existing object that is not the layer is replaced. If the SHA-256 of the zip is unknown on this machine, `verify` checks the
    result, and the returned SHA-256 is the result of `verify`. Raises `IntegrityError` if the result is not the layer, and `AwsError`.
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
    # The reply may be lost, or another publisher may be faster, so check the object itself.
    if not is_composed(bucket, source):
        raise _not_the_layer(bucket, key)
    return sent


def verify(bucket: Bucket, source: LayerZip) -> str | None:
    """
    Check that the layer in the bucket consists of exactly the parts of *source*, even if this machine has only some of the parts.

    Return ``None`` if S3 reports the correct composite checksum. If S3 reports none, download the layer, compare each part, and return
    the SHA-256 of the whole zip. If the checksum or a part is wrong, delete the object and raise `IntegrityError`.
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
    return IntegrityError(
        f"the object `{bucket.url(key)}` differs from the layer that lamina uploaded", hint="run again"
    )


def _compose_of_parts(bucket: Bucket, key: str, source: LayerZip) -> None:
    def copy(upload: str, numbered: tuple[int, str]) -> SentPart:
        number, sha256 = numbered
        sent = bucket.objects.copy_part(key, upload, CopySource(number=number, key=bucket.keys.part(sha256)))
        if sent.sha256 not in (None, sha256):
            raise IntegrityError(
                f"`{bucket.url(bucket.keys.part(sha256))}` is damaged: its content does not match the SHA-256 in its name",
                hint="run again; lamina then replaces the object",
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
        # A faster publisher aborts all other uploads of the layer, but then the layer exists.
        if not is_composed(bucket, source):
            raise
    # Abort uploads that a killed publisher left, or that were started twice because a reply was lost.
    for upload in list(bucket.objects.unfinished(key)):
        if upload.key == key:
            bucket.objects.abort(key, upload.id)


def record(job: LayerJob, bucket: Bucket, sha256: str) -> None:
    """Write the record of the layer, whose zip has this *sha256*, unless the bucket already has a record of the same zip. Raises `AwsError`."""
    content = encode_record(job.desired, job.source.parts, job.index_names(), sha256=sha256)
    key, digest = bucket.keys.record(job.desired.layer.digest), hashlib.sha256(content).hexdigest()
    bucket.write(key, io.BytesIO(content), sha256=digest, keep=lambda: is_of(bucket.objects.get(key), content))
