"""
Apply a publication plan. An interruption leaves only complete objects and versions, and running again continues from them.

If several publishers publish the same layer at the same time, one version remains. With a bucket, one publisher at a time holds a
lease, and the other publishers wait and then use its version. With or without a bucket, each publisher lists the versions again
after publishing, and deletes newer duplicates.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.api.functions import S3Code, Storage, Zip
from lamina.aws.destination.destination import attempt
from lamina.aws.publish import idempotent, upload
from lamina.aws.publish.idempotent import Leases
from lamina.aws.publish.plan import KeepLayer, PublishLayer
from lamina.core.errors import StoppedError
from lamina.core.reporter import SILENT
from lamina.core.values import code_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lamina.aws.api.account import Account
    from lamina.aws.api.layers import PublishedVersion
    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.destination.destination import Destination
    from lamina.aws.publish.survey import LayerStep
    from lamina.aws.publish.upload import UploadPlan
    from lamina.core.errors import LaminaError
    from lamina.core.reporter import Reporter

_LEASES = Leases()


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """The result of a step: the layer version that has the desired content."""

    step: LayerStep
    version: PublishedVersion
    new: bool = False
    """Whether this run published the version."""
    sent_bytes: int = 0

    @property
    def account(self) -> Account:
        """The account and region of the layer version."""
        return self.step.destination.services.account


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishOutcome:
    """The result of all steps, some of which may have failed."""

    published: tuple[Published, ...]
    """The results of the completed steps, in their order."""
    errors: Mapping[Destination, LaminaError]
    """The errors of the destinations at which a step failed."""
    error: LaminaError | None
    """All *errors* as one; ``None`` if all steps were completed."""


def apply(
    steps: Sequence[LayerStep], *, reporter: Reporter = SILENT, leases: Leases = _LEASES
) -> tuple[Published, ...]:
    """
    Run *steps* as `publish` does, and return the layer version of each step in the same order.

    Raises `AwsError`, or `StoppedError` after an interruption.
    """
    outcome = publish(steps, reporter=reporter, leases=leases)
    if outcome.error is not None:
        raise outcome.error
    return outcome.published


def publish(steps: Sequence[LayerStep], *, reporter: Reporter = SILENT, leases: Leases = _LEASES) -> PublishOutcome:
    """
    Run *steps*, which `survey` returned.

    Destinations run in parallel; at each destination, steps run one after another, until one fails. Completed steps are not undone. The
    next `survey` finds their results.
    """
    bytes_to_send = sum(step.action.upload_bytes for step in steps if isinstance(step.action, PublishLayer))
    if bytes_to_send:
        reporter.stage("uploading and publishing", total=bytes_to_send, unit="bytes")
    done: dict[int, Published] = {}

    def apply_steps(destination: Destination) -> None:
        for number, step in enumerate(steps):
            if step.destination is destination:
                done[number] = _apply(step, reporter, leases)

    attempted = attempt(apply_steps, (step.destination for step in steps))
    published = tuple(done[number] for number in sorted(done))
    error = attempted.error
    if isinstance(error, StoppedError) and not any(each.new for each in published):
        error = StoppedError(f"{error}; no layer version was published")
    return PublishOutcome(published=published, errors=attempted.errors, error=error)


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
    """Compose the layer in *bucket* and publish it from there, unless another publisher has just published the same layer."""
    job, desired, destination = step.job, step.desired, step.destination
    sent = upload.send(job, bucket, plan, reporter=reporter, stop=destination.stop)
    key = bucket.keys.lease(destination.services.account, desired.name, desired.layer.digest)
    waiting = f"another run is publishing layer `{desired.name}`; waiting for it to finish"
    with leases.hold(bucket, key, waiting=waiting, reporter=reporter, stop=destination.stop):
        # Another publisher may have published the layer while the parts were uploaded.
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
