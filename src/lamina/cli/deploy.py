"""``lamina deploy``: publish the layers, then update functions and aliases."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from lamina.cli.console import Console, emit
from lamina.cli.options import add_install_python, add_plan, add_regions, add_report_files, project_of
from lamina.cli.publish import build_service, check_env_file, deliver, deliver_outcome, layer_lines, uploaded
from lamina.cli.reports import remove_earlier, write_file
from lamina.core.errors import ConfigError
from lamina.core.text import count

# The AWS modules are slow to import, and `--help` and usage errors do not need them: import them where they are used.
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from lamina.aws.deploy.function_change import Creation
    from lamina.aws.deploy.service import ServiceOutcome, ServicePlan
    from lamina.project.service import Function

HELP = (
    "Build the service and publish its layers. Then update the functions to their new code and layers, publish a version of each function "
    "and move its alias. No step exceeds Lambda's size limit. If a step fails, roll back all functions and aliases of that account and region."
)
EXAMPLE = """\
examples:
  lamina deploy --dry-run       # show each step and its reason
  lamina deploy --alias live    # deploy, and point the alias `live` at the new versions
  lamina deploy --check         # exit with 1 if anything would change
  lamina deploy --output deployed.json    # also write a report of all places, even after a failure
  lamina deploy --migrate       # show how to move existing functions to layers
  lamina deploy --create --role arn:aws:iam::123456789012:role/service
"""
PAGE = "how-to/deploy.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina deploy`` to *parser*."""
    parser.add_argument(
        "--function", action="append", default=[], metavar="NAME", help="deploy only this function (repeatable)"
    )
    parser.add_argument("--alias", metavar="NAME", help="override the configured alias; created if missing")
    add_regions(parser)
    parser.add_argument("--create", action="store_true", help="create missing functions; needs --role")
    parser.add_argument("--role", metavar="ARN", help="set the execution role of created functions")
    add_plan(parser).add_argument(
        "--migrate", action="store_true", help="show how to move dependencies from function zips to layers, as Markdown"
    )
    add_install_python(parser)
    add_report_files(parser)


def run(arguments: argparse.Namespace) -> int:
    """
    Build the service and plan the changes; then publish and deploy, unless only the plan is requested.

    Return 1 if ``--check`` is given and something would change.
    """
    from lamina.core.temporary import temporary_directory

    remove_earlier(arguments.output, arguments.env_file)
    project = project_of(arguments)
    _check(arguments)
    with Console.of(arguments) as console, temporary_directory("deploy") as directory:
        return _run(arguments, project, directory, console)


def _check(arguments: argparse.Namespace) -> None:
    from lamina.aws.api.facts import fits
    from lamina.aws.deploy.config import alias_mistake

    check_env_file(arguments, "dry_run", "check", "migrate")
    if arguments.create != bool(arguments.role):
        raise ConfigError(
            "`--create` and `--role` must be used together", hint="use `lamina deploy --create --role ARN`"
        )
    if arguments.role and not fits("role", arguments.role):
        raise ConfigError(
            f"`{arguments.role}` is not the ARN of an IAM role",
            hint="use an ARN such as `arn:aws:iam::123456789012:role/service`",
        )
    mistake = alias_mistake(arguments.alias) if arguments.alias else None
    if mistake is not None:
        fact, _, hint = mistake.partition(": ")
        raise ConfigError(fact, hint=hint)


def _run(arguments: argparse.Namespace, project: Path, directory: Path, console: Console) -> int:
    from lamina.aws.deploy import service
    from lamina.aws.destination.naming import layer_name
    from lamina.aws.publish import desired, destinations
    from lamina.cli.stopping import NOTHING_CHANGED, before_changes, killable
    from lamina.project import config

    publishing, deploying = service.load(project)
    publishing = publishing.at(arguments.region)
    connected = cache(partial(destinations.connect, publishing))
    with before_changes():
        with killable(arguments, console, NOTHING_CHANGED):
            built = build_service(project, publishing, connected, directory=directory, console=console)
        # Functions are deployed for the first target only, because a function has one runtime and architecture.
        chosen = service.select(built.builds[0], arguments.function)
        deploying.check(chosen.service, [package.name for package in chosen.packages])
        configured = config.load(project)
        functions = configured.functions
        layers = desired.desired_layers(built.builds[:1], publishing)
        deployment = service.ServiceDeployment(
            build=chosen,
            layers=layers,
            config=replace(
                deploying,
                alias=arguments.alias or deploying.alias,
                wrappers={each.name: each.wrapper for each in functions if each.wrapper is not None},
            ),
            creation=_creation(arguments, functions),
            directory=directory / "functions",
            names=tuple(deploying.name(chosen.service, package.name) for package in built.builds[0].packages),
            bundled=frozenset(
                layer_name(publishing.layer_name, service=chosen.service, layer=layer.name, target=chosen.target)
                for layer in configured.bundles
            ),
            # The guide for a migration is also for functions whose layers are to be replaced.
            service=None if arguments.migrate else configured,
            reporter=console,
        )
        console.stage("comparing with AWS")
        # `--migrate` also plans services with missing functions, without `--create`.
        plan = deployment.plan(built.jobs(layers), connected(), create=arguments.create or arguments.migrate)
        _show(arguments, plan, console)
    if arguments.dry_run or arguments.check or arguments.migrate:
        return int(arguments.check and plan.is_change)
    return _deploy(arguments, plan, console)


def _creation(arguments: argparse.Namespace, functions: Sequence[Function]) -> Creation | None:
    from lamina.aws.deploy.function_change import Creation

    if not arguments.create:
        return None
    sizes = {each.name: (each.memory_mb, each.timeout_seconds) for each in functions}
    return Creation(role=arguments.role, sizes=sizes)


def _show(arguments: argparse.Namespace, plan: ServicePlan, console: Console) -> None:
    """Show *plan*; if only the plan is requested, also deliver it as JSON."""
    from lamina.aws.deploy.report import migration, planned
    from lamina.aws.destination.planlines import merged
    from lamina.core.target import quotas

    console.close()
    if arguments.migrate and not arguments.json:
        for steps in plan.functions.values():
            emit("\n".join(migration(steps, limit=quotas().unzipped_bytes)))
    else:
        console.say(*merged(layer_lines(plan.layers), verbose=console.verbose))
        planned_everywhere = [
            line for place, steps in plan.functions.items() for line in planned(steps, place.services.account)
        ]
        console.say(*merged(planned_everywhere, verbose=console.verbose))
    if arguments.dry_run or arguments.check or arguments.migrate:
        deliver(plan.document(), (), arguments)


def _deploy(arguments: argparse.Namespace, plan: ServicePlan, console: Console) -> int:
    """
    Apply *plan*, print the ARNs of the layer versions, or JSON, to stdout, and return the exit code.

    If a destination fails, show what was done at each, and raise the error with the report.
    """
    from lamina.aws.destination.planlines import merged

    outcome = plan.apply()
    console.close()
    if outcome.error is not None:
        console.say(*(line for place in outcome.places for line in merged(place.lines(), verbose=console.verbose)))
    deliver_outcome(outcome.document(), [each.version.arn for each in outcome.layers], arguments, outcome.error)
    if arguments.env_file:
        from lamina.aws.publish import report

        write_file(arguments.env_file, report.environment(outcome.layers).encode())
    console.say(_closing(outcome))
    return 0


def _closing(outcome: ServiceOutcome) -> str:
    functions = [each for place in outcome.places for each in place.functions]
    layers = sum(each.new for each in outcome.layers)
    changed = sum(each.step.action.is_change for each in functions)
    if not changed and not layers:
        return "nothing to do"
    sent = sum(each.sent_bytes for each in outcome.layers) + sum(each.sent_bytes for each in functions)
    deployed = f"deployed {changed} of {count(len(functions), 'function')}"
    return f"{count(layers, 'new layer version')}, {deployed}, {uploaded(sent)}"
