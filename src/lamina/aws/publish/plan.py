"""Decide whether to keep an existing layer version or publish a new one. This module calls no AWS API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lamina.aws.destination.naming import digest_in
from lamina.pipeline.differences import RECIPE_CHANGED, differences

if TYPE_CHECKING:
    from lamina.aws.api.layers import Grant, LayerVersion, PublishedVersion
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.aws.publish.layer_record import LayerRecord
    from lamina.aws.publish.upload import UploadPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerState:
    """The current state of one layer in one account and region."""

    versions: tuple[LayerVersion, ...] = ()
    """All versions of the layer, newest first."""
    candidates: tuple[PublishedVersion, ...] = ()
    """The versions whose description has the desired digest, oldest first, with the content hash that Lambda reports."""
    granted: frozenset[str] = frozenset()
    """The statement IDs in the policy of the version to keep; empty if the configuration shares no layers."""
    parameter: str | None = None
    """The value of the layer's Systems Manager parameter; ``None`` if it is not configured or does not exist."""
    record: LayerRecord | None = None
    """The record of the newest version that lamina published; ``None`` if there is none, or if a version is kept."""
    upload: UploadPlan | None = None
    """The planned upload to the bucket; ``None`` without a bucket, or if a version is kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepLayer:
    """Keep an existing version that has the desired content."""

    version: PublishedVersion
    reason: str
    grants: tuple[Grant, ...] = ()
    """The grants that the version lacks."""
    parameter: str | None = None
    """The name of the parameter to set; ``None`` if it already has the version's ARN, or is not configured."""

    @property
    def is_change(self) -> bool:
        """Whether the version needs a grant, or the parameter must be set."""
        return bool(self.grants or self.parameter)


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishLayer:
    """Publish a new version, because no existing version has the desired content."""

    reason: str
    upload_bytes: int
    """The maximum number of bytes to upload, to the bucket or to Lambda."""
    upload: UploadPlan | None = None
    """The planned upload to the bucket; ``None`` without a bucket: the zip is then sent inside the API call."""
    grants: tuple[Grant, ...] = ()
    parameter: str | None = None
    is_change: ClassVar = True


Action = KeepLayer | PublishLayer


def matching(desired: DesiredLayer, candidates: tuple[PublishedVersion, ...]) -> PublishedVersion | None:
    """
    Return the oldest of *candidates* with the desired content, so that every publisher selects the same version.

    Return ``None`` if no candidate matches, or if the SHA-256 of the layer's zip is unknown.
    """
    return next((each for each in candidates if each.code_sha256 == desired.layer.code_sha256), None)


def plan(desired: DesiredLayer, state: LayerState, *, parameter: str | None = None) -> Action:
    """
    Return the action that changes AWS from *state* to *desired*.

    *parameter* is the name of the Systems Manager parameter for the layer's ARN, if one is configured.
    """
    grants = desired.config.share_with
    found = matching(desired, state.candidates)
    if found is not None:
        return KeepLayer(
            version=found,
            reason=_kept(found, state),
            grants=tuple(grant for grant in grants if grant.statement_id not in state.granted),
            parameter=parameter if parameter is not None and state.parameter != found.arn else None,
        )
    return PublishLayer(
        reason=_published(desired, state),
        upload_bytes=desired.layer.zipped_bytes if state.upload is None else state.upload.sent_bytes,
        upload=state.upload,
        grants=grants,
        parameter=parameter,
    )


def _kept(found: PublishedVersion, state: LayerState) -> str:
    newest = state.versions[0].number if state.versions else found.number
    return (
        "unchanged" if found.number == newest else f"version {found.number} is identical, but is not the newest version"
    )


def _published(desired: DesiredLayer, state: LayerState) -> str:
    if state.candidates:
        number = state.candidates[-1].number
        return f"version {number} has the same digest, but " + (
            "its content cannot be compared, because the new zip's SHA-256 is not known yet"
            if desired.layer.sha256 is None
            else "different content"
        )
    if not state.versions:
        return "not published before"
    if state.record is not None:
        if state.record.platform != desired.platform:
            return f"{state.record.platform} → {desired.platform}"
        words = differences(state.record.distributions, desired.layer.distributions)
        return words or RECIPE_CHANGED
    ours = next((each for each in state.versions if digest_in(each.description)), None)
    if ours is None:
        return f"lamina published none of the existing versions; the newest is version {state.versions[0].number}"
    return f"the content differs from version {ours.number}"
