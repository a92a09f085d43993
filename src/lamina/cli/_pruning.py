"""The part of ``lamina prune`` that talks to AWS, apart, because ``--help`` does not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina import config
from lamina.aws.config import load
from lamina.aws.interfaces import Storage
from lamina.aws.naming import layer_name
from lamina.aws.places import connect
from lamina.aws.prune import delete_objects, delete_versions, kept_digests, survey, survey_objects
from lamina.aws.pruneplan import Delete, Keep, Rules
from lamina.aws.survey import everywhere
from lamina.cli._console import Console, megabytes
from lamina.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterator, Sequence

    from lamina.aws.config import PublishConfig
    from lamina.aws.interfaces import Listed, Objects
    from lamina.aws.naming import Keys
    from lamina.aws.prune import Pruned, Survey
    from lamina.aws.survey import Place

__all__ = ["run"]

_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class _Bucket:
    """What a bucket has that nobody needs."""

    objects: Objects
    going: tuple[Listed, ...]


def run(arguments: argparse.Namespace) -> int:
    """Look at what is there, say what is not needed, and with `--apply` delete it."""
    console = Console.of(arguments)
    project = config.find_project(Path(arguments.project or "."))
    publishing = load(project).at(arguments.region)
    if arguments.objects and publishing.bucket is None:
        raise ConfigError("`--objects` needs a `bucket` in `[tool.lamina.publish]`")
    rules = Rules(keep=arguments.keep, keep_days=arguments.keep_days)
    names = None if arguments.all else arguments.layer or _names(project, publishing)
    try:
        places = connect(publishing)
        surveys = dict(
            zip(places, everywhere(lambda place: _survey(place, names, rules, console), places), strict=True)
        )
        buckets = _buckets(surveys, publishing, console) if arguments.objects else ()
        console.close()
        for place, found in surveys.items():
            for line in _told(found, place):
                console.say(line)
        pruned = {}
        if arguments.apply:
            pruned = {
                place: delete_versions(place.services.inventory, found, reporter=console)
                for place, found in surveys.items()
            }
            for bucket in buckets:
                delete_objects(bucket.objects, bucket.going, reporter=console)
    finally:
        console.close()
    if arguments.json:
        print(json.dumps(_document(surveys, buckets, pruned, applied=arguments.apply), indent=2))
    else:
        for found in surveys.values():
            for version in found.deletions:
                print(version.arn)
    console.say(_closing(surveys, buckets, pruned, applied=arguments.apply))
    return 0


def _names(project: Path, publishing: PublishConfig) -> frozenset[str]:
    """Return what the service's layers are called in Lambda, on all its targets."""
    service = config.load(project)
    return frozenset(
        layer_name(publishing.layer_name, service=service.name, layer=layer.name, target=target)
        for target in (service.target, *service.others)
        for layer in service.layers
    )


def _survey(place: Place, names: Collection[str] | None, rules: Rules, console: Console) -> Survey:
    return survey(place.services.inventory, names, rules, check=place.stop.check, reporter=console)


def _buckets(surveys: dict[Place, Survey], publishing: PublishConfig, console: Console) -> tuple[_Bucket, ...]:
    """Return what each bucket has that no place which uses it needs."""
    shared: dict[str, tuple[Objects, Keys, set[str]]] = {}
    for place, found in surveys.items():
        objects = place.objects
        if objects is not None:
            _, _, kept = shared.setdefault(objects.bucket, (objects, place.keys, set()))
            kept |= kept_digests(place.services.inventory, found.deletions)
    keep_layers = publishing.storage is Storage.REFERENCE
    return tuple(
        _Bucket(
            objects=objects,
            going=survey_objects(objects, keys, kept, keep_layers=keep_layers, reporter=console),
        )
        for objects, keys, kept in shared.values()
    )


def _told(found: Survey, place: Place) -> Iterator[str]:
    where = place.services.account
    for action in found.actions:
        version = action.version
        match action:
            case Delete():
                size = megabytes(found.code_bytes.get(version.arn, 0))
                yield f"layer {version.name} version {version.number}, {where}: delete, {size}: {action.reason}"
            case Keep():
                yield f"layer {version.name} version {version.number}, {where}: keep: {action.reason}"


def _document(
    surveys: dict[Place, Survey], buckets: Sequence[_Bucket], pruned: dict[Place, Pruned], *, applied: bool
) -> dict[str, object]:
    spared = {version.arn for each in pruned.values() for version in each.spared}
    rows = [
        {
            "layer_name": action.version.name,
            "layer_version": action.version.number,
            "arn": action.version.arn,
            "account": place.services.account.id,
            "region": place.services.account.region,
            "action": "delete" if isinstance(action, Delete) and action.version.arn not in spared else "keep",
            "reason": "came into use meanwhile" if action.version.arn in spared else action.reason,
            "bytes": found.code_bytes.get(action.version.arn),
        }
        for place, found in surveys.items()
        for action in found.actions
    ]
    objects = [
        {"bucket": bucket.objects.bucket, "key": each.key, "bytes": each.size}
        for bucket in buckets
        for each in bucket.going
    ]
    return {"version": _VERSION, "applied": applied, "layers": rows, "objects": objects}


def _closing(
    surveys: dict[Place, Survey], buckets: Sequence[_Bucket], pruned: dict[Place, Pruned], *, applied: bool
) -> str:
    spared = {version.arn for each in pruned.values() for version in each.spared}
    gone = [
        (version.arn, found.code_bytes.get(version.arn, 0))
        for found in surveys.values()
        for version in found.deletions
        if version.arn not in spared
    ]
    objects = [each for bucket in buckets for each in bucket.going]
    if not gone and not objects:
        return "nothing to prune"
    words = f"{len(gone)} layer version{'' if len(gone) == 1 else 's'}, {megabytes(sum(size for _, size in gone))}"
    if objects:
        words += f"; {len(objects)} object{'' if len(objects) == 1 else 's'}, {megabytes(sum(o.size for o in objects))}"
    return f"deleted {words}" if applied else f"would delete {words}; --apply does it"
