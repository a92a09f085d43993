"""
Carry out a plan. Whatever is interrupted here leaves whole things only, and running again goes on from them.

A layer becomes one version, however many publish it at the same time: with a bucket one of them holds a lease and the others
find what it published; and each of them looks again after publishing, and deletes what came second.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.api.functions import S3Code, Storage, Zip
from lamina.aws.destination.destination import collect
from lamina.aws.publish import idempotent, upload
from lamina.aws.publish.idempotent import Leases
from lamina.aws.publish.plan import KeepLayer, PublishLayer
from lamina.core.reporter import SILENT
from lamina.core.values import code_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.aws.api.account import Account
    from lamina.aws.api.layers import PublishedVersion
    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.destination.destination import Destination
    from lamina.aws.publish.survey import LayerStep
    from lamina.aws.publish.upload import UploadPlan
    from lamina.core.reporter import Reporter

_LEASES = Leases()


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A layer version that is the desired layer."""

    step: LayerStep
    version: PublishedVersion
    new: bool = False
    """Whether it was published now, by us."""
    sent_bytes: int = 0

    @property
    def account(self) -> Account:
        """Where it is."""
        return self.step.destination.services.account


def apply(
    steps: Sequence[LayerStep], *, reporter: Reporter = SILENT, leases: Leases = _LEASES
) -> tuple[Published, ...]:
    """
    Carry out *steps*, which are as `survey` returns them, and return the versions in the same order.

    All destinations work at the same time, on one layer after the other. Raises AwsError and its kinds; what was done by then stays,
    and is found by the next plan.
    """
    bytes_to_send = sum(step.action.upload_bytes for step in steps if isinstance(step.action, PublishLayer))
    if bytes_to_send:
        reporter.stage("Uploading", total=bytes_to_send, unit="bytes")

    def apply_steps(destination: Destination) -> list[Published]:
        return [_apply(step, reporter, leases) for step in steps if step.destination is destination]

    return collect(apply_steps, (step.destination for step in steps))


def _apply(step: LayerStep, reporter: Reporter, leases: Leases) -> Published:
    step.destination.stop.check()
    services, action = step.destination.services, step.action
    if isinstance(action, KeepLayer):
        published = Published(step=step, version=action.version)
    else:
        published = _publish(step, action, reporter, leases)
    for grant in action.grants:
        services.layers.grant(step.desired.name, published.version.number, grant)
    if action.parameter is not None:
        services.parameters.put(action.parameter, published.version.arn)
    return published


def _publish(step: LayerStep, action: PublishLayer, reporter: Reporter, leases: Leases) -> Published:
    bucket = step.destination.bucket
    if bucket is not None and action.upload is not None:
        return _publish_from_bucket(step, bucket, action.upload, reporter, leases)
    size = step.desired.layer.zipped_bytes
    reporter.advance(size)
    code = Zip(content=step.job.source.read())
    version, new = idempotent.publish(step, code, expected=step.desired.layer.code_sha256, sleep=leases.sleep)
    return Published(step=step, version=version, new=new, sent_bytes=size if new else 0)


def _publish_from_bucket(
    step: LayerStep, bucket: Bucket, plan: UploadPlan, reporter: Reporter, leases: Leases
) -> Published:
    """Put the layer together in *bucket*, and publish it from there."""
    job, desired, destination = step.job, step.desired, step.destination
    sent = upload.send(job, bucket, plan, reporter=reporter, stop=destination.stop)
    key = bucket.keys.lease(destination.services.account, desired.name, desired.layer.digest)
    waiting = f"another publisher is at work on layer `{desired.name}`: waiting for it"
    with leases.hold(bucket, key, waiting=waiting, reporter=reporter, stop=destination.stop):
        # It may have been published while the parts were on their way.
        found = idempotent.same_versions(step, desired.layer.code_sha256)
        if found:
            return Published(step=step, version=found[0], sent_bytes=sent)
        composed, sha256 = upload.compose(bucket, job.source)
        if sha256 is not None:
            upload.record(job, bucket, sha256)
        destination.stop.check()
        expected = None if sha256 is None else code_sha256(sha256)
        version, new = idempotent.publish(step, _code(step, bucket), expected=expected, sleep=leases.sleep)
        if sha256 is None:
            upload.record(job, bucket, base64.b64decode(version.code_sha256).hex())
    return Published(step=step, version=version, new=new, sent_bytes=sent + composed)


def _code(step: LayerStep, bucket: Bucket) -> S3Code:
    key, storage = bucket.keys.layer(step.desired.layer.digest), step.desired.config.storage
    stored = bucket.objects.head(key) if storage is Storage.REFERENCE else None
    version_id = None if stored is None else stored.version_id
    return S3Code(bucket=bucket.name, key=key, storage=storage, version_id=version_id)
