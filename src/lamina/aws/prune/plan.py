"""Decide which layer versions and bucket objects to delete. This module calls no AWS API, and keeps everything that may be in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.api.functions import unversioned
from lamina.aws.destination.naming import digest_in, may_be_layer, service_in
from lamina.core.frozen import frozen
from lamina.core.text import count

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from lamina.aws.api.layers import LayerVersion
    from lamina.aws.api.s3 import Listed, Unfinished
    from lamina.aws.destination.naming import Keys
    from lamina.aws.prune.present import ProjectLayers
    from lamina.aws.publish.layer_record import LayerRecord

_DAY_SECONDS = 86_400
UNUSED = "not used by any version of any function"
"""The reason for deleting a layer version."""
LEAST_OBJECT_SECONDS = float(_DAY_SECONDS)
"""The age in seconds from which objects and unfinished uploads are deleted. A more recent one may belong to a running `lamina publish`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionRules:
    """The rules for keeping unused layer versions that lamina published. One matching rule keeps a version."""

    keep: int
    """
    How many of the newest versions of each layer that the service publishes are kept, used or not; less than one counts as one.
    """
    keep_days: float
    """Versions that were published less than this number of days ago are kept."""


@frozen
class ServiceLayers:
    """How to recognise the layers that a service has published, and no longer does."""

    service: str
    template: str
    """The configured ``layer-name``."""
    published: frozenset[str]
    """The names in Lambda of the layers that the service publishes now."""

    def is_retired(self, name: str, description: str) -> bool:
        """Return whether the service published the layer *name*, whose newest version has *description*, and no longer does."""
        return (
            name not in self.published
            and service_in(description) == self.service
            and may_be_layer(name, self.template, service=self.service)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepVersion:
    """Keep a layer version."""

    version: LayerVersion
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteVersion:
    """Delete a layer version that no function in the account uses."""

    version: LayerVersion
    reason: str = UNUSED


Action = KeepVersion | DeleteVersion


@frozen
class NeededVersions:
    """The layer versions that must stay, whatever their age."""

    used: Collection[str]
    """The ARNs of layer versions that functions use."""
    guarded: Collection[str]
    """The ARNs, without version, of layers that a CloudFormation stack may roll back to."""
    named: Mapping[str, str]
    """The Systems Manager parameter or CloudFormation stack that names the version, by the version's ARN."""
    project: ProjectLayers
    """The layer versions that the project needs."""

    def reason(self, version: LayerVersion) -> str | None:
        """Return the first reason for which *version* must stay, or ``None`` if there is none."""
        if version.arn in self.used:
            return "used by a function"
        if version.arn in self.named:
            return f"named by {self.named[version.arn]}"
        if unversioned(version.arn) in self.guarded:
            return "a CloudFormation stack may still roll back to it"
        return self.project.reason(version)


def plan(
    versions: Iterable[LayerVersion],
    *,
    needed: NeededVersions,
    rules: RetentionRules,
    now: dt.datetime,
    retired: Collection[str] = (),
) -> tuple[Action, ...]:
    """
    Return the action for each of *versions*, sorted by layer name, newest version first.

    Of the layers *retired*, which the service no longer publishes, the newest versions are not kept.
    """
    layers: dict[str, list[LayerVersion]] = {}
    for version in versions:
        layers.setdefault(version.name, []).append(version)
    actions: list[Action] = []
    for name in sorted(layers):
        newest = sorted(layers[name], key=lambda each: -each.number)
        # Versions that lamina did not publish are not counted among the newest.
        keep = 0 if name in retired else max(1, rules.keep)
        ours = [version.number for version in newest if digest_in(version.description) is not None]
        for version in newest:
            place = ours.index(version.number) if version.number in ours else None
            reason = needed.reason(version) or _retained(version, place, keep, rules.keep_days, now)
            actions.append(
                DeleteVersion(version=version) if reason is None else KeepVersion(version=version, reason=reason)
            )
    return tuple(actions)


def _retained(version: LayerVersion, place: int | None, keep: int, keep_days: float, now: dt.datetime) -> str | None:
    """
    Return the first rule that keeps *version*, or ``None`` if there is none.

    *place* is its position among the versions that lamina published, 0 for the newest; ``None`` if lamina did not publish it.
    """
    if place is None:
        return "not published by lamina"
    if place < keep:
        return f"among the newest {count(keep, 'version')}"
    if (now - version.created).total_seconds() < keep_days * _DAY_SECONDS:
        return f"published less than {keep_days:g} {'day' if keep_days == 1 else 'days'} ago"
    return None


def left_over(uploads: Iterable[Unfinished], keys: Keys) -> tuple[Unfinished, ...]:
    """
    Return those *uploads* that lamina started at least a day ago.

    Their publisher must have been killed, but S3 still keeps the parts that it sent.
    """
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
    Return the *objects* that can be deleted. *kept* are the digests of the layers that must stay available.

    *records* list the parts and the entries of the remote index that kept layers need. If it is ``None``, all parts and entries are
    kept. A kept layer without a record protects only its own zip and record. With *keep_layers*, all zips of layers and functions are
    kept, because Lambda may read layers from the bucket. Objects less than a day old, and objects that lamina did not write, are never
    returned. An older lease is returned, because the publisher that owned it was killed.
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
