"""Decide whether a layer version is kept or published, and what that takes. Pure: nothing here has a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lamina.aws.destination.naming import digest_in
from lamina.pipeline.differences import differences

if TYPE_CHECKING:
    from lamina.aws.api.layers import Grant, LayerVersion, PublishedVersion
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.aws.publish.layer_record import LayerRecord
    from lamina.aws.publish.upload import UploadPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerState:
    """What AWS holds of one layer in one account and region."""

    versions: tuple[LayerVersion, ...] = ()
    """All of them, newest first."""
    candidates: tuple[PublishedVersion, ...] = ()
    """Those whose description has the desired digest, oldest first, as they really are."""
    granted: frozenset[str] = frozenset()
    """Statement ids in the policy of the version to keep."""
    parameter: str | None = None
    """What the layer's parameter says."""
    record: LayerRecord | None = None
    """Of the newest version that lamina published."""
    upload: UploadPlan | None = None
    """What the bucket lacks of the layer, if there is a bucket."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepLayer:
    """A version that is the desired layer exists."""

    version: PublishedVersion
    reason: str
    grants: tuple[Grant, ...] = ()
    """Those that it lacks."""
    parameter: str | None = None
    """The parameter to be set, if it does not say this version."""

    @property
    def is_change(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.grants or self.parameter)


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishLayer:
    """No version is the desired layer."""

    reason: str
    upload_bytes: int
    """What is to be sent at most, to the bucket or to Lambda."""
    upload: UploadPlan | None = None
    """What the bucket is to get; without a bucket the call to Lambda carries the zip."""
    grants: tuple[Grant, ...] = ()
    parameter: str | None = None
    is_change: ClassVar = True


Action = KeepLayer | PublishLayer


def matching(desired: DesiredLayer, candidates: tuple[PublishedVersion, ...]) -> PublishedVersion | None:
    """Return the oldest of *candidates* with the desired content, so that every publisher finds the same; none while its SHA-256 is unknown."""
    return next((each for each in candidates if each.code_sha256 == desired.layer.code_sha256), None)


def plan(desired: DesiredLayer, state: LayerState, *, parameter: str | None = None) -> Action:
    """
    Return what has to happen so that AWS holds *desired*, given that it holds *state*.

    *parameter* is the name of the parameter for its ARN.
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
    return "unchanged" if found.number == newest else f"version {found.number} is the same, though not the newest"


def _published(desired: DesiredLayer, state: LayerState) -> str:
    if state.candidates:
        number = state.candidates[-1].number
        return f"version {number} says that it is this layer, but " + (
            "nobody has hashed that as a whole" if desired.layer.sha256 is None else "its content differs"
        )
    if not state.versions:
        return "not published before"
    if state.record is not None:
        if state.record.platform != desired.platform:
            return f"{state.record.platform} → {desired.platform}"
        words = differences(state.record.distributions, desired.layer.distributions)
        return words or "the recipe changed (exclusions, bytecode or lamina's format)"
    ours = next((each for each in state.versions if digest_in(each.description)), None)
    if ours is None:
        return f"no version of it was published by lamina, the newest is {state.versions[0].number}"
    return f"the locked content is another than that of version {ours.number}"
