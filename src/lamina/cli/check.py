"""``lamina check``: check what was built, what it is deployed with, and the developer's environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.cli.options import add_build, build_options, project_of

if TYPE_CHECKING:
    import argparse

HELP = (
    "Build the service, then look into its layers and packages, its deploy descriptions and, on request, a virtual environment. "
    "The findings have the rules of the documentation."
)
EXAMPLE = """\
examples:
  lamina check                             # check the artifacts and the templates
  lamina check --venv                      # also compare the project's virtual environment with the layers
  lamina check --base main                 # also compare sizes with those of a git revision
"""
PAGE = "reference/rules.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina check`` to *parser*."""
    parser.add_argument(
        "--venv",
        nargs="?",
        const=".venv",
        metavar="PATH",
        help="compare this virtual environment with the layers (default: `.venv`)",
    )
    parser.add_argument(
        "--base", metavar="REVISION|FILE", help="compare sizes with this git revision, or this build report"
    )
    add_build(parser)


def run(arguments: argparse.Namespace) -> int:
    """Build and check the service. Return 1 if a finding is an error."""
    import datetime as dt
    from pathlib import Path

    from lamina.audit.check import check
    from lamina.audit.inspection import Inspection
    from lamina.aws.store.team import team_store
    from lamina.cli.console import Console, emit_json
    from lamina.cli.stopping import killable
    from lamina.core.store import Store
    from lamina.core.values import Severity
    from lamina.pipeline.build import build
    from lamina.pipeline.report import finding_document

    project = project_of(arguments)
    store = Store.open()
    with Console.of(arguments) as console, killable(arguments, console):
        result = build(project, build_options(arguments), store=store, team_store=team_store, reporter=console)
        findings = check(
            Inspection(
                project=project,
                service=result.plan.service,
                builds=tuple(each.build for each in result.targets),
                store=store,
                reporter=console,
                today=dt.datetime.now(tz=dt.UTC).date(),
                venv=None if arguments.venv is None else Path(project, arguments.venv),
                base=arguments.base,
            )
        )
    if arguments.json:
        emit_json({"version": "1", "findings": [finding_document(each) for each in findings]})
    for each in findings:
        console.finding(each.severity.value, each.message)
    return int(any(each.severity is Severity.ERROR for each in findings))
