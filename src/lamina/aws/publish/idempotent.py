"""
Publish a layer as one version, whoever else publishes it, and whatever becomes of requests and replies on the way.

Lambda makes another version each time it is asked. So one publisher at a time holds a lease, and the others wait until there is a
version. Where it is not known whether a version was made, the layer's versions are listed before Lambda is asked again; and after
each publication the oldest of several versions that are the same layer stays.

A lease is an object that S3 creates only where there is none. Its holder may be killed, so a lease that is too old by the server's
clock may be taken over. Where that is a mistake, because the holder is only slow, two versions come to be, and the younger is
deleted again by its publisher.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.api.layers import Publication
from lamina.aws.publish.survey import candidates
from lamina.core.errors import AwsError, IntegrityError, ThrottledError, UnavailableError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lamina.aws.api.functions import S3Code, Zip
    from lamina.aws.api.layers import PublishedVersion
    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.destination.destination import Cancellation
    from lamina.aws.publish.survey import LayerStep
    from lamina.core.reporter import Reporter

_ATTEMPTS = 5
_FIRST_WAIT_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Leases:
    """How long leases hold, and how to wait for them."""

    lease_seconds: float = 60.0
    """Putting a layer together and publishing it takes a few seconds."""
    poll_seconds: float = 0.5
    sleep: Callable[[float], None] = time.sleep

    @contextmanager
    def hold(self, bucket: Bucket, key: str, *, waiting: str, reporter: Reporter, stop: Cancellation) -> Iterator[None]:
        """Hold the lease *key*; if somebody else does, say that we are *waiting*, and wait until they end or their lease does."""
        token = os.urandom(16)
        if not self._take(bucket, key, token):
            reporter.note(waiting)
            while not self._take(bucket, key, token):
                stop.check()
                self.sleep(self.poll_seconds)
        try:
            yield
        finally:
            # A lease that stays costs the next publisher of the same layer a wait, and nobody anything else.
            with suppress(AwsError):
                bucket.objects.delete(key)

    def _take(self, bucket: Bucket, key: str, token: bytes) -> bool:
        objects, sha256 = bucket.objects, hashlib.sha256(token).hexdigest()
        if objects.put(key, token, sha256=sha256):
            return True
        # Where the reply to our own request got lost, the SDK repeated it and found our own lease.
        if objects.get(key) == token:
            return True
        held = objects.head(key)
        if held is None or held.age_seconds <= self.lease_seconds:
            return False
        return objects.put(key, token, sha256=sha256, replacing=held.etag) or objects.get(key) == token


def same_versions(step: LayerStep, code_sha256: str | None) -> tuple[PublishedVersion, ...]:
    """Return all versions that are the desired layer, with this content, oldest first."""
    layers = step.destination.services.layers
    found = candidates(layers, step.desired, layers.versions(step.desired.name))
    return tuple(each for each in found if each.code_sha256 == code_sha256)


def publish(
    step: LayerStep, code: Zip | S3Code, *, expected: str | None, sleep: Callable[[float], None]
) -> tuple[PublishedVersion, bool]:
    """
    Publish, and return the version that stays, and whether that is new.

    Its CodeSha256 is to be *expected*; where that is not known, S3 has proven the archive's parts, and Lambda must have as many bytes.
    Raises IntegrityError otherwise, after deleting the version, and what it came from in the bucket.
    """
    layers = step.destination.services.layers
    version = _publish(step, code, expected, sleep)
    _check(step, version, expected)
    same = same_versions(step, version.code_sha256)
    if not same or version.number < same[0].number:
        return version, True
    for each in same[1:]:
        # What is younger than ours was published meanwhile: by another publisher, who deletes all but the oldest, too, or because
        # the request was delivered twice. What is older than ours, its own publisher deletes.
        if each.number >= version.number:
            layers.delete(step.desired.name, each.number)
    return same[0], same[0].number == version.number


def _publish(
    step: LayerStep, code: Zip | S3Code, expected: str | None, sleep: Callable[[float], None]
) -> PublishedVersion:
    """Publish; where it is not known whether that was done, look before asking again."""
    desired = step.desired
    publication = Publication(
        name=desired.name,
        description=desired.description,
        code=code,
        runtimes=(desired.runtime,),
        architectures=desired.architectures,
        license=desired.config.license,
    )
    for attempt in range(_ATTEMPTS):
        try:
            return step.destination.services.layers.publish(publication)
        except (ThrottledError, UnavailableError, UnreachableError):
            sleep(_FIRST_WAIT_SECONDS * 2**attempt)
            if same := same_versions(step, expected):
                return same[0]
            if attempt == _ATTEMPTS - 1 or expected is None:
                raise
    raise AssertionError(desired.name)  # pragma: no cover - the last attempt returns or raises


def _check(step: LayerStep, version: PublishedVersion, expected: str | None) -> None:
    name, layer = step.desired.name, step.desired.layer
    if expected is None:
        same = version.code_bytes == layer.zipped_bytes
        difference = f"{layer.zipped_bytes:,} bytes, got {version.code_bytes:,}"
    else:
        same = version.code_sha256 == expected
        difference = f"CodeSha256 {expected}, got {version.code_sha256}"
    if same:
        return
    step.destination.services.layers.delete(name, version.number)
    if (bucket := step.destination.bucket) is not None:
        bucket.objects.delete(bucket.keys.layer(layer.digest))
        # The record may be where the expected SHA-256 came from.
        bucket.objects.delete(bucket.keys.record(layer.digest))
    raise IntegrityError(
        f"Lambda's copy of layer `{name}` is not what was built: expected {difference}",
        hint="the version has been deleted again; run again",
    )
