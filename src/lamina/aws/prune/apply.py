"""Find the layer versions and stored objects that nobody needs, and delete them; only on request, and never what is used."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.api.functions import unversioned
from lamina.aws.destination.destination import Cancellation
from lamina.aws.destination.naming import digest_in
from lamina.aws.prune.plan import DeleteVersion, KeepVersion, left_over, plan, unneeded
from lamina.aws.publish.layer_record import decode_record
from lamina.core.reporter import SILENT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from lamina.aws.api.inventory import Inventory
    from lamina.aws.api.layers import LayerVersion
    from lamina.aws.api.s3 import Listed, Unfinished
    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.prune.plan import Action, RetentionRules
    from lamina.aws.publish.layer_record import LayerRecord
    from lamina.core.reporter import Reporter


@dataclass(frozen=True, kw_only=True, slots=True)
class PruneSurvey:
    """What becomes of the layer versions in one account and region."""

    actions: tuple[Action, ...]
    code_bytes: Mapping[str, int]
    """Zipped sizes of the versions to be deleted, by ARN."""

    @property
    def deletions(self) -> tuple[LayerVersion, ...]:
        """The versions that are to go."""
        return tuple(action.version for action in self.actions if isinstance(action, DeleteVersion))


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """What was deleted."""

    versions: tuple[LayerVersion, ...]
    spared: tuple[LayerVersion, ...]
    """Those that came into use after the plan was made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnneededObjects:
    """What a bucket has and nobody needs."""

    bucket: Bucket
    objects: tuple[Listed, ...]
    uploads: tuple[Unfinished, ...]
    """Left by publishers who were killed; how many bytes they hold S3 does not say."""


def survey(
    inventory: Inventory,
    names: Collection[str] | None,
    rules: RetentionRules,
    *,
    now: dt.datetime | None = None,
    stop: Cancellation | None = None,
    reporter: Reporter = SILENT,
) -> PruneSurvey:
    """
    Return what becomes of all versions of the layers *names*, or of all layers; raises AwsError and its kinds.

    *stop* is asked now and then, because a large account takes minutes.
    """
    stop = stop or Cancellation()
    reporter.stage("Looking at layers")
    chosen = sorted(names) if names is not None else sorted(inventory.layers())
    versions: list[LayerVersion] = []
    for name in chosen:
        stop.check()
        versions += inventory.versions(name)
    used, guarded = _needed(inventory, versions, reporter, stop)
    now = now or dt.datetime.now(tz=dt.UTC)
    planned = plan(versions, used=used, guarded=guarded, rules=rules, now=now)
    deletions = sum(isinstance(action, DeleteVersion) for action in planned)
    reporter.stage("Looking at what could go", total=deletions)
    actions: list[Action] = []
    code_bytes: dict[str, int] = {}
    for action in planned:
        version = action.version
        if isinstance(action, KeepVersion):
            actions.append(action)
            continue
        stop.check()
        size = inventory.code_bytes(version.name, version.number)
        if inventory.is_shared(version.name, version.number):
            reason = "shared with others, whose functions cannot be seen from here"
            actions.append(KeepVersion(version=version, reason=reason))
        else:
            actions.append(action)
            code_bytes |= {} if size is None else {version.arn: size}
        reporter.advance(1)
    return PruneSurvey(actions=tuple(actions), code_bytes=code_bytes)


def _needed(
    inventory: Inventory, versions: Iterable[LayerVersion], reporter: Reporter, stop: Cancellation
) -> tuple[frozenset[str], frozenset[str]]:
    """
    Return which of *versions* any version of any function has, and the layers (without version) that a stack may go back to.

    Only these are remembered, however many functions there are.
    """
    asked = {version.arn for version in versions}
    if not asked:
        return frozenset(), frozenset()
    reporter.stage("Looking at stacks")
    guarded: set[str] = set()
    unsettled: set[str] = set()
    for stack in inventory.unsettled_stacks():
        guarded |= stack.layers
        unsettled |= stack.functions
    reporter.stage("Looking at functions")
    used: set[str] = set()
    for attachment in inventory.attachments():
        stop.check()
        used.update(asked.intersection(attachment.layers))
        guarded.update(map(unversioned, attachment.layers if attachment.name in unsettled else ()))
        reporter.advance(1)
    return frozenset(used), frozenset(guarded)


def delete_versions(inventory: Inventory, found: PruneSurvey, *, reporter: Reporter = SILENT) -> Pruned:
    """Delete what *found* says, but for what has come into use since; raises AwsError and its kinds."""
    deletions = found.deletions
    used, guarded = _needed(inventory, deletions, reporter, Cancellation())
    spared = tuple(each for each in deletions if each.arn in used or unversioned(each.arn) in guarded)
    going = tuple(each for each in deletions if each not in spared)
    reporter.stage("Deleting", total=len(going))
    for version in going:
        inventory.delete(version.name, version.number)
        reporter.advance(1)
    return Pruned(versions=going, spared=spared)


def kept_digests(inventory: Inventory, deletions: Iterable[LayerVersion]) -> frozenset[str]:
    """Return the digests of all layer versions in an account, but for *deletions*: any service may share a bucket."""
    going = {version.arn for version in deletions}
    found = (
        digest_in(version.description)
        for name in inventory.layers()
        for version in inventory.versions(name)
        if version.arn not in going
    )
    return frozenset(digest for digest in found if digest is not None)


def survey_objects(
    bucket: Bucket, kept: Collection[str], *, keep_layers: bool, reporter: Reporter = SILENT
) -> UnneededObjects:
    """Return what of a bucket no layer version with a digest in *kept* needs; raises AwsError and its kinds."""
    reporter.stage("Looking at objects")
    objects, keys = bucket.objects, bucket.keys
    records: list[LayerRecord] = []
    unreadable: list[str] = []
    for digest in sorted(kept):
        content = objects.get(keys.record(digest))
        record = decode_record(content)
        if record is not None:
            records.append(record)
        elif content is not None:
            unreadable.append(keys.record(digest))
    if unreadable:
        reporter.warn(
            f"No part is pruned, because it is not known which ones {len(unreadable)} layers need: `{unreadable[0]}`",
            hint="a later version of lamina wrote it, or it is damaged",
        )
    going = unneeded(
        objects.listed(keys.prefix),
        kept=kept,
        records=None if unreadable else records,
        keys=keys,
        keep_layers=keep_layers,
    )
    return UnneededObjects(bucket=bucket, objects=going, uploads=left_over(objects.unfinished(keys.prefix), keys))


def delete_objects(found: UnneededObjects, *, reporter: Reporter = SILENT) -> int:
    """Delete what was *found*, and return how many bytes the objects had; raises AwsError and its kinds."""
    reporter.stage("Deleting objects", total=len(found.objects) + len(found.uploads))
    for each in found.objects:
        found.bucket.objects.delete(each.key)
        reporter.advance(1)
    for upload in found.uploads:
        found.bucket.objects.abort(upload.key, upload.id)
        reporter.advance(1)
    return sum(each.size for each in found.objects)
