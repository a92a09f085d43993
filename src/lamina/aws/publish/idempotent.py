"""
Publish a layer as exactly one version, even with concurrent publishers or lost requests and replies.

Lambda creates another version for each publish request. So one publisher at a time holds a lease, and the others wait until the
version exists. If a request fails and the version may exist, the layer's versions are listed before the request is repeated.
After each publication, only the oldest of several versions with the same content is kept.

A lease is an object that S3 creates only if the key does not exist yet. The publisher that holds the lease may be killed, so another
publisher may take over a lease that is too old by the server's clock. If the first publisher was only slow, two versions are created,
and the publisher of the newer version deletes it.
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
    """How long a lease is valid, and how to wait for one."""

    lease_seconds: float = 60.0
    """The age in seconds above which another publisher may take over a lease. Composing and publishing a layer needs a few seconds."""
    poll_seconds: float = 0.5
    sleep: Callable[[float], None] = time.sleep

    @contextmanager
    def hold(self, bucket: Bucket, key: str, *, waiting: str, reporter: Reporter, stop: Cancellation) -> Iterator[None]:
        """
        Hold the lease at *key* during the ``with`` block.

        If another publisher holds the lease, report *waiting* as a note, and wait until the lease is released or expires.
        Raises `StoppedError` if *stop* is requested while waiting.
        """
        token = os.urandom(16)
        if not self._take(bucket, key, token):
            reporter.note(waiting)
            while not self._take(bucket, key, token):
                stop.check()
                self.sleep(self.poll_seconds)
        try:
            yield
        finally:
            # If the lease remains, the next publisher of the same layer only has to wait until it expires.
            with suppress(AwsError):
                bucket.objects.delete(key)

    def _take(self, bucket: Bucket, key: str, token: bytes) -> bool:
        objects, sha256 = bucket.objects, hashlib.sha256(token).hexdigest()
        if objects.put(key, token, sha256=sha256):
            return True
        # If the reply was lost, the SDK repeated the request and found the lease that the first request created.
        if objects.get(key) == token:
            return True
        held = objects.head(key)
        if held is None or held.age_seconds <= self.lease_seconds:
            return False
        return objects.put(key, token, sha256=sha256, replacing=held.etag) or objects.get(key) == token


def same_versions(step: LayerStep, code_sha256: str | None) -> tuple[PublishedVersion, ...]:
    """Return all versions with the desired layer's digest and this *code_sha256*, oldest first; none if *code_sha256* is ``None``."""
    layers = step.destination.services.layers
    found = candidates(layers, step.desired, layers.versions(step.desired.name))
    return tuple(each for each in found if each.code_sha256 == code_sha256)


def publish(
    step: LayerStep, code: Zip | S3Code, *, expected: str | None, sleep: Callable[[float], None]
) -> tuple[PublishedVersion, bool]:
    """
    Publish the layer, and return the version to keep and whether this call created it.

    Lambda must report *expected* as the version's CodeSha256. If *expected* is ``None``, S3 has verified the zip's parts, and only the
    size must match. Raises `IntegrityError` on a mismatch, after deleting the version, and the layer's zip and record in the bucket.
    """
    layers = step.destination.services.layers
    version = _publish(step, code, expected, sleep)
    _check(step, version, expected)
    same = same_versions(step, version.code_sha256)
    if not same or version.number < same[0].number:
        return version, True
    for each in same[1:]:
        # A newer version comes from a concurrent publisher, which also deletes all but the oldest, or from a request that was
        # delivered twice. A version between the oldest and this one is deleted by its own publisher.
        if each.number >= version.number:
            layers.delete(step.desired.name, each.number)
    return same[0], same[0].number == version.number


def _publish(
    step: LayerStep, code: Zip | S3Code, expected: str | None, sleep: Callable[[float], None]
) -> PublishedVersion:
    """
    Publish the layer. If a request fails and the version may exist, look for the version before repeating the request.

    If *expected* is ``None``, lamina cannot recognise the version, so the request is not repeated.
    """
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
        difference = f"{layer.zipped_bytes:,} bytes, got {version.code_bytes:,} bytes"
    else:
        same = version.code_sha256 == expected
        difference = f"CodeSha256 {expected}, got {version.code_sha256}"
    if same:
        return
    step.destination.services.layers.delete(name, version.number)
    if (bucket := step.destination.bucket) is not None:
        bucket.objects.delete(bucket.keys.layer(layer.digest))
        # The expected SHA-256 may come from the record, so the record may be wrong.
        bucket.objects.delete(bucket.keys.record(layer.digest))
    raise IntegrityError(
        f"Lambda's copy of layer `{name}` differs from the build: expected {difference}",
        hint="run again; lamina has deleted the faulty version",
    )
