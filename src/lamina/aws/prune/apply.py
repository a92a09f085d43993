"""Find unused layer versions and bucket objects, and delete them on request."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lamina.aws.api.functions import unversioned
from lamina.aws.api.inventory import versions_in
from lamina.aws.destination.destination import Cancellation
from lamina.aws.destination.naming import digest_in
from lamina.aws.prune.plan import (
    UNUSED,
    DeleteVersion,
    KeepVersion,
    NeededVersions,
    ServiceLayers,
    left_over,
    plan,
    unneeded,
)
from lamina.aws.publish.layer_record import decode_record
from lamina.core.errors import LaminaError
from lamina.core.frozen import frozen
from lamina.core.reporter import SILENT
from lamina.core.text import count

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from lamina.aws.api.inventory import CodeSize, Inventory
    from lamina.aws.api.layers import LayerVersion
    from lamina.aws.api.s3 import Listed, Unfinished
    from lamina.aws.api.ssm import Parameters
    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.prune.plan import Action, RetentionRules, ServiceLayers
    from lamina.aws.prune.present import ProjectLayers
    from lamina.aws.publish.layer_record import LayerRecord
    from lamina.core.reporter import Reporter

MOST_EXAMINED = 100
"""The number of versions to delete in one account and region up to which their sizes and policies are read for the plan."""
_UNEXAMINED = f"{UNUSED}; whether it is shared with other accounts is checked before it is deleted"


@frozen
class Guards:
    """What names the layer versions of one account and region, apart from its functions and stacks."""

    project: ProjectLayers
    parameters: Parameters | None = None
    """The account's Systems Manager parameters; ``None`` if none has the ARN of a layer version."""
    path: str = "/"
    """The path below which the values of parameters have such ARNs."""
    values: int = 1
    """How many of the newest values of each parameter are read, the present one included."""

    def named(self, stop: Cancellation) -> dict[str, str]:
        """
        Return what names each layer version whose ARN is in a value of a parameter, by that ARN.

        Earlier values count if they are among the newest or have a label, because somebody may set them again. They are read only for
        parameters that name a layer version now. Raises `AwsError`, or `StoppedError` after a requested *stop*.
        """
        if self.parameters is None:
            return {}
        present = [each for each in self.parameters.below(self.path) if versions_in(each.value)]
        named = {arn: f"parameter `{each.name}`" for each in present for arn in versions_in(each.value)}
        for name in (each.name for each in present if each.number > 1):
            stop.check()
            history = sorted(self.parameters.history(name), key=lambda each: -each.number)
            kept = [each for place, each in enumerate(history) if place < self.values or each.is_labelled]
            for arn in (arn for each in kept for arn in versions_in(each.value)):
                named.setdefault(arn, f"an earlier value of parameter `{name}`")
        return named


@dataclass(frozen=True, kw_only=True, slots=True)
class PruneSurvey:
    """The action for each layer version in one account and region: planned, or after `delete_versions` done."""

    actions: tuple[Action, ...]
    sizes: Mapping[str, CodeSize]
    """The sizes of the versions to delete, by ARN; versions that no longer exist are missing."""
    is_examined: bool
    """Whether the sizes were read, and the versions that are shared with other accounts were found."""
    guards: Guards

    @property
    def deletions(self) -> tuple[LayerVersion, ...]:
        """The layer versions to delete."""
        return tuple(action.version for action in self.actions if isinstance(action, DeleteVersion))


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
    guards: Guards,
    service: ServiceLayers | None = None,
    examines_all: bool = False,
    now: dt.datetime | None = None,
    stop: Cancellation | None = None,
    reporter: Reporter = SILENT,
) -> PruneSurvey:
    """
    Return the planned action for every version of the layers *names* and of *service*, or of all layers if *names* is ``None``.

    Lambda reports the size and the policy of a version only in a call for each. If there are more than `MOST_EXAMINED` versions to
    delete, they are read only if *examines_all*; `delete_versions` reads the policy in any case. *stop* is checked between calls,
    because reading a large account lasts minutes. Raises `AwsError`, or `StoppedError` after a requested stop.
    """
    stop = stop or Cancellation()
    reporter.stage("listing layers")
    retired: set[str] = set()
    if names is None or service is not None:
        found = tuple(inventory.layers())
        retired = set() if service is None else {name for name, words in found if service.is_retired(name, words)}
        names = {*names, *retired} if names is not None else {name for name, _ in found}
    chosen = sorted(names)
    reporter.stage("listing layer versions", total=len(chosen), unit="layers")
    versions: list[LayerVersion] = []
    for name in chosen:
        stop.check()
        versions += inventory.versions(name)
        reporter.advance(1)
    needed = _needed(inventory, versions, guards, reporter, stop)
    now = now or dt.datetime.now(tz=dt.UTC)
    actions = plan(versions, needed=needed, rules=rules, retired=retired, now=now)
    deletions = sum(isinstance(action, DeleteVersion) for action in actions)
    if deletions > MOST_EXAMINED and not examines_all:
        unexamined = tuple(
            DeleteVersion(version=action.version, reason=_UNEXAMINED) if isinstance(action, DeleteVersion) else action
            for action in actions
        )
        return PruneSurvey(actions=unexamined, sizes={}, is_examined=False, guards=guards)
    reporter.stage("checking unused layer versions", total=deletions, unit="layer versions")
    examined: list[Action] = []
    sizes: dict[str, CodeSize] = {}
    for planned in actions:
        action: Action = planned
        if isinstance(planned, DeleteVersion):
            stop.check()
            action = _unless_shared(inventory, planned)
            if action is planned:
                version = planned.version
                size = inventory.code_size(version.name, version.number)
                sizes |= {} if size is None else {version.arn: size}
            reporter.advance(1)
        examined.append(action)
    return PruneSurvey(actions=tuple(examined), sizes=sizes, is_examined=True, guards=guards)


def _unless_shared(inventory: Inventory, action: DeleteVersion) -> Action:
    version = action.version
    if not inventory.is_shared(version.name, version.number):
        return action
    return KeepVersion(
        version=version, reason="shared with other accounts, whose functions are not visible from this account"
    )


def _needed(
    inventory: Inventory, versions: Iterable[LayerVersion], guards: Guards, reporter: Reporter, stop: Cancellation
) -> NeededVersions:
    """
    Return which of *versions* must stay.

    All versions of all functions are read, but only the ARNs of *versions* are kept in memory.
    """
    asked = {version.arn for version in versions}
    used: set[str] = set()
    guarded: set[str] = set()
    named: dict[str, str] = {}
    if asked:
        reporter.stage("reading parameters")
        named = guards.named(stop)
        reporter.stage("reading CloudFormation stacks")
        unsettled: set[str] = set()
        for stack in inventory.stacks():
            stop.check()
            for arn in stack.versions:
                named.setdefault(arn, f"stack `{stack.name}`")
            guarded |= stack.layers
            unsettled |= stack.functions
        reporter.stage("reading functions")
        for attachment in inventory.attachments():
            stop.check()
            used.update(asked.intersection(attachment.layers))
            guarded.update(map(unversioned, attachment.layers if attachment.name in unsettled else ()))
            reporter.advance(1)
    return NeededVersions(used=used, guarded=guarded, named=named, project=guards.project)


def delete_versions(
    inventory: Inventory,
    found: PruneSurvey,
    *,
    actions: list[Action] | None = None,
    stop: Cancellation | None = None,
    reporter: Reporter = SILENT,
) -> PruneSurvey:
    """
    Delete the layer versions planned in *found*, except those that by now must stay or are shared with other accounts.

    Return what was done. If it fails or is stopped, *actions* has what was done before, the reporter receives a warning with the number
    of deleted versions, and a new survey finds the rest. Raises `AwsError`, or `StoppedError` after a requested stop.
    """
    stop, actions = stop or Cancellation(), [] if actions is None else actions
    needed = _needed(inventory, found.deletions, found.guards, reporter, stop)
    deleted: list[LayerVersion] = []
    total = len(found.deletions)
    reporter.stage("deleting layer versions", total=total, unit="layer versions")
    try:
        for planned in found.actions:
            action: Action = planned
            if isinstance(planned, DeleteVersion):
                stop.check()
                version, reason = planned.version, needed.reason(planned.version)
                action = KeepVersion(version=version, reason=reason) if reason else _unless_shared(inventory, planned)
                if action is planned:
                    inventory.delete(version.name, version.number)
                    action = DeleteVersion(version=version)
                    deleted.append(version)
                reporter.advance(1)
            actions.append(action)
    except LaminaError:
        if deleted:
            reporter.warn(
                f"deleted {len(deleted):,} of {count(total, 'layer version')}, the last `{deleted[-1].arn}`",
                hint="run the command again to delete the rest",
            )
        raise
    return replace(found, actions=tuple(actions))


def kept_digests(inventory: Inventory, deletions: Iterable[LayerVersion]) -> frozenset[str]:
    """
    Return the digests of all layer versions that lamina published in an account, except *deletions*.

    This includes versions of other services, because services may share a bucket.
    """
    going = {version.arn for version in deletions}
    found = (
        digest_in(version.description)
        for name, _ in inventory.layers()
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
