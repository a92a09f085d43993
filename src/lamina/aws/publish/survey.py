"""Read the current state in AWS, and plan the publication of every layer at every destination. This module only reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.api.functions import Storage
from lamina.aws.destination.destination import collect
from lamina.aws.destination.naming import digest_in, fill
from lamina.aws.publish.bucket_policy import check
from lamina.aws.publish.layer_record import decode_record
from lamina.aws.publish.plan import LayerState, matching, plan
from lamina.aws.publish.upload import is_composed, plan_upload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.aws.api.account import Services
    from lamina.aws.api.layers import Layers, LayerVersion, PublishedVersion
    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.destination.destination import Destination
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.aws.publish.layer_record import LayerRecord
    from lamina.aws.publish.plan import Action
    from lamina.aws.publish.zip_source import LayerJob


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerStep:
    """The planned action for one layer at one destination."""

    job: LayerJob
    destination: Destination
    action: Action

    @property
    def desired(self) -> DesiredLayer:
        """The desired state of the layer."""
        return self.job.desired


def survey(jobs: Sequence[LayerJob], destinations: Sequence[Destination]) -> tuple[LayerStep, ...]:
    """Return the plan for all *jobs* at all *destinations*, ordered by destination, then job. Raises `AwsError`."""

    def plan_jobs(destination: Destination) -> list[LayerStep]:
        return [LayerStep(job=job, destination=destination, action=_plan(job, destination)) for job in jobs]

    return collect(plan_jobs, destinations)


def candidates(layers: Layers, desired: DesiredLayer, versions: Sequence[LayerVersion]) -> tuple[PublishedVersion, ...]:
    """Return each of *versions* with the digest of *desired* in its description, oldest first, with its content hash and size."""
    numbers = [each.number for each in reversed(versions) if digest_in(each.description) == desired.layer.digest]
    found = (layers.version(desired.name, number) for number in numbers)
    return tuple(each for each in found if each is not None)


def _plan(job: LayerJob, destination: Destination) -> Action:
    desired, services = job.desired, destination.services
    parameter = _parameter(desired, services)
    versions = tuple(services.layers.versions(desired.name))
    found = candidates(services.layers, desired, versions)
    kept = matching(desired, found)
    if kept is not None:
        shared = bool(desired.config.share_with)
        state = LayerState(
            versions=versions,
            candidates=found,
            granted=services.layers.granted(desired.name, kept.number) if shared else frozenset(),
            parameter=services.parameters.get(parameter) if parameter is not None else None,
        )
    elif (bucket := destination.bucket) is None:
        state = LayerState(versions=versions, candidates=found)
    else:
        if desired.config.storage is Storage.REFERENCE:
            check(bucket, account=services.account)
        record = _record(bucket, versions)
        upload = plan_upload(job, bucket, record, composed=is_composed(bucket, job.source))
        state = LayerState(versions=versions, candidates=found, record=record, upload=upload)
    return plan(desired, state, parameter=parameter)


def _record(bucket: Bucket, versions: Sequence[LayerVersion]) -> LayerRecord | None:
    """Return the record of the newest of *versions* that lamina published, or ``None`` if there is no valid record."""
    digest = next((found for each in versions if (found := digest_in(each.description)) is not None), None)
    if digest is None:
        return None
    record = decode_record(bucket.objects.get(bucket.keys.record(digest)))
    return record if record is not None and record.digest == digest else None


def _parameter(desired: DesiredLayer, services: Services) -> str | None:
    prefix = desired.config.ssm_prefix
    if prefix is None:
        return None
    return f"{fill(prefix, services.account, service=desired.service)}/{desired.label}"
