"""Decide what to ask of AWS. Pure: nothing here has a client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.aws.publish.naming import digest_in
from lamina.pipeline.differences import differences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.aws.api.protocols import Grant, LayerVersion, PublishedVersion
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.aws.publish.manifest import Record
    from lamina.aws.publish.part_copy import PartCopy

__all__ = ["Action", "KeepLayer", "LayerState", "PublishLayer", "matching", "plan"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerState:
    """What AWS holds of one layer in one account and region."""

    versions: tuple[LayerVersion, ...] = ()
    """All of them, newest first."""
    candidates: tuple[PublishedVersion, ...] = ()
    """Those whose description has the wanted digest, oldest first, as they really are."""
    granted: frozenset[str] = frozenset()
    """Statement ids in the policy of the version to keep."""
    parameter: str | None = None
    """What the layer's parameter says."""
    record: Record | None = None
    """Of the newest version that lamina published."""
    stored: frozenset[str] = frozenset()
    """SHA-256 of the parts that the bucket has."""
    copies: Mapping[str, PartCopy] = field(default_factory=dict)
    """How parts are made that the bucket lacks, but not all of, by their SHA-256."""
    composed: bool = False
    """Whether the bucket has the whole layer."""
    shelf_bytes: int = 0
    """What the bucket's shelf is to get at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepLayer:
    """A version that is the wanted layer exists."""

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
    """No version is the wanted layer."""

    reason: str
    upload_bytes: int
    """What is to be sent, to the bucket or to Lambda."""
    missing: frozenset[str] = frozenset()
    """SHA-256 of the parts that the bucket lacks."""
    copies: Mapping[str, PartCopy] = field(default_factory=dict)
    """How those of them are made that need not be sent as a whole."""
    shelved: frozenset[str] = frozenset()
    """Names of what the bucket's shelf is known to have."""
    grants: tuple[Grant, ...] = ()
    parameter: str | None = None

    @property
    def is_change(self) -> bool:
        """Always."""
        return True


Action = KeepLayer | PublishLayer


def matching(code_sha256: str, candidates: tuple[PublishedVersion, ...]) -> PublishedVersion | None:
    """Return the oldest of *candidates* with this content: every publisher comes to the same."""
    return next((each for each in candidates if each.code_sha256 == code_sha256), None)


def plan(
    wanted: DesiredLayer, state: LayerState, *, parts: tuple[str, ...] = (), parameter: str | None = None
) -> Action:
    """
    Return what has to happen so that AWS holds *wanted*, given that it holds *state*.

    *parts* are the SHA-256 of the layer's parts in order, *parameter* the name of the parameter for its ARN.
    """
    grants = wanted.config.share_with
    found = matching(wanted.layer.code_sha256, state.candidates)
    if found is not None:
        return KeepLayer(
            version=found,
            reason=_kept(found, state),
            grants=tuple(grant for grant in grants if grant.statement_id not in state.granted),
            parameter=parameter if parameter is not None and state.parameter != found.arn else None,
        )
    missing = frozenset(parts) - state.stored
    return PublishLayer(
        reason=_published(wanted, state),
        upload_bytes=state.shelf_bytes + (0 if state.composed else _upload_bytes(wanted, parts, missing, state.copies)),
        missing=frozenset() if state.composed else missing,
        copies=state.copies,
        shelved=frozenset(state.record.directories) if state.record is not None else frozenset(),
        grants=grants,
        parameter=parameter,
    )


def _upload_bytes(
    wanted: DesiredLayer, parts: tuple[str, ...], missing: frozenset[str], copies: Mapping[str, PartCopy]
) -> int:
    sizes = dict(zip(parts, (part.size for part in wanted.layout.parts), strict=False))
    sent = {**sizes, **{sha256: each.sent_bytes for sha256, each in copies.items()}}
    return sum(sent[sha256] for sha256 in missing) + wanted.layer.zipped_bytes - sum(sizes.values())


def _kept(found: PublishedVersion, state: LayerState) -> str:
    newest = state.versions[0].number if state.versions else found.number
    return "unchanged" if found.number == newest else f"version {found.number} is the same, though not the newest"


def _published(wanted: DesiredLayer, state: LayerState) -> str:
    if state.candidates:
        number = state.candidates[-1].number
        known = wanted.layer.sha256
        return f"version {number} says that it is this layer, but " + (
            "its content differs" if known else "nobody has hashed that as a whole"
        )
    if not state.versions:
        return "not published before"
    if state.record is not None:
        if state.record.platform != wanted.platform:
            return f"{state.record.platform} → {wanted.platform}"
        words = differences(state.record.distributions, wanted.layer.distributions)
        return words or "the recipe changed (exclusions, bytecode or lamina's format)"
    ours = next((each for each in state.versions if digest_in(each.description)), None)
    if ours is None:
        return f"no version of it was published by lamina, the newest is {state.versions[0].number}"
    return f"the locked content is another than that of version {ours.number}"
