"""The part of ``lamina publish`` that needs the pipeline and AWS, apart, because ``--help`` needs neither."""

from __future__ import annotations

import json
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from lamina.aws.publish import report as outputs
from lamina.aws.publish.apply import apply
from lamina.aws.publish.config import load
from lamina.aws.publish.desired import desired_layers
from lamina.aws.publish.destination import connect
from lamina.aws.publish.plan import KeepLayer, PublishLayer
from lamina.aws.publish.stage import plan_stage, stage
from lamina.aws.publish.survey import survey
from lamina.cli._files import write_file
from lamina.cli._jobs import make
from lamina.cli.console import Console, megabytes
from lamina.cli.stopping import stoppable
from lamina.core.errors import ConfigError
from lamina.project import config

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from lamina.aws.publish.apply import Published
    from lamina.aws.publish.stage import StagePlan
    from lamina.aws.publish.survey import LayerStep

__all__ = ["planned", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Build, plan, and unless only the plan was asked for, publish."""
    console = Console.of(arguments)
    for option in ("upload_only", "dry_run", "check"):
        if arguments.env_file and getattr(arguments, option):
            name = option.replace("_", "-")
            raise ConfigError(f"`--{name}` publishes no version, so `--env-file` has no ARN to write")
    project = config.find_project(Path(arguments.project or "."))
    try:
        with stoppable(), tempfile.TemporaryDirectory(prefix="lamina-publish-") as directory:
            return _run(arguments, project, Path(directory), console)
    finally:
        console.close()


def _run(arguments: argparse.Namespace, project: Path, directory: Path, console: Console) -> int:
    settings = load(project).at(arguments.region)
    connected = cache(partial(connect, settings))
    made = make(project, settings, connected, directory=directory, console=console)
    if not made.ok:
        return 1
    service, jobs = made.builds[0].service, made.jobs(desired_layers(made.builds, settings, arguments.layer))
    if arguments.upload_only:
        return _upload(service, plan_stage(jobs, connected()), arguments, console)
    steps = survey(jobs, connected())
    console.close()
    for line in planned(steps):
        console.say(line)
    if arguments.check or arguments.dry_run:
        return _only_planned(service, steps, arguments)
    published = apply(steps, reporter=console)
    console.close()
    _report(service, published, arguments)
    console.say(_closing(published))
    return 0


def _upload(service: str, plans: Sequence[StagePlan], arguments: argparse.Namespace, console: Console) -> int:
    """Bring the layers into the buckets, unless that was only to be planned; stdout is where they are."""
    console.close()
    for each in plans:
        words = "is there" if each.upload.composed else f"upload, {megabytes(each.upload.sent_bytes)} at most"
        console.say(f"layer {each.job.desired.name}, {each.destination.services.account}: {words}")
    if arguments.check or arguments.dry_run:
        _deliver(outputs.stage_document(service, plans), (), arguments)
        return 1 if arguments.check and not all(each.upload.composed for each in plans) else 0
    staged = stage(plans, reporter=console)
    console.close()
    lines = [each.bucket.url(each.key) for each in plans]
    _deliver(outputs.staged_document(service, staged), lines, arguments)
    sent = sum(each.sent_bytes for each in staged)
    console.say(f"{megabytes(sent)} sent" if sent else "nothing to do")
    return 0


def _only_planned(service: str, steps: Sequence[LayerStep], arguments: argparse.Namespace) -> int:
    _deliver(outputs.plan_document(service, steps), (), arguments)
    return 1 if arguments.check and any(step.action.is_change for step in steps) else 0


def _report(service: str, published: Sequence[Published], arguments: argparse.Namespace) -> None:
    _deliver(outputs.document(service, published), [each.version.arn for each in published], arguments)
    if arguments.env_file:
        write_file(arguments.env_file, outputs.environment(published).encode())


def _deliver(document: dict[str, object], lines: Iterable[str], arguments: argparse.Namespace) -> None:
    """Print the *document* or the *lines*, and then write the former where that was asked for, too."""
    report = json.dumps(document, indent=2)
    for line in (report,) if arguments.json else lines:
        print(line)
    if arguments.output:
        write_file(arguments.output, report.encode() + b"\n")


def planned(steps: Sequence[LayerStep]) -> Iterator[str]:
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
    return f"{new} new version{'' if new == 1 else 's'}, {megabytes(sent)} sent"
