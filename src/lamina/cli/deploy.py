"""``lamina deploy``: publish, then bring the functions to their new code and layers."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.console import Console
from lamina.cli.options import add_plan, add_regions, project_of
from lamina.cli.publish import build_service, layer_lines
from lamina.cli.stopping import stoppable
from lamina.core.errors import ConfigError
from lamina.core.text import count, megabytes

# What talks to AWS is slow to import, and neither `--help` nor a mistake on the command line needs it: it is imported where it is used.
if TYPE_CHECKING:
    import argparse

    from lamina.aws.deploy.function_change import Creation
    from lamina.aws.deploy.service import ServiceOutcome, ServicePlan

HELP = (
    "Publish the layers of a service, then bring its functions to their new code and layers, in an order that never exceeds Lambda's limit; "
    "then publish a version of each function and move its alias. If anything fails everything is put back."
)
EXAMPLE = """\
examples:
  lamina deploy --dry-run                       say what would be published and updated, in which order, and why
  lamina deploy --alias live                    do it, and move the alias to versions that are complete
  lamina deploy --check                         exit 1 if anything would change
  lamina deploy --create --role ARN             make the functions that do not exist
  lamina deploy --migrate                       say how functions come from fat zips to layers, also with other tools
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.add_argument(
        "--function", action="append", default=[], metavar="NAME", help="this function only; may be repeated"
    )
    parser.add_argument("--alias", metavar="NAME", help="instead of the configured alias; made where it is missing")
    add_regions(parser)
    parser.add_argument("--create", action="store_true", help="make functions that do not exist; needs --role")
    parser.add_argument("--role", metavar="ARN", help="the role that new functions run as")
    add_plan(parser).add_argument(
        "--migrate", action="store_true", help="print how functions come to their layers, as Markdown; change nothing"
    )


@stoppable()
def run(arguments: argparse.Namespace) -> int:
    """Build, plan, and unless only the plan was asked for, publish and deploy; 1 where a finding is an error, or where `--check` sees a change."""
    import tempfile

    _check(arguments)
    project = project_of(arguments)
    with Console.of(arguments) as console, tempfile.TemporaryDirectory(prefix="lamina-deploy-") as directory:
        return _run(arguments, project, Path(directory), console)


def _check(arguments: argparse.Namespace) -> None:
    from lamina.aws.api.facts import fits

    if arguments.create != bool(arguments.role):
        raise ConfigError("`--create` and `--role` go together", hint="lamina deploy --create --role ARN")
    if arguments.role and not fits("role", arguments.role):
        raise ConfigError(f"`{arguments.role}` is no role's ARN", hint="arn:aws:iam::123456789012:role/service")
    if arguments.alias and not fits("alias", arguments.alias):
        raise ConfigError(f"`{arguments.alias}` is no alias's name")


def _run(arguments: argparse.Namespace, project: Path, directory: Path, console: Console) -> int:
    from lamina.aws.deploy import service
    from lamina.aws.publish import desired, destinations

    publishing, deploying = service.load(project)
    publishing = publishing.at(arguments.region)
    connected = cache(partial(destinations.connect, publishing))
    built = build_service(project, publishing, connected, directory=directory, console=console)
    if not built.ok:
        return 1
    # A function has one target: the first.
    chosen = service.select(built.builds[0], arguments.function)
    deploying.check(chosen.service, [package.name for package in chosen.packages])
    layers = desired.desired_layers(built.builds[:1], publishing)
    deployment = service.ServiceDeployment(
        build=chosen,
        layers=layers,
        config=replace(deploying, alias=arguments.alias or deploying.alias),
        creation=_creation(arguments, project),
        directory=directory / "functions",
        reporter=console,
    )
    # Who only wants to see the way of those that exist need not make the others.
    create = arguments.create or arguments.migrate
    return _deploy(arguments, deployment.plan(built.jobs(layers), connected(), create=create), console)


def _creation(arguments: argparse.Namespace, project: Path) -> Creation | None:
    from lamina.aws.deploy.function_change import Creation
    from lamina.project import config

    if not arguments.create:
        return None
    sizes = {each.name: (each.memory_mb, each.timeout_seconds) for each in config.load(project).functions}
    return Creation(role=arguments.role, sizes=sizes)


def _deploy(arguments: argparse.Namespace, plan: ServicePlan, console: Console) -> int:
    """Say what the *plan* is, and do it unless that was all that was asked for; stdout is the layers' ARNs."""
    from lamina.aws.deploy.report import migration, planned
    from lamina.core.target import quotas

    console.close()
    if arguments.migrate and not arguments.json:
        for steps in plan.functions.values():
            print("\n".join(migration(steps, limit=quotas().unzipped_bytes)))
        return 0
    console.say(*layer_lines(plan.layers))
    for place, steps in plan.functions.items():
        console.say(*planned(steps, place.services.account))
    if arguments.dry_run or arguments.check or arguments.migrate:
        if arguments.json:
            print(json.dumps(plan.document(), indent=2))
        return int(arguments.check and plan.is_change)
    outcome = plan.apply()
    console.close()
    if arguments.json:
        print(json.dumps(outcome.document(), indent=2))
    else:
        for each in outcome.layers:
            print(each.version.arn)
    console.say(_closing(outcome))
    return 0


def _closing(outcome: ServiceOutcome) -> str:
    functions = [each for several in outcome.functions.values() for each in several]
    layers = sum(each.new for each in outcome.layers)
    changed = sum(each.step.action.is_change for each in functions)
    if not changed and not layers:
        return "nothing to do"
    sent = sum(each.sent_bytes for each in outcome.layers) + sum(each.sent_bytes for each in functions)
    return f"{count(layers, 'new layer version')}, {changed} of {len(functions)} functions deployed, {megabytes(sent)} sent"
