"""The part of ``lamina prune`` that talks to AWS, apart, because ``--help`` does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.aws.api.functions import Storage
from lamina.aws.prune.apply import delete_objects, delete_versions, kept_digests, survey, survey_objects
from lamina.aws.prune.plan import DeleteVersion, KeepVersion, RetentionRules
from lamina.aws.publish.config import load
from lamina.aws.publish.destination import connect, everywhere
from lamina.aws.publish.naming import layer_name
from lamina.cli.console import Console, megabytes
from lamina.core.errors import ConfigError
from lamina.project import config

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterator, Sequence

    from lamina.aws.api.inventory import VersionRow
    from lamina.aws.prune.apply import Pruned, PruneSurvey, UnneededObjects
    from lamina.aws.publish.bucket import Bucket
    from lamina.aws.publish.config import PublishConfig
    from lamina.aws.publish.destination import Destination

__all__ = ["run"]

_VERSION = "1"
_SPARED = "came into use meanwhile"


def run(arguments: argparse.Namespace) -> int:
    """Look at what is there, say what is not needed, and with `--apply` delete it."""
    console = Console.of(arguments)
    project = config.find_project(Path(arguments.project or "."))
    publishing = load(project).at(arguments.region)
    if arguments.objects and publishing.bucket is None:
        raise ConfigError("`--objects` needs a `bucket` in `[tool.lamina.publish]`")
    rules = RetentionRules(keep=arguments.keep, keep_days=arguments.keep_days)
    names = None if arguments.all else arguments.layer or _names(project, publishing)
    try:
        places = connect(publishing)
        surveys = dict(
            zip(places, everywhere(lambda place: _survey(place, names, rules, console), places), strict=True)
        )
        going = {place: found.deletions for place, found in surveys.items()}
        buckets = _buckets(going, publishing, console) if arguments.objects else ()
        console.close()
        for place, found in surveys.items():
            for line in _told(found, names or (), place):
                console.say(line)
        if arguments.apply:
            going = {
                place: _deleted(place, delete_versions(place.services.inventory, found, reporter=console), console)
                for place, found in surveys.items()
            }
            if buckets and any(len(going[place]) < len(found.deletions) for place, found in surveys.items()):
                # What those need that were spared is to stay, too.
                buckets = _buckets(going, publishing, console)
            for each in buckets:
                delete_objects(each, reporter=console)
    finally:
        console.close()
    arns = frozenset(version.arn for versions in going.values() for version in versions)
    if arguments.json:
        print(json.dumps(_document(surveys, buckets, arns, applied=arguments.apply), indent=2))
    else:
        for versions in going.values():
            for version in versions:
                print(version.arn)
    console.say(_closing(surveys, buckets, arns, applied=arguments.apply))
    return 0


def _names(project: Path, publishing: PublishConfig) -> frozenset[str]:
    """Return what the service's layers are called in Lambda, on all its targets."""
    service = config.load(project)
    return frozenset(
        layer_name(publishing.layer_name, service=service.name, layer=layer.name, target=target)
        for target in (service.target, *service.others)
        for layer in service.layers
    )


def _survey(place: Destination, names: Collection[str] | None, rules: RetentionRules, console: Console) -> PruneSurvey:
    return survey(place.services.inventory, names, rules, stop=place.stop, reporter=console)


def _deleted(place: Destination, pruned: Pruned, console: Console) -> tuple[VersionRow, ...]:
    """Return what was deleted, after saying what was not."""
    for version in pruned.spared:
        where = place.services.account
        console.say(f"layer {version.name} version {version.number}, {where}: keep: {_SPARED}")
    return pruned.versions


def _buckets(
    going: dict[Destination, tuple[VersionRow, ...]], publishing: PublishConfig, console: Console
) -> tuple[UnneededObjects, ...]:
    """Return what each bucket has that no place which uses it needs, once the versions that are *going* are gone."""
    shared: dict[str, tuple[Bucket, set[str]]] = {}
    for place, versions in going.items():
        bucket = place.bucket
        if bucket is not None:
            _, kept = shared.setdefault(bucket.name, (bucket, set()))
            kept |= kept_digests(place.services.inventory, versions)
    keep_layers = publishing.storage is Storage.REFERENCE
    return tuple(
        survey_objects(bucket, kept, keep_layers=keep_layers, reporter=console) for bucket, kept in shared.values()
    )


def _told(found: PruneSurvey, names: Collection[str], place: Destination) -> Iterator[str]:
    where = place.services.account
    # A name that is mistyped must not look like one of which nothing is to go.
    for name in sorted({*names}.difference(action.version.name for action in found.actions)):
        yield f"layer {name}, {where}: there is no version of it"
    for action in found.actions:
        version = action.version
        match action:
            case DeleteVersion():
                size = megabytes(found.code_bytes.get(version.arn, 0))
                yield f"layer {version.name} version {version.number}, {where}: delete, {size}: {action.reason}"
            case KeepVersion():
                yield f"layer {version.name} version {version.number}, {where}: keep: {action.reason}"


def _document(
    surveys: dict[Destination, PruneSurvey],
    buckets: Sequence[UnneededObjects],
    going: Collection[str],
    *,
    applied: bool,
) -> dict[str, object]:
    rows = [
        {
            "layer_name": action.version.name,
            "layer_version": action.version.number,
            "arn": action.version.arn,
            "account": place.services.account.id,
            "region": place.services.account.region,
            "action": "delete" if action.version.arn in going else "keep",
            "reason": _SPARED
            if isinstance(action, DeleteVersion) and action.version.arn not in going
            else action.reason,
            "bytes": found.code_bytes.get(action.version.arn),
        }
        for place, found in surveys.items()
        for action in found.actions
    ]
    objects = [
        {"bucket": found.bucket.name, "key": each.key, "bytes": each.size}
        for found in buckets
        for each in found.objects
    ]
    uploads = [
        {"bucket": found.bucket.name, "key": each.key, "upload_id": each.id}
        for found in buckets
        for each in found.uploads
    ]
    return {"version": _VERSION, "applied": applied, "layers": rows, "objects": objects, "uploads": uploads}


def _closing(
    surveys: dict[Destination, PruneSurvey],
    buckets: Sequence[UnneededObjects],
    going: Collection[str],
    *,
    applied: bool,
) -> str:
    objects = [each for bucket in buckets for each in bucket.objects]
    uploads = sum(len(bucket.uploads) for bucket in buckets)
    if not going and not objects and not uploads:
        return "nothing to prune"
    freed = sum(size for found in surveys.values() for arn, size in found.code_bytes.items() if arn in going)
    words = f"{_counted(len(going), 'layer version')}, {megabytes(freed)}"
    if objects:
        words += f"; {_counted(len(objects), 'object')}, {megabytes(sum(each.size for each in objects))}"
    if uploads:
        words += f"; {_counted(uploads, 'unfinished upload')}"
    return f"deleted {words}" if applied else f"would delete {words}; --apply does it"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
