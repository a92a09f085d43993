"""``lamina prune``: delete the layer versions that nobody uses; a dry run unless asked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from lamina.cli.console import Console
from lamina.cli.options import add_regions, days, project_of
from lamina.core.errors import ConfigError
from lamina.core.text import count, megabytes

# What talks to AWS is slow to import, and neither `--help` nor a mistake on the command line needs it: it is imported where it is used.
if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterator

    from lamina.aws.api.layers import LayerVersion
    from lamina.aws.destination.destination import Destination
    from lamina.aws.prune.apply import PruneSurvey
    from lamina.aws.prune.service import PrunePlan

HELP = (
    "Say which layer versions nobody needs, and with --apply delete them. Kept are the newest, the young, and every version that a function, "
    "one of its published versions or an alias uses, or that a stack may go back to; also what others published, and what is shared."
)
EXAMPLE = """\
examples:
  lamina prune                            say what would be deleted, and how much that frees
  lamina prune --keep 10 --apply          delete it, but keep the ten newest versions of each layer
  lamina prune --all                      look at all layers that lamina has published in the account
  lamina prune --objects                  also at what the bucket has and no layer version needs
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.add_argument(
        "--keep", type=_positive, default=5, metavar="N", help="the newest versions of each layer (default: 5)"
    )
    parser.add_argument(
        "--keep-days", type=days, default=14.0, metavar="DAYS", help="all that are younger (default: 14)"
    )
    parser.add_argument("--apply", action="store_true", help="delete; without it nothing is changed")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--layer",
        action="append",
        default=[],
        metavar="NAME",
        help="a layer by its name in Lambda, instead of the service's; may be repeated",
    )
    which.add_argument("--all", action="store_true", help="all layers in the account")
    parser.add_argument(
        "--objects",
        action="store_true",
        help="also objects in the bucket; not where accounts publish from it that are not in `roles`",
    )
    add_regions(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look at what is there, say what is not needed, and with `--apply` delete it."""
    from lamina.aws.prune import apply, service
    from lamina.aws.prune.plan import RetentionRules
    from lamina.aws.publish import config, destinations

    project = project_of(arguments)
    publishing = config.load(project).at(arguments.region)
    if arguments.objects and publishing.bucket is None:
        raise ConfigError("`--objects` needs a `bucket` in `[tool.lamina.publish]`")
    rules = RetentionRules(keep=arguments.keep, keep_days=arguments.keep_days)
    names = None if arguments.all else arguments.layer or service.layer_names(project, publishing)
    with Console.of(arguments) as console:
        plan = service.plan_everywhere(destinations.connect(publishing), names, rules, reporter=console)
        if arguments.objects:
            plan = replace(plan, buckets=service.survey_buckets(plan.going, publishing, reporter=console))
        console.close()
        for place, found in plan.surveys.items():
            console.say(*_told(found, names or (), place))
        if arguments.apply:
            planned = plan.arns
            plan = replace(plan, going={place: _delete(place, found, console) for place, found in plan.surveys.items()})
            if plan.buckets and plan.arns != planned:
                # What those need that were spared is to stay, too.
                plan = replace(plan, buckets=service.survey_buckets(plan.going, publishing, reporter=console))
            for unneeded in plan.buckets:
                apply.delete_objects(unneeded, reporter=console)
    if arguments.json:
        print(json.dumps(plan.document(applied=arguments.apply), indent=2))
    else:
        for versions in plan.going.values():
            for version in versions:
                print(version.arn)
    console.say(_closing(plan, applied=arguments.apply))
    return 0


def _delete(place: Destination, found: PruneSurvey, console: Console) -> tuple[LayerVersion, ...]:
    """Delete what was *found* in *place*, say what was spared, and return what was deleted."""
    from lamina.aws.prune import apply, service

    pruned = apply.delete_versions(place.services.inventory, found, reporter=console)
    for version in pruned.spared:
        console.say(f"layer {version.name} version {version.number}, {place.services.account}: keep: {service.SPARED}")
    return pruned.versions


def _told(found: PruneSurvey, names: Collection[str], place: Destination) -> Iterator[str]:
    from lamina.aws.prune.plan import DeleteVersion, KeepVersion

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


def _closing(plan: PrunePlan, *, applied: bool) -> str:
    going = plan.arns
    objects = [each for bucket in plan.buckets for each in bucket.objects]
    uploads = sum(len(bucket.uploads) for bucket in plan.buckets)
    if not going and not objects and not uploads:
        return "nothing to prune"
    freed = sum(size for found in plan.surveys.values() for arn, size in found.code_bytes.items() if arn in going)
    words = f"{count(len(going), 'layer version')}, {megabytes(freed)}"
    if objects:
        words += f"; {count(len(objects), 'object')}, {megabytes(sum(each.size for each in objects))}"
    if uploads:
        words += f"; {count(uploads, 'unfinished upload')}"
    return f"deleted {words}" if applied else f"would delete {words}; --apply does it"


def _positive(text: str) -> int:
    import argparse

    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of versions, at least 1")
    return int(text)
