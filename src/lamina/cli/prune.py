"""``lamina prune``: list unused layer versions, and delete them with ``--apply``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lamina.cli.console import Console, emit, emit_json
from lamina.cli.options import add_regions, days, project_of
from lamina.core.errors import ConfigError
from lamina.core.text import count, megabytes

# The AWS modules are slow to import, and `--help` and usage errors do not need them: import them where they are used.
if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterator, Sequence

    from lamina.aws.api.inventory import CodeSize
    from lamina.aws.destination.destination import Destination
    from lamina.aws.prune.apply import PruneSurvey
    from lamina.aws.prune.plan import Action
    from lamina.aws.prune.service import PrunePlan
    from lamina.aws.publish.config import PublishConfig

HELP = (
    "List unused layer versions, and delete them with --apply. lamina keeps every layer version that is recent, is shared with other accounts, "
    "was not published by lamina, is used by any version of a function, is named by the lock file, by a parameter below `ssm-prefix` or by a CloudFormation stack, "
    "or may be needed by a stack that rolls back."
)
EXAMPLE = """\
examples:
  lamina prune                       # show what would be deleted, and its size
  lamina prune --keep 10 --apply     # delete, but keep the 10 newest versions of each layer
  lamina prune --all                 # check all layers that lamina published in the account
  lamina prune --objects             # also check the bucket for unneeded objects
"""
PAGE = "how-to/prune.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina prune`` to *parser*."""
    parser.add_argument(
        "--keep",
        type=_positive,
        default=5,
        metavar="N",
        help="keep the N newest versions of each layer, and the last N values of parameters (default: 5)",
    )
    parser.add_argument(
        "--keep-days", type=days, default=14.0, metavar="DAYS", help="keep versions newer than DAYS days (default: 14)"
    )
    parser.add_argument("--apply", action="store_true", help="delete the versions, instead of only listing them")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--layer",
        action="append",
        default=[],
        metavar="NAME",
        help="prune this layer (its name in Lambda) instead of the service's (repeatable)",
    )
    which.add_argument("--all", action="store_true", help="prune all layers that lamina published in the account")
    parser.add_argument(
        "--objects",
        action="store_true",
        help="also prune the bucket; unsafe if accounts outside `roles` publish from it",
    )
    parser.add_argument(
        "--sizes",
        action="store_true",
        help="read the size of every version to delete (default: of up to 100 for each account and region)",
    )
    add_regions(parser)


def run(arguments: argparse.Namespace) -> int:
    """List unused layer versions and, with ``--objects``, bucket objects; delete them with ``--apply``."""
    from lamina.aws.prune import service
    from lamina.aws.prune.plan import RetentionRules
    from lamina.aws.publish import config, destinations

    project = project_of(arguments)
    publishing = config.load(project).at(arguments.region)
    if arguments.objects and publishing.bucket is None:
        raise ConfigError("`--objects` needs a bucket", hint="set `bucket` in `[tool.lamina.publish]`")
    rules = RetentionRules(keep=arguments.keep, keep_days=arguments.keep_days)
    with Console.of(arguments) as console:
        scope = service.read_scope(
            project, publishing, layers=arguments.layer, everything=arguments.all, reporter=console
        )
        connected = destinations.connect(publishing)
        plan = service.plan_everywhere(connected, scope, rules, examines_all=arguments.sizes, reporter=console)
        if arguments.objects:
            plan = replace(plan, buckets=service.survey_buckets(plan, publishing, reporter=console))
        console.close()
        for place, found in plan.surveys.items():
            console.say(*_told(found, scope.names or (), place))
        if arguments.apply:
            plan = _apply(plan, publishing, console)
    _emit(plan, arguments)
    unread = sum(len(found.deletions) for found in plan.surveys.values() if not found.is_examined)
    if unread and not arguments.apply:
        console.note(
            f"the sizes of {count(unread, 'layer version')} were not read, because that takes two API calls for each; "
            "`--sizes` reads them"
        )
    console.say(_closing(plan, applied=arguments.apply))
    return 0


def _emit(plan: PrunePlan, arguments: argparse.Namespace) -> None:
    """Print the ARNs of the versions to delete, or the report, to stdout. If the plan failed, print those that were deleted, and raise."""
    if not arguments.json:
        for found in plan.surveys.values():
            for version in found.deletions:
                emit(version.arn)
    if plan.error is not None:
        raise plan.error
    if arguments.json:
        emit_json(plan.document(applied=arguments.apply))


def _apply(planned: PrunePlan, publishing: PublishConfig, console: Console) -> PrunePlan:
    """
    Delete what was planned, print the layer versions that were kept after all, and return what was done.

    If a place fails, print what was done at each; the result has the error, with the report.
    """
    from lamina.aws.prune import apply, service

    done = service.delete_everywhere(planned, reporter=console)
    for place, found in done.surveys.items():
        for before, after in zip(planned.surveys[place].actions, found.actions, strict=True):
            if type(before) is not type(after):
                console.say(_action_line(after, "keep", place))
    if done.error is not None:
        for place, found in done.surveys.items():
            words = f"deleted {count(len(found.deletions), 'layer version')}"
            console.say(f"{place.services.account}: {words}{', then failed' if place in done.errors else ''}")
        done.error.report = done.document(applied=True)
        return done
    if done.buckets and done.arns != planned.arns:
        # Deleting spared some versions, so keep the objects that those need.
        done = replace(done, buckets=service.survey_buckets(done, publishing, reporter=console))
    for unneeded in done.buckets:
        apply.delete_objects(unneeded, reporter=console)
    return done


def _told(found: PruneSurvey, names: Collection[str], place: Destination) -> Iterator[str]:
    from lamina.aws.prune.plan import DeleteVersion, KeepVersion

    where = place.services.account
    # Report names without versions, so that a mistyped name does not look like a layer with nothing to delete.
    for name in sorted({*names}.difference(action.version.name for action in found.actions)):
        yield f"layer {name}, {where}: no versions found"
    for action in found.actions:
        match action:
            case DeleteVersion():
                size = found.sizes.get(action.version.arn)
                yield _action_line(action, "delete" if size is None else f"delete {_freed([size])}", place)
            case KeepVersion():
                yield _action_line(action, "keep", place)


def _action_line(action: Action, verb: str, place: Destination) -> str:
    version = action.version
    return f"layer {version.name} version {version.number}, {place.services.account}: {verb} ({action.reason})"


def _closing(plan: PrunePlan, *, applied: bool) -> str:
    going = plan.arns
    objects = [each for bucket in plan.buckets for each in bucket.objects]
    uploads = sum(len(bucket.uploads) for bucket in plan.buckets)
    if not going and not objects and not uploads:
        return "nothing to prune"
    sizes = [size for found in plan.surveys.values() for arn, size in found.sizes.items() if arn in going]
    is_known = all(found.is_examined for found in plan.surveys.values())
    words = count(len(going), "layer version") + (f" ({_freed(sizes, is_whole=is_known)})" if sizes else "")
    if objects:
        words += f", {count(len(objects), 'object')} ({megabytes(sum(each.size for each in objects))})"
    if uploads:
        words += f", {count(uploads, 'unfinished upload')}"
    return f"deleted {words}" if applied else f"would delete {words}; to delete, run again with `--apply`"


def _freed(sizes: Sequence[CodeSize], *, is_whole: bool = True) -> str:
    """
    Format how much of the account's quota for code, which counts unzipped bytes, zips of these *sizes* use.

    *is_whole* is whether no size is missing.
    """
    known = is_whole and all(size.unzipped_bytes is not None for size in sizes)
    freed = megabytes(sum(size.zipped_bytes if size.unzipped_bytes is None else size.unzipped_bytes for size in sizes))
    return f"{freed} unzipped" if known else f"at least {freed}"


def _positive(text: str) -> int:
    import argparse

    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a valid number of versions: expected at least 1")
    return int(text)
