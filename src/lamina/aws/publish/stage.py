"""
Upload complete layers to buckets without publishing them, for tools such as CloudFormation that publish layers themselves.

Planning only reads. An interrupted upload leaves only complete objects, and running again continues from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.destination.destination import attempt, collect
from lamina.aws.publish import upload
from lamina.core.errors import ConfigError
from lamina.core.reporter import SILENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.destination.destination import Destination
    from lamina.aws.publish.upload import UploadPlan
    from lamina.aws.publish.zip_source import LayerJob
    from lamina.core.errors import LaminaError
    from lamina.core.reporter import Reporter


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePlan:
    """The planned upload of one layer to one bucket."""

    job: LayerJob
    destination: Destination
    bucket: Bucket
    upload: UploadPlan

    @property
    def key(self) -> str:
        """The key of the layer's zip in the bucket. The object exists once the upload is complete."""
        return self.bucket.keys.layer(self.job.desired.layer.digest)


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedUpload:
    """A completed upload, and the number of bytes uploaded: 0 if the bucket already had the layer."""

    plan: StagePlan
    sent_bytes: int


def plan_stage(jobs: Sequence[LayerJob], destinations: Sequence[Destination]) -> tuple[StagePlan, ...]:
    """
    Plan the upload of the layers of all *jobs* to the buckets of all *destinations*. The plans are ordered by destination, then job.

    Raises `ConfigError` if no bucket is configured, and `AwsError`.
    """

    def plan_jobs(destination: Destination) -> list[StagePlan]:
        bucket = destination.bucket
        if bucket is None:
            raise ConfigError(
                "uploading layers requires a bucket, but none is configured",
                hint='set `bucket = "artifacts-{account}-{region}"` in `[tool.lamina.publish]`',
            )
        return [StagePlan(job=job, destination=destination, bucket=bucket, upload=_upload(job, bucket)) for job in jobs]

    return collect(plan_jobs, destinations)


def _upload(job: LayerJob, bucket: Bucket) -> UploadPlan:
    if upload.is_composed(bucket, job.source):
        return upload.UploadPlan(composed=True)
    # Without a query to Lambda, the previous layer and its record are unknown.
    return upload.plan_upload(job, bucket, None, composed=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageOutcome:
    """The result of all uploads, some of which may have failed."""

    uploads: tuple[StagedUpload, ...]
    """The completed uploads, in the order of their plans."""
    errors: Mapping[Destination, LaminaError]
    """The errors of the destinations at which an upload failed."""
    error: LaminaError | None
    """All *errors* as one; ``None`` if all uploads were completed."""


def stage(plans: Sequence[StagePlan], *, reporter: Reporter = SILENT) -> StageOutcome:
    """
    Upload the layers that buckets lack, at all destinations in parallel, without publishing them.

    *plans* is the result of `plan_stage`. Uploads that were completed before an error are not undone.
    """
    if total := sum(plan.upload.sent_bytes for plan in plans):
        reporter.stage("uploading", total=total, unit="bytes")
    done: dict[int, StagedUpload] = {}

    def stage_layers(destination: Destination) -> None:
        for number, plan in enumerate(plans):
            if plan.destination is destination:
                done[number] = StagedUpload(plan=plan, sent_bytes=_stage(plan, reporter))

    attempted = attempt(stage_layers, (plan.destination for plan in plans))
    uploads = tuple(done[number] for number in sorted(done))
    return StageOutcome(uploads=uploads, errors=attempted.errors, error=attempted.error)


def _stage(plan: StagePlan, reporter: Reporter) -> int:
    """Upload and compose one layer, and return the number of bytes uploaded."""
    if plan.upload.composed:
        return 0
    job, bucket, stop = plan.job, plan.bucket, plan.destination.stop
    sent = upload.send(job, bucket, plan.upload, reporter=reporter, stop=stop)
    stop.check()
    composed, sha256 = upload.compose(bucket, job.source)
    if sha256 is not None:
        upload.record(job, bucket, sha256)
    return sent + composed
