"""
Have the whole layer stand in a bucket, whoever is going to publish it: `apply`, or something else, such as CloudFormation.

Looking only reads. Whatever is interrupted leaves whole objects only, and running again goes on from them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lamina.aws.publish import upload
from lamina.aws.publish.manifest import encode, is_of
from lamina.aws.publish.part_copy import plan_part_copies
from lamina.aws.publish.survey import each_in_its_place, everywhere
from lamina.core.errors import ConfigError
from lamina.core.reporter import SILENT
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from lamina.aws.api.protocols import Objects
    from lamina.aws.publish.part_copy import PartCopy
    from lamina.aws.publish.survey import Destination, LayerJob
    from lamina.core.reporter import Reporter

__all__ = ["StagePlan", "StagedUpload", "look", "put_together", "record", "send", "stage"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePlan:
    """What one bucket is to get of one layer."""

    job: LayerJob
    place: Destination
    composed: bool
    """Whether the whole layer stands there."""
    missing: frozenset[str]
    """SHA-256 of the parts to be sent."""
    copies: Mapping[str, PartCopy]
    """How those of them are made that need not be sent as a whole."""
    upload_bytes: int
    """What is to be sent at most, the tail and the shelf's included."""

    @property
    def objects(self) -> Objects:
        """The bucket."""
        return _bucket(self.place)

    @property
    def key(self) -> str:
        """Where the layer stands, or is going to."""
        return self.place.keys.layer(self.job.wanted.layer.digest)


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedUpload:
    """A layer that stands in a bucket."""

    supply: StagePlan
    sent_bytes: int


def look(jobs: Sequence[LayerJob], places: Sequence[Destination]) -> tuple[StagePlan, ...]:
    """
    Return what the buckets of all *places* lack of all *jobs*, in that order.

    Raises ConfigError where no bucket is configured, and AwsError and its kinds.
    """

    def look_there(place: Destination) -> list[StagePlan]:
        return [_look(job, place) for job in jobs]

    return tuple(supply for supplies in everywhere(look_there, places) for supply in supplies)


def _look(job: LayerJob, place: Destination) -> StagePlan:
    objects, layout = _bucket(place), job.wanted.layout
    composed = upload.is_composed(objects, place.keys.layer(job.wanted.layer.digest), job.source)
    missing: frozenset[str] = frozenset()
    made: Mapping[str, PartCopy] = {}
    upload_bytes = 0
    if not composed:
        missing = frozenset(job.source.parts) - upload.stored_parts(objects, place.keys, job.source)
        # Nobody asks Lambda which layer there was before.
        made = plan_part_copies(objects, place.keys, job.source, missing, None, least=quotas().multipart_part_bytes)
        sizes = dict(zip(job.source.parts, (part.size for part in layout.parts), strict=True))
        sizes |= {sha256: how.sent_bytes for sha256, how in made.items()}
        tail = layout.tail_bytes if job.source.parts else layout.zipped_bytes
        upload_bytes = sum(sizes[sha256] for sha256 in missing) + tail + job.shelf_bytes(objects, ())
    return StagePlan(job=job, place=place, composed=composed, missing=missing, copies=made, upload_bytes=upload_bytes)


def _bucket(place: Destination) -> Objects:
    if place.objects is None:
        raise ConfigError(
            "There is no bucket to put layers together in",
            hint='name one in `[tool.lamina.publish]`: bucket = "artifacts-{account}-{region}"',
        )
    return place.objects


def stage(supplies: Sequence[StagePlan], *, reporter: Reporter = SILENT) -> tuple[StagedUpload, ...]:
    """
    Put the layers together that do not stand yet, in all places at the same time, and publish none of them.

    Raises AwsError and its kinds; what was done by then stays.
    """
    if total := sum(supply.upload_bytes for supply in supplies):
        reporter.stage("Uploading", total=total, unit="bytes")
    return each_in_its_place(partial(_stock, reporter=reporter), supplies)


def _stock(supply: StagePlan, *, reporter: Reporter) -> StagedUpload:
    if supply.composed:
        return StagedUpload(supply=supply, sent_bytes=0)
    job, place = supply.job, supply.place
    sent = send(job, place, supply.objects, missing=supply.missing, copies=supply.copies, known=(), reporter=reporter)
    place.stop.check()
    composed, sha256 = put_together(job, place, supply.objects)
    if sha256:
        record(job, place, supply.objects, sha256)
    return StagedUpload(supply=supply, sent_bytes=sent + composed)


def send(
    job: LayerJob,
    place: Destination,
    objects: Objects,
    *,
    missing: Collection[str],
    copies: Mapping[str, PartCopy],
    known: Collection[str],
    reporter: Reporter,
) -> int:
    """
    Have the *missing* parts there, as *copies* tell or by sending them, and on the shelf what is not *known* to be there.

    Return how many bytes were sent.

    Raises AwsError and its kinds.
    """
    check = place.stop.check
    sent = upload.send_parts(objects, place.keys, job.source, missing, copies=copies, reporter=reporter, check=check)
    shelved = job.shelve(objects, place.keys, known=known)
    reporter.advance(shelved)
    return sent + shelved


def put_together(job: LayerJob, place: Destination, objects: Objects) -> tuple[int, str]:
    """
    Have the whole layer made of its parts, and return how many bytes were sent and its SHA-256.

    Of a layer that nobody has hashed as a whole, either S3 proves every part, and the SHA-256 is empty, or it is read back.
    Raises IntegrityError where the result is not the layer, AwsError and its kinds.
    """
    key, source = place.keys.layer(job.wanted.layer.digest), job.source
    sent = upload.compose(objects, key, place.keys, source)
    return sent, source.sha256 or upload.prove(objects, key, source)


def record(job: LayerJob, place: Destination, objects: Objects, sha256: str) -> None:
    """Write down beside the layer what it is made of; raises AwsError and its kinds."""
    content = encode(job.wanted, job.source.parts, job.shelf_names(), sha256=sha256)
    key, digest = place.keys.record(job.wanted.layer.digest), hashlib.sha256(content).hexdigest()
    if not objects.put(key, content, sha256=digest) and not is_of(objects.get(key), content):
        # Nobody of us wrote it.
        objects.put(key, content, sha256=digest, absent=False)
