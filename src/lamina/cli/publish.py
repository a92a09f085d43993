"""``lamina publish``: build the layers and publish those that AWS does not have yet."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, assert_never

from lamina.cli.console import Console, emit, emit_json
from lamina.cli.options import add_install_python, add_plan, add_regions, add_report_files, project_of
from lamina.cli.reports import remove_earlier, write_file, write_json
from lamina.core.errors import CheckFailedError, ConfigError
from lamina.core.frozen import replace
from lamina.core.text import count, megabytes

# The AWS modules are slow to import, and `--help` and usage errors do not need them: import them where they are used.
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from lamina.aws.destination.destination import Destination
    from lamina.aws.destination.planlines import PlanLine
    from lamina.aws.publish.apply import Published
    from lamina.aws.publish.config import PublishConfig
    from lamina.aws.publish.remote.build import ServiceBuild
    from lamina.aws.publish.stage import StagePlan
    from lamina.aws.publish.survey import LayerStep
    from lamina.core.errors import LaminaError

HELP = (
    "Build the service's layers and publish them. A layer gets a new version only if no existing version has the same content. "
    "Wheels that the bucket already has are not uploaded again."
)
EXAMPLE = """\
examples:
  lamina publish --dry-run                      # show new versions, reasons and upload sizes
  lamina publish                                # publish, and print the ARNs to stdout
  lamina publish --region eu-west-1 --json      # publish to another region, print a JSON report
  lamina publish --check                        # exit with 1 if anything would change
  lamina publish --env-file layers.env          # write LAMINA_LAYER_COMMON=arn:… to a file
  lamina publish --upload-only && cdk deploy    # upload only; CloudFormation publishes
"""
PAGE = "how-to/publish.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina publish`` to *parser*."""
    parser.add_argument(
        "--layer", action="append", default=[], metavar="NAME", help="publish only this layer (repeatable)"
    )
    add_regions(parser)
    add_plan(parser)
    add_install_python(parser)
    parser.add_argument(
        "--upload-only", action="store_true", help="assemble the layers in the bucket without publishing versions"
    )
    add_report_files(parser)


def run(arguments: argparse.Namespace) -> int:
    """
    Build the layers and plan the changes; then publish or upload, unless only the plan is requested.

    Return 1 if ``--check`` is given and something would change.
    """
    remove_earlier(arguments.output, arguments.env_file)
    check_env_file(arguments, "upload_only", "dry_run", "check")
    from lamina.core.temporary import temporary_directory

    project = project_of(arguments)
    with Console.of(arguments) as console, temporary_directory("publish") as directory:
        return _run(arguments, project, directory, console)


def check_env_file(arguments: argparse.Namespace, *options: str) -> None:
    """Raise `ConfigError` if ``--env-file`` is given with one of *options*, with which no version is published."""
    for option in options:
        if arguments.env_file and getattr(arguments, option):
            name = option.replace("_", "-")
            raise ConfigError(f"`--env-file` is not allowed with `--{name}`, which publishes no versions")


def _run(arguments: argparse.Namespace, project: Path, directory: Path, console: Console) -> int:
    from lamina.aws.publish import config, desired, destinations, stage, survey
    from lamina.cli.stopping import NOTHING_CHANGED, before_changes, killable

    settings = config.load(project).at(arguments.region)
    connected = cache(partial(destinations.connect, settings))
    with before_changes():
        with killable(arguments, console, NOTHING_CHANGED):
            built = build_service(project, settings, connected, directory=directory, console=console)
        layers = desired.desired_layers(built.builds, settings, arguments.layer)
        service, jobs = built.builds[0].service, built.jobs(layers)
        console.stage("comparing with AWS")
        plans = stage.plan_stage(jobs, connected()) if arguments.upload_only else ()
        steps = () if arguments.upload_only else survey.survey(jobs, connected())
    if arguments.upload_only:
        return _upload(service, plans, arguments, console)
    return _publish(service, steps, arguments, console)


def build_service(
    project: Path,
    settings: PublishConfig,
    connect: Callable[[], Sequence[Destination]],
    *,
    directory: Path,
    console: Console,
) -> ServiceBuild:
    """
    Build the service in *project* and print its findings.

    If wheels are missing on this machine, assemble the layers in *directory* from the bucket instead. Raises `CheckFailedError`
    if a finding is an error, `AwsError` and its subclasses, and every error that a build raises.
    """
    from lamina.aws.publish.remote import build
    from lamina.aws.store.team import team_store
    from lamina.project import config
    from lamina.project.options import BuildOptions

    service = config.load(project)
    if not service.is_named and "{service}" in settings.layer_name:
        console.warn(
            f"service `{service.name}` is named after its directory, so a checkout in another directory may publish a layer of another name",
            hint="set `name` in `[project]`, or `layer-name` in `[tool.lamina.publish]`",
        )
    made = build.build_service(
        project, settings, BuildOptions(), connect, directory=directory, team_store=team_store, reporter=console
    )
    if made.remote is not None:
        console.say("built the layers from segments in the bucket, without their wheels")
    for finding in dict.fromkeys(finding for each in made.builds for finding in each.findings):
        console.finding(finding.severity.value, finding.message)
    if not made.ok:
        raise CheckFailedError("nothing was published or deployed, because the build has errors")
    return made


def _publish(service: str, steps: Sequence[LayerStep], arguments: argparse.Namespace, console: Console) -> int:
    """
    Show the plan and publish the layers, unless only the plan is requested; print the ARNs, or JSON, to stdout.

    Return the exit code: 1 if ``--check`` finds a change.
    """
    from lamina.aws.destination.planlines import merged
    from lamina.aws.publish import apply, report

    console.close()
    if not steps:
        console.note("the service has no layers to publish")
    console.say(*merged(layer_lines(steps), verbose=console.verbose))
    if arguments.check or arguments.dry_run:
        deliver(report.plan_document(service, steps), (), arguments)
        return int(arguments.check and any(step.action.is_change for step in steps))
    outcome = apply.publish(steps, reporter=console)
    console.close()
    published = outcome.published
    if outcome.error is not None:
        console.say(*merged(_outcome_lines(steps, published), verbose=console.verbose))
    arns = [each.version.arn for each in published]
    deliver_outcome(
        report.document(service, outcome, [step.destination for step in steps]), arns, arguments, outcome.error
    )
    if arguments.env_file:
        write_file(arguments.env_file, report.environment(published).encode())
    console.say(_closing(published))
    return 0


def _upload(service: str, plans: Sequence[StagePlan], arguments: argparse.Namespace, console: Console) -> int:
    """
    Show the plan and upload the layers to the buckets, unless only the plan is requested; print the S3 URLs, or JSON, to stdout.

    Return the exit code: 1 if ``--check`` finds a layer to upload.
    """
    from lamina.aws.destination.planlines import PlanLine, merged
    from lamina.aws.publish import report, stage

    console.close()
    planned = [
        PlanLine(
            noun="layer",
            name=each.job.desired.name,
            place=str(each.destination.services.account),
            words="already in the bucket"
            if each.upload.composed
            else f"upload at most {megabytes(each.upload.sent_bytes)}"
            if each.upload.sent_bytes
            else "assemble, nothing to upload",
        )
        for each in plans
    ]
    console.say(*merged(planned, verbose=console.verbose))
    if arguments.check or arguments.dry_run:
        deliver(report.stage_document(service, plans), (), arguments)
        return int(arguments.check and not all(each.upload.composed for each in plans))
    outcome = stage.stage(plans, reporter=console)
    console.close()
    if outcome.error is not None:
        uploads = [each.plan for each in outcome.uploads]
        ended = [
            replace(line, words="uploaded" if each in uploads else "not uploaded")
            for line, each in zip(planned, plans, strict=True)
        ]
        console.say(*merged(ended, verbose=console.verbose))
    lines = [each.bucket.url(each.key) for each in plans]
    document = report.staged_document(service, outcome, [each.destination for each in plans])
    deliver_outcome(document, lines, arguments, outcome.error)
    sent = sum(each.sent_bytes for each in outcome.uploads)
    console.say(f"uploaded {megabytes(sent)}" if sent else "nothing to do")
    return 0


def _outcome_lines(steps: Sequence[LayerStep], published: Sequence[Published]) -> Iterator[PlanLine]:
    """Yield what happened to each layer of *steps*, with the version that it has now."""
    from lamina.aws.destination.planlines import PlanLine

    for step in steps:
        done = next((each for each in published if each.step is step), None)
        words = "not published"
        if done is not None:
            words = f"{'published' if done.new else 'unchanged'}, version {done.version.number}"
        yield PlanLine(noun="layer", name=step.desired.name, place=str(step.destination.services.account), words=words)


def deliver_outcome(
    document: dict[str, object], lines: Iterable[str], arguments: argparse.Namespace, error: LaminaError | None
) -> None:
    """
    Deliver *document* or *lines* as `deliver` does.

    If the command failed with *error*, write the document with it to the file of ``--output``, and raise it with *document* as its report.
    """
    if error is None:
        deliver(document, lines, arguments)
        return
    error.report = document
    if arguments.output:
        write_json(arguments.output, {**document, "error": error.document()})
    raise error


def deliver(document: dict[str, object], lines: Iterable[str], arguments: argparse.Namespace) -> None:
    """Print *document* as JSON if ``--json`` is given, else *lines*; write *document* to the file of ``--output``, if any."""
    if arguments.json:
        emit_json(document)
    else:
        for line in lines:
            emit(line)
    if arguments.output:
        write_json(arguments.output, document)


def layer_lines(steps: Sequence[LayerStep]) -> Iterator[PlanLine]:
    """Yield the planned action for each layer, and its reason."""
    from lamina.aws.destination.planlines import PlanLine
    from lamina.aws.publish.plan import KeepLayer, PublishLayer

    for step in steps:
        match step.action:
            case KeepLayer() as action:
                words = f"keep version {action.version.number} ({action.reason})"
            case PublishLayer() as action:
                upload = f"upload {megabytes(action.upload_bytes)}" if action.upload_bytes else "nothing to upload"
                words = f"publish ({action.reason}), {upload}"
            case _:
                assert_never(step.action)
        details = [f"share with {', '.join(grant.principal for grant in action.grants)}"] if action.grants else []
        if action.parameter is not None:
            details.append(f"set SSM parameter {action.parameter}")
        yield PlanLine(
            noun="layer",
            name=step.desired.name,
            place=str(step.destination.services.account),
            words=words,
            details=tuple(details),
        )


def _closing(published: Sequence[Published]) -> str:
    new = sum(each.new for each in published)
    sent = sum(each.sent_bytes for each in published)
    if not new and not sent:
        changed = any(each.step.action.is_change for each in published)
        return "no new versions" if changed else "nothing to do"
    return f"{count(new, 'new version')}, {uploaded(sent)}"


def uploaded(sent_bytes: int) -> str:
    """Return how much was uploaded; nothing if the bucket had everything already."""
    return f"uploaded {megabytes(sent_bytes)}" if sent_bytes else "nothing to upload"
