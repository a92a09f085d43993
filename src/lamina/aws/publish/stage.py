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
from lamina.aws.publish.part_copy import grafts
from lamina.aws.publish.survey import each_in_its_place, everywhere
from lamina.core.errors import ConfigError
from lamina.core.reporter import SILENT
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from lamina.aws.api.protocols import Objects
    from lamina.aws.publish.part_copy import Graft
    from lamina.aws.publish.survey import Job, Place
    from lamina.core.reporter import Reporter

__all__ = ["Stocked", "Supply", "look", "put_together", "record", "send", "stock"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Supply:
    """What one bucket is to get of one layer."""

    job: Job
    place: Place
    composed: bool
    """Whether the whole layer stands there."""
    missing: frozenset[str]
    """SHA-256 of the parts to be sent."""
    grafts: Mapping[str, Graft]
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
class Stocked:
    """A layer that stands in a bucket."""

    supply: Supply
    sent_bytes: int


def look(jobs: Sequence[Job], places: Sequence[Place]) -> tuple[Supply, ...]:
    """
    Return what the buckets of all *places* lack of all *jobs*, in that order.

    Raises ConfigError where no bucket is configured, and AwsError and its kinds.
    """

    def look_there(place: Place) -> list[Supply]:
        return [_look(job, place) for job in jobs]

    return tuple(supply for supplies in everywhere(look_there, places) for supply in supplies)


def _look(job: Job, place: Place) -> Supply:
    objects, cut = _bucket(place), job.wanted.cut
    composed = upload.is_composed(objects, place.keys.layer(job.wanted.layer.digest), job.source)
    missing: frozenset[str] = frozenset()
    made: Mapping[str, Graft] = {}
    upload_bytes = 0
    if not composed:
        missing = frozenset(job.source.parts) - upload.stored_parts(objects, place.keys, job.source)
        # Nobody asks Lambda which layer there was before.
        made = grafts(objects, place.keys, job.source, missing, None, least=quotas().multipart_part_bytes)
        sizes = dict(zip(job.source.parts, (part.size for part in cut.parts), strict=True))
        sizes |= {sha256: how.sent_bytes for sha256, how in made.items()}
        tail = cut.tail_bytes if job.source.parts else cut.zipped_bytes
        upload_bytes = sum(sizes[sha256] for sha256 in missing) + tail + job.shelf_bytes(objects, ())
    return Supply(job=job, place=place, composed=composed, missing=missing, grafts=made, upload_bytes=upload_bytes)


def _bucket(place: Place) -> Objects:
    if place.objects is None:
        raise ConfigError(
            "There is no bucket to put layers together in",
            hint='name one in `[tool.lamina.publish]`: bucket = "artifacts-{account}-{region}"',
        )
    return place.objects


def stock(supplies: Sequence[Supply], *, reporter: Reporter = SILENT) -> tuple[Stocked, ...]:
    """
    Put the layers together that do not stand yet, in all places at the same time, and publish none of them.

    Raises AwsError and its kinds; what was done by then stays.
    """
    if total := sum(supply.upload_bytes for supply in supplies):
        reporter.stage("Uploading", total=total, unit="bytes")
    return each_in_its_place(partial(_stock, reporter=reporter), supplies)


def _stock(supply: Supply, *, reporter: Reporter) -> Stocked:
    if supply.composed:
        return Stocked(supply=supply, sent_bytes=0)
    job, place = supply.job, supply.place
    sent = send(job, place, supply.objects, missing=supply.missing, grafts=supply.grafts, known=(), reporter=reporter)
    place.stop.check()
    composed, sha256 = put_together(job, place, supply.objects)
    if sha256:
        record(job, place, supply.objects, sha256)
    return Stocked(supply=supply, sent_bytes=sent + composed)


def send(
    job: Job,
    place: Place,
    objects: Objects,
    *,
    missing: Collection[str],
    grafts: Mapping[str, Graft],
    known: Collection[str],
    reporter: Reporter,
) -> int:
    """
    Have the *missing* parts there, as *grafts* tell or by sending them, and on the shelf what is not *known* to be there.

    Return how many bytes were sent.

    Raises AwsError and its kinds.
    """
    check = place.stop.check
    sent = upload.send_parts(objects, place.keys, job.source, missing, grafts=grafts, reporter=reporter, check=check)
    shelved = job.shelve(objects, place.keys, known=known)
    reporter.advance(shelved)
    return sent + shelved


def put_together(job: Job, place: Place, objects: Objects) -> tuple[int, str]:
    """
    Have the whole layer made of its parts, and return how many bytes were sent and its SHA-256.

    Of a layer that nobody has hashed as a whole, either S3 proves every part, and the SHA-256 is empty, or it is read back.
    Raises IntegrityError where the result is not the layer, AwsError and its kinds.
    """
    key, source = place.keys.layer(job.wanted.layer.digest), job.source
    sent = upload.compose(objects, key, place.keys, source)
    return sent, source.sha256 or upload.prove(objects, key, source)


def record(job: Job, place: Place, objects: Objects, sha256: str) -> None:
    """Write down beside the layer what it is made of; raises AwsError and its kinds."""
    content = encode(job.wanted, job.source.parts, job.shelf_names(), sha256=sha256)
    key, digest = place.keys.record(job.wanted.layer.digest), hashlib.sha256(content).hexdigest()
    if not objects.put(key, content, sha256=digest) and not is_of(objects.get(key), content):
        # Nobody of us wrote it.
        objects.put(key, content, sha256=digest, absent=False)
