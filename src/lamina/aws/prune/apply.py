"""Find unused layer versions and bucket objects, and delete them on request."""

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
from lamina.core.text import count

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from lamina.aws.api.inventory import CodeSize, Inventory
    from lamina.aws.api.layers import LayerVersion
    from lamina.aws.api.s3 import Listed, Unfinished
    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.prune.plan import Action, RetentionRules
    from lamina.aws.publish.layer_record import LayerRecord
    from lamina.core.reporter import Reporter


@dataclass(frozen=True, kw_only=True, slots=True)
class PruneSurvey:
    """The planned action for each layer version in one account and region."""

    actions: tuple[Action, ...]
    sizes: Mapping[str, CodeSize]
    """The sizes of the versions to delete, by ARN; versions that no longer exist are missing."""

    @property
    def deletions(self) -> tuple[LayerVersion, ...]:
        """The layer versions to delete."""
        return tuple(action.version for action in self.actions if isinstance(action, DeleteVersion))


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """The result of deleting the unused layer versions of one account and region."""

    versions: tuple[LayerVersion, ...]
    """The layer versions that were deleted."""
    spared: tuple[LayerVersion, ...]
    """The layer versions that were kept because, since the plan was made, a function uses them or a stack may roll back to them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnneededObjects:
    """The objects and unfinished uploads in a bucket that can be deleted."""

    bucket: Bucket
    objects: tuple[Listed, ...]
    uploads: tuple[Unfinished, ...]
    """Unfinished uploads of publishers that were killed. S3 does not report their sizes."""


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
    Return the planned action for every version of the layers *names*, or of all layers if *names* is ``None``.

    *stop* is checked between calls, because reading a large account lasts minutes. Raises `AwsError`, or `StoppedError` after a
    requested stop.
    """
    stop = stop or Cancellation()
    reporter.stage("reading layers")
    chosen = sorted(names) if names is not None else sorted(inventory.layers())
    versions: list[LayerVersion] = []
    for name in chosen:
        stop.check()
        versions += inventory.versions(name)
    used, guarded = _needed(inventory, versions, reporter, stop)
    now = now or dt.datetime.now(tz=dt.UTC)
    planned = plan(versions, used=used, guarded=guarded, rules=rules, now=now)
    deletions = sum(isinstance(action, DeleteVersion) for action in planned)
    reporter.stage("checking unused layer versions", total=deletions)
    actions: list[Action] = []
    sizes: dict[str, CodeSize] = {}
    for action in planned:
        version = action.version
        if isinstance(action, KeepVersion):
            actions.append(action)
            continue
        stop.check()
        size = inventory.code_size(version.name, version.number)
        if inventory.is_shared(version.name, version.number):
            reason = "shared with other accounts, whose functions are not visible from this account"
            actions.append(KeepVersion(version=version, reason=reason))
        else:
            actions.append(action)
            sizes |= {} if size is None else {version.arn: size}
        reporter.advance(1)
    return PruneSurvey(actions=tuple(actions), sizes=sizes)


def _needed(
    inventory: Inventory, versions: Iterable[LayerVersion], reporter: Reporter, stop: Cancellation
) -> tuple[frozenset[str], frozenset[str]]:
    """
    Return the ARNs of those *versions* that a function uses, and the ARNs without version of layers that a stack may roll back to.

    All versions of all functions are read, but only these ARNs are kept in memory.
    """
    asked = {version.arn for version in versions}
    if not asked:
        return frozenset(), frozenset()
    reporter.stage("reading CloudFormation stacks")
    guarded: set[str] = set()
    unsettled: set[str] = set()
    for stack in inventory.unsettled_stacks():
        guarded |= stack.layers
        unsettled |= stack.functions
    reporter.stage("reading functions")
    used: set[str] = set()
    for attachment in inventory.attachments():
        stop.check()
        used.update(asked.intersection(attachment.layers))
        guarded.update(map(unversioned, attachment.layers if attachment.name in unsettled else ()))
        reporter.advance(1)
    return frozenset(used), frozenset(guarded)


def delete_versions(inventory: Inventory, found: PruneSurvey, *, reporter: Reporter = SILENT) -> Pruned:
    """
    Delete the layer versions planned in *found*, except those that a function uses or a stack may roll back to by now.

    Raises `AwsError`.
    """
    deletions = found.deletions
    used, guarded = _needed(inventory, deletions, reporter, Cancellation())
    spared = tuple(each for each in deletions if each.arn in used or unversioned(each.arn) in guarded)
    going = tuple(each for each in deletions if each not in spared)
    reporter.stage("deleting layer versions", total=len(going))
    for version in going:
        inventory.delete(version.name, version.number)
        reporter.advance(1)
    return Pruned(versions=going, spared=spared)


def kept_digests(inventory: Inventory, deletions: Iterable[LayerVersion]) -> frozenset[str]:
    """
    Return the digests of all layer versions that lamina published in an account, except *deletions*.

    This includes versions of other services, because services may share a bucket.
    """
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
    """
    Return the objects and unfinished uploads in *bucket* that no layer with a digest in *kept* needs. Raises `AwsError`.

    With *keep_layers*, all zips of layers and functions are kept. If a record cannot be read, the reporter receives a warning, and
    all parts are kept.
    """
    reporter.stage("reading bucket objects")
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
            f"not pruning the parts in bucket `{bucket.name}`, because the records of {count(len(unreadable), 'layer')} cannot be read, "
            f"such as `{unreadable[0]}`",
            hint="upgrade lamina: a later version may have written the records. If the warning remains, they are damaged; delete them, "
            "and a later upload sends again what only they name: "
            + " and ".join(f"`aws s3 rm {bucket.url(key)}`" for key in unreadable),
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
    """Delete the objects and unfinished uploads in *found*, and return the objects' total size in bytes. Raises `AwsError`."""
    reporter.stage("deleting objects", total=len(found.objects) + len(found.uploads))
    for each in found.objects:
        found.bucket.objects.delete(each.key)
        reporter.advance(1)
    for upload in found.uploads:
        found.bucket.objects.abort(upload.key, upload.id)
        reporter.advance(1)
    return sum(each.size for each in found.objects)
