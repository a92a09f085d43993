"""The part of ``lamina deploy`` that needs the pipeline and AWS, apart, because ``--help`` needs neither."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.aws.api.facts import fits
from lamina.aws.deploy import config as deployconfig
from lamina.aws.deploy.apply import Creation, Deployment
from lamina.aws.deploy.report import deployed_rows, migration, planned, planned_rows
from lamina.aws.deploy.survey import desired_functions, replan
from lamina.aws.deploy.survey import survey as survey_functions
from lamina.aws.publish import report
from lamina.aws.publish.apply import apply
from lamina.aws.publish.config import load
from lamina.aws.publish.desired import desired_layers
from lamina.aws.publish.destination import connect, everywhere
from lamina.aws.publish.plan import KeepLayer
from lamina.aws.publish.survey import survey
from lamina.cli._jobs import make
from lamina.cli._publishing import planned as planned_layers
from lamina.cli.console import Console, megabytes
from lamina.cli.stopping import stoppable
from lamina.core.errors import ConfigError, InvalidConfigError
from lamina.core.target import quotas
from lamina.project import config
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lamina.aws.deploy.apply import DeployOutcome
    from lamina.aws.deploy.config import DeployConfig
    from lamina.aws.deploy.plan import DesiredFunction
    from lamina.aws.deploy.survey import FunctionStep
    from lamina.aws.publish.apply import Published
    from lamina.aws.publish.config import PublishConfig
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.aws.publish.destination import Destination
    from lamina.aws.publish.survey import LayerStep
    from lamina.aws.publish.zip_source import LayerJob
    from lamina.core.values import Build

__all__ = ["run"]


@dataclass(frozen=True, kw_only=True)
class _DeployRun:
    """What one run is about."""

    arguments: argparse.Namespace
    console: Console
    build: Build
    layers: tuple[DesiredLayer, ...]
    jobs: list[LayerJob]
    config: DeployConfig
    creation: Creation | None
    directory: Path


def run(arguments: argparse.Namespace) -> int:
    """Build, plan, and unless only the plan was asked for, publish and deploy."""
    _check(arguments)
    console = Console.of(arguments)
    project = config.find_project(Path(arguments.project or "."))
    try:
        with stoppable(), tempfile.TemporaryDirectory(prefix="lamina-deploy-") as name:
            return _make_and_run(arguments, project, Path(name), console)
    finally:
        console.close()


def _make_and_run(arguments: argparse.Namespace, project: Path, directory: Path, console: Console) -> int:
    publishing, deploying = _configured(project)
    publishing = publishing.at(arguments.region)
    connected = cache(partial(connect, publishing))
    made = make(project, publishing, connected, directory=directory, console=console)
    if not made.ok:
        return 1
    # A function has one target: the first.
    chosen = _chosen(made.builds[0], arguments.function)
    deploying.check(chosen.service, [package.name for package in chosen.packages])
    layers = desired_layers(made.builds[:1], publishing)
    work = _DeployRun(
        arguments=arguments,
        console=console,
        build=chosen,
        layers=layers,
        jobs=made.jobs(layers),
        config=replace(deploying, alias=arguments.alias or deploying.alias),
        creation=_creation(arguments, project),
        directory=directory / "functions",
    )
    return _run(work, connected())


def _configured(project: Path) -> tuple[PublishConfig, DeployConfig]:
    try:
        publishing = load(project)
    except InvalidConfigError as error:
        try:
            deployconfig.load(project)
        except InvalidConfigError as further:
            raise InvalidConfigError(file=error.file, mistakes=(*error.mistakes, *further.mistakes)) from error
        raise
    return publishing, deployconfig.load(project)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.create != bool(arguments.role):
        raise ConfigError("`--create` and `--role` go together", hint="lamina deploy --create --role ARN")
    if arguments.role and not fits("role", arguments.role):
        raise ConfigError(f"`{arguments.role}` is no role's ARN", hint="arn:aws:iam::123456789012:role/service")
    if arguments.alias and not fits("alias", arguments.alias):
        raise ConfigError(f"`{arguments.alias}` is no alias's name")


def _chosen(built: Build, names: Sequence[str]) -> Build:
    known = [package.name for package in built.packages]
    if unknown := [f"`{name}`{did_you_mean(name, known)}" for name in names if name not in known]:
        raise ConfigError(f"The service has no function {', '.join(unknown)}")
    return replace(built, packages=tuple(each for each in built.packages if not names or each.name in names))


def _creation(arguments: argparse.Namespace, project: Path) -> Creation | None:
    if not arguments.create:
        return None
    sizes = {each.name: (each.memory_mb, each.timeout_seconds) for each in config.load(project).functions}
    return Creation(role=arguments.role, sizes=sizes)


def _run(work: _DeployRun, places: Sequence[Destination]) -> int:
    layer_steps = survey(work.jobs, places)
    plans = dict(zip(places, everywhere(lambda place: _plan(work, place, layer_steps), places), strict=True))
    console, arguments = work.console, work.arguments
    console.close()
    if arguments.migrate and not arguments.json:
        for place in places:
            print("\n".join(migration(plans[place], limit=quotas().unzipped_bytes)))
        return 0
    for line in planned_layers(layer_steps):
        console.say(line)
    for place in places:
        for line in planned(plans[place], place.services.account):
            console.say(line)
    if arguments.dry_run or arguments.check or arguments.migrate:
        return _only_planned(work, layer_steps, plans)
    published = apply(layer_steps, reporter=console)
    deployed = dict(
        zip(places, everywhere(lambda place: _deploy(work, place, plans[place], published), places), strict=True)
    )
    console.close()
    _report(work, published, deployed)
    return 0


def _plan(work: _DeployRun, place: Destination, layer_steps: Sequence[LayerStep]) -> tuple[FunctionStep, ...]:
    directory = _directory(work, place)
    directory.mkdir(parents=True)
    known = {
        step.desired.name: step.action.version.arn
        for step in layer_steps
        if step.destination is place and isinstance(step.action, KeepLayer)
    }
    return survey_functions(
        place.services.functions,
        _wanted(work, place, known),
        {package.name: package for package in work.build.packages},
        config=work.config,
        # Who only wants to see the way of those that exist need not make the others.
        create=work.creation is not None or work.arguments.migrate,
        directory=directory,
        has_bucket=place.bucket is not None,
    )


def _wanted(work: _DeployRun, place: Destination, versions: dict[str, str]) -> tuple[DesiredFunction, ...]:
    return desired_functions(work.build, work.layers, versions, work.config, place.services.account)


def _directory(work: _DeployRun, place: Destination) -> Path:
    return work.directory / place.services.account.id / place.services.account.region


def _deploy(
    work: _DeployRun, place: Destination, steps: Sequence[FunctionStep], published: Sequence[Published]
) -> tuple[DeployOutcome, ...]:
    versions = {each.step.desired.name: each.version.arn for each in published if each.step.destination is place}
    deployment = Deployment(
        place.services.functions,
        replan(steps, _wanted(work, place, versions), config=work.config),
        directory=_directory(work, place),
        bucket=place.bucket,
        creation=work.creation,
        stop=place.stop,
        reporter=work.console,
    )
    return deployment.run()


def _only_planned(
    work: _DeployRun, layer_steps: Sequence[LayerStep], plans: dict[Destination, tuple[FunctionStep, ...]]
) -> int:
    if work.arguments.json:
        document = report.plan_document(work.build.service, layer_steps)
        rows = [row for place, steps in plans.items() for row in planned_rows(steps, place.services.account)]
        print(json.dumps(document | {"functions": rows}, indent=2))
    changes = any(step.action.is_change for step in layer_steps) or any(
        step.action.is_change for steps in plans.values() for step in steps
    )
    return 1 if work.arguments.check and changes else 0


def _report(
    work: _DeployRun, published: Sequence[Published], deployed: dict[Destination, tuple[DeployOutcome, ...]]
) -> None:
    if work.arguments.json:
        document = report.document(work.build.service, published)
        rows = [row for place, each in deployed.items() for row in deployed_rows(each, place.services.account)]
        print(json.dumps(document | {"functions": rows}, indent=2))
    else:
        for each in published:
            print(each.version.arn)
    every = [each for several in deployed.values() for each in several]
    changed = sum(each.step.action.is_change for each in every)
    sent = sum(each.sent_bytes for each in published) + sum(each.sent_bytes for each in every)
    if not changed and not any(each.new for each in published):
        work.console.say("nothing to do")
        return
    layers = sum(each.new for each in published)
    work.console.say(
        f"{layers} new layer version{'' if layers == 1 else 's'}, {changed} of {len(every)} functions deployed, "
        f"{megabytes(sent)} sent"
    )
