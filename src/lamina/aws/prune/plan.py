"""Decide which layer versions and objects nobody needs. Pure: nothing here has a client, and whatever is in doubt is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.api.functions import unversioned
from lamina.aws.destination.naming import digest_in

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Sequence

    from lamina.aws.api.layers import LayerVersion
    from lamina.aws.api.s3 import Listed, Unfinished
    from lamina.aws.destination.naming import Keys
    from lamina.aws.publish.layer_record import LayerRecord

_DAY_SECONDS = 86_400
LEAST_OBJECT_SECONDS = float(_DAY_SECONDS)
"""A younger object may belong to a layer that is being published."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionRules:
    """How much of what nobody uses is kept anyway."""

    keep: int
    """The newest versions of each layer, at least one."""
    keep_days: float
    """All that are younger."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepVersion:
    """A version that stays."""

    version: LayerVersion
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteVersion:
    """A version that nobody in the account uses."""

    version: LayerVersion
    reason: str = "not used by any function, version or alias"


Action = KeepVersion | DeleteVersion


def plan(
    versions: Iterable[LayerVersion],
    *,
    used: Collection[str],
    guarded: Collection[str],
    rules: RetentionRules,
    now: dt.datetime,
) -> tuple[Action, ...]:
    """
    Return what becomes of each of *versions*, newest first within each layer.

    *used* are the ARNs of layer versions that functions have; *guarded*, without version, those of layers that a stack may go back to.
    """
    layers: dict[str, list[LayerVersion]] = {}
    for version in versions:
        layers.setdefault(version.name, []).append(version)
    actions: list[Action] = []
    for name in sorted(layers):
        newest = sorted(layers[name], key=lambda each: -each.number)
        # What others published takes none of the places.
        ours = [version.number for version in newest if digest_in(version.description) is not None]
        for version in newest:
            place = ours.index(version.number) if version.number in ours else None
            reason = _reason(version, place, used=used, guarded=guarded, rules=rules, now=now)
            actions.append(
                DeleteVersion(version=version) if reason is None else KeepVersion(version=version, reason=reason)
            )
    return tuple(actions)


def _reason(
    version: LayerVersion,
    place: int | None,
    *,
    used: Collection[str],
    guarded: Collection[str],
    rules: RetentionRules,
    now: dt.datetime,
) -> str | None:
    """Return why a version stays, the strongest reason first; nothing if it need not."""
    if version.arn in used:
        return "used by a function"
    if unversioned(version.arn) in guarded:
        return "a stack that is being changed may go back to it"
    if place is None:
        return "not published by lamina"
    if place < max(1, rules.keep):
        return f"one of the newest {max(1, rules.keep)}"
    if (now - version.created).total_seconds() < rules.keep_days * _DAY_SECONDS:
        return f"younger than {rules.keep_days:g} days"
    return None


def left_over(uploads: Iterable[Unfinished], keys: Keys) -> tuple[Unfinished, ...]:
    """Return those of *uploads* that are lamina's and older than a day: whoever began them was killed, and S3 keeps what was sent."""
    return tuple(each for each in uploads if each.age_seconds >= LEAST_OBJECT_SECONDS and keys.is_ours(each.key))


def unneeded(
    objects: Iterable[Listed],
    *,
    kept: Collection[str],
    records: Sequence[LayerRecord] | None,
    keys: Keys,
    keep_layers: bool,
) -> tuple[Listed, ...]:
    """
    Return those of *objects* that no layer version needs whose digest is in *kept*.

    *records* are those of kept layers; a layer without one counts with nothing but itself, and where they are not known all parts and directories stay.
    With *keep_layers* whole layers stay, because Lambda may read them there. What is not lamina's, and what is younger than a day,
    is never returned; an older lease has been left by a publisher who was killed.
    """
    needed = {keys.part(sha256) for record in records or () for sha256 in record.parts}
    needed |= {keys.directory(name) for record in records or () for name in record.directories}
    for digest in kept:
        needed |= {keys.layer(digest), keys.record(digest)}
    return tuple(
        each
        for each in objects
        if each.age_seconds >= LEAST_OBJECT_SECONDS
        and keys.is_ours(each.key)
        and each.key not in needed
        and not (records is None and (keys.is_part(each.key) or keys.is_directory(each.key)))
        and not (keep_layers and keys.is_layer(each.key))
    )
