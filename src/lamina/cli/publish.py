"""``lamina publish``: build, plan from what AWS holds, and publish the layers that it lacks."""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from lamina.cli.console import Console
from lamina.cli.options import add_plan, add_regions, project_of
from lamina.cli.stopping import stoppable
from lamina.core.errors import ConfigError
from lamina.core.text import count, megabytes

# What talks to AWS is slow to import, and neither `--help` nor a mistake on the command line needs it: it is imported where it is used.
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lamina.aws.destination.destination import Destination
    from lamina.aws.publish.apply import Published
    from lamina.aws.publish.config import PublishConfig
    from lamina.aws.publish.remote.build import ServiceBuild
    from lamina.aws.publish.stage import StagePlan
    from lamina.aws.publish.survey import LayerStep

HELP = (
    "Publish the layers of a service, after building them. A new version is published exactly when none of the existing "
    "ones has the locked content; only what the bucket does not have yet is uploaded."
)
EXAMPLE = """\
examples:
  lamina publish --dry-run                      say what would be published, why, and how much would be sent
  lamina publish                                do it; the ARNs go to stdout
  lamina publish --region eu-west-1 --json      elsewhere; the report as JSON
  lamina publish --check                        exit 1 if anything would change
  lamina publish --env-file layers.env          LAMINA_LAYER_COMMON=arn:… for the next step of a pipeline
  lamina publish --upload-only && cdk deploy    have the layer in the bucket, and CloudFormation publish it
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.add_argument("--layer", action="append", default=[], metavar="NAME", help="this layer only; may be repeated")
    add_regions(parser)
    add_plan(parser)
    parser.add_argument(
        "--upload-only", action="store_true", help="put the layers together in the bucket, and publish no version"
    )
    parser.add_argument("--output", metavar="FILE", help="write the JSON report to a file, too")
    parser.add_argument("--env-file", metavar="FILE", help="write the ARNs as NAME=value to a file")


@stoppable()
def run(arguments: argparse.Namespace) -> int:
    """Build, plan, and unless only the plan was asked for, publish; 1 where a finding is an error, or where `--check` sees a change."""
    for option in ("upload_only", "dry_run", "check"):
        if arguments.env_file and getattr(arguments, option):
            name = option.replace("_", "-")
            raise ConfigError(f"`--{name}` publishes no version, so `--env-file` has no ARN to write")
    import tempfile

    project = project_of(arguments)
    with Console.of(arguments) as console, tempfile.TemporaryDirectory(prefix="lamina-publish-") as directory:
        return _run(arguments, project, Path(directory), console)


def _run(arguments: argparse.Namespace, project: Path, directory: Path, console: Console) -> int:
    from lamina.aws.publish import config, desired, destinations, stage, survey

    settings = config.load(project).at(arguments.region)
    connected = cache(partial(destinations.connect, settings))
    built = build_service(project, settings, connected, directory=directory, console=console)
    if not built.ok:
        return 1
    service, jobs = built.builds[0].service, built.jobs(desired.desired_layers(built.builds, settings, arguments.layer))
    if arguments.upload_only:
        return _upload(service, stage.plan_stage(jobs, connected()), arguments, console)
    return _publish(service, survey.survey(jobs, connected()), arguments, console)


def build_service(
    project: Path,
    settings: PublishConfig,
    connect: Callable[[], Sequence[Destination]],
    *,
    directory: Path,
    console: Console,
) -> ServiceBuild:
    """
    Build *project*, or make its layers in *directory* from what the bucket has if wheels are not here; say what was found.

    Raises what building raises, and AwsError and its kinds.
    """
    from lamina.aws.publish.remote import build
    from lamina.aws.store.team import team_store
    from lamina.project import config
    from lamina.project.options import BuildOptions

    service = config.load(project)
    if not service.is_named and "{service}" in settings.layer_name:
        console.warn(
            f"The service is called `{service.name}` after its directory: another checkout may publish another layer",
            hint="give it a `name` in `[project]`, or set `layer-name` in `[tool.lamina.publish]`",
        )
    made = build.build_service(
        project, settings, BuildOptions(), connect, directory=directory, team_store=team_store, reporter=console
    )
    if made.remote is not None:
        console.say("put together from what the bucket has")
    for finding in dict.fromkeys(finding for each in made.builds for finding in each.findings):
        console.finding(finding.severity.value, finding.message)
    return made


def _publish(service: str, steps: Sequence[LayerStep], arguments: argparse.Namespace, console: Console) -> int:
    """Publish the layers, unless that was only to be planned; stdout is their ARNs."""
    from lamina.aws.publish import apply, report

    console.close()
    console.say(*layer_lines(steps))
    if arguments.check or arguments.dry_run:
        _deliver(report.plan_document(service, steps), (), arguments)
        return int(arguments.check and any(step.action.is_change for step in steps))
    published = apply.apply(steps, reporter=console)
    console.close()
    _deliver(report.document(service, published), [each.version.arn for each in published], arguments)
    if arguments.env_file:
        write_file(arguments.env_file, report.environment(published).encode())
    console.say(_closing(published))
    return 0


def _upload(service: str, plans: Sequence[StagePlan], arguments: argparse.Namespace, console: Console) -> int:
    """Bring the layers into the buckets, unless that was only to be planned; stdout is where they are."""
    from lamina.aws.publish import report, stage

    console.close()
    for each in plans:
        words = "is there" if each.upload.composed else f"upload, {megabytes(each.upload.sent_bytes)} at most"
        console.say(f"layer {each.job.desired.name}, {each.destination.services.account}: {words}")
    if arguments.check or arguments.dry_run:
        _deliver(report.stage_document(service, plans), (), arguments)
        return int(arguments.check and not all(each.upload.composed for each in plans))
    staged = stage.stage(plans, reporter=console)
    console.close()
    lines = [each.bucket.url(each.key) for each in plans]
    _deliver(report.staged_document(service, staged), lines, arguments)
    sent = sum(each.sent_bytes for each in staged)
    console.say(f"{megabytes(sent)} sent" if sent else "nothing to do")
    return 0


def _deliver(document: dict[str, object], lines: Iterable[str], arguments: argparse.Namespace) -> None:
    """Print the *document* or the *lines*, and then write the former where that was asked for, too."""
    report = json.dumps(document, indent=2)
    for line in (report,) if arguments.json else lines:
        print(line)
    if arguments.output:
        write_file(arguments.output, report.encode() + b"\n")


def layer_lines(steps: Sequence[LayerStep]) -> Iterator[str]:
    """Yield the lines that say what is to happen to each layer."""
    from lamina.aws.publish.plan import KeepLayer, PublishLayer

    for step in steps:
        where = step.destination.services.account
        match step.action:
            case KeepLayer() as action:
                words = f"keep version {action.version.number}: {action.reason}"
            case PublishLayer() as action:
                words = f"publish: {action.reason}; {megabytes(action.upload_bytes)} to upload"
            case _:
                assert_never(step.action)
        yield f"layer {step.desired.name}, {where}: {words}"
        if action.grants:
            yield f"  share with {', '.join(grant.principal for grant in action.grants)}"
        if action.parameter is not None:
            yield f"  set parameter {action.parameter}"


def _closing(published: Sequence[Published]) -> str:
    new = sum(each.new for each in published)
    sent = sum(each.sent_bytes for each in published)
    if not new and not sent:
        changed = any(each.step.action.is_change for each in published)
        return "no new version" if changed else "nothing to do"
    return f"{count(new, 'new version')}, {megabytes(sent)} sent"


def write_file(name: str, content: bytes) -> None:
    """Write *content* to the file *name*, atomically where it is a plain one; raises ConfigError where that cannot be."""
    from lamina.core.files import replace_file

    path = Path(name)
    try:
        if path.exists() and not path.is_file():
            # A device or a pipe, such as /dev/stdout, is written to; replacing it would take it from everybody else.
            path.write_bytes(content)
        else:
            # A link stays one.
            replace_file(path.resolve(), content)
    except OSError as error:
        raise ConfigError(f"`{name}` cannot be written: {error.strerror}") from error
