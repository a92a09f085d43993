"""
Bring whole layers into buckets, whoever is going to publish them: `apply`, or something else, such as CloudFormation.

Planning only reads. Whatever is interrupted leaves whole objects only, and running again goes on from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.destination.destination import collect
from lamina.aws.publish import upload
from lamina.core.errors import ConfigError
from lamina.core.reporter import SILENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.destination.destination import Destination
    from lamina.aws.publish.upload import UploadPlan
    from lamina.aws.publish.zip_source import LayerJob
    from lamina.core.reporter import Reporter


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePlan:
    """What one bucket is to get of one layer."""

    job: LayerJob
    destination: Destination
    bucket: Bucket
    upload: UploadPlan

    @property
    def key(self) -> str:
        """Where the layer is, or is going to be."""
        return self.bucket.keys.layer(self.job.desired.layer.digest)


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedUpload:
    """A layer that is in a bucket."""

    plan: StagePlan
    sent_bytes: int


def plan_stage(jobs: Sequence[LayerJob], destinations: Sequence[Destination]) -> tuple[StagePlan, ...]:
    """
    Return what the buckets of all *destinations* lack of all *jobs*, in that order.

    Raises ConfigError where no bucket is configured, and AwsError and its kinds.
    """

    def plan_jobs(destination: Destination) -> list[StagePlan]:
        bucket = destination.bucket
        if bucket is None:
            raise ConfigError(
                "There is no bucket to put layers together in",
                hint='name one in `[tool.lamina.publish]`: bucket = "artifacts-{account}-{region}"',
            )
        return [StagePlan(job=job, destination=destination, bucket=bucket, upload=_upload(job, bucket)) for job in jobs]

    return collect(plan_jobs, destinations)


def _upload(job: LayerJob, bucket: Bucket) -> UploadPlan:
    if upload.is_composed(bucket, job.source):
        return upload.UploadPlan(composed=True)
    # Nobody asks Lambda which layer there was before.
    return upload.plan_upload(job, bucket, None, composed=False)


def stage(plans: Sequence[StagePlan], *, reporter: Reporter = SILENT) -> tuple[StagedUpload, ...]:
    """
    Put together the layers that buckets lack, at all destinations at the same time, and publish none of them.

    Return what was sent, in the order of *plans*, which are as `plan_stage` returns them. Raises AwsError and its kinds; what was
    done by then stays.
    """
    if total := sum(plan.upload.sent_bytes for plan in plans):
        reporter.stage("Uploading", total=total, unit="bytes")

    def stage_layers(destination: Destination) -> list[StagedUpload]:
        return [
            StagedUpload(plan=plan, sent_bytes=_stage(plan, reporter))
            for plan in plans
            if plan.destination is destination
        ]

    return collect(stage_layers, (plan.destination for plan in plans))


def _stage(plan: StagePlan, reporter: Reporter) -> int:
    """Put one layer together, and return how many bytes were sent."""
    if plan.upload.composed:
        return 0
    job, bucket, stop = plan.job, plan.bucket, plan.destination.stop
    sent = upload.send(job, bucket, plan.upload, reporter=reporter, stop=stop)
    stop.check()
    composed, sha256 = upload.compose(bucket, job.source)
    if sha256 is not None:
        upload.record(job, bucket, sha256)
    return sent + composed
