"""``lamina inspect``: show what is inside a layer, a function or a zip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.cli.options import add_everything

if TYPE_CHECKING:
    import argparse

    from lamina.audit.inspected.inspect import Auditor, InspectionReport
    from lamina.cli.console import Console
    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.pipeline.context import BuildContext
    from lamina.project.service import Service

HELP = (
    "Show what is inside a layer by ARN, a function with all its layers, or a zip: distributions with versions and licences, binaries, "
    "bytecode, extensions, and files of no distribution. Layers are downloaded in the region of their ARN. Nothing is unpacked or run."
)
EXAMPLE = """\
examples:
  lamina inspect arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-x86_64:7
  lamina inspect orders-create-order          # the code and all layers of a function
  lamina inspect .lamina/layers/common.zip
"""
PAGE = "how-to/inspect.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina inspect`` to *parser*."""
    parser.add_argument("subject", metavar="ARN|FUNCTION|ZIP", help="the layer version, function or zip")
    parser.add_argument(
        "--runtime", metavar="NAME", help="judge the zip for this runtime (default: those stated for it)"
    )
    parser.add_argument("--architecture", metavar="NAME", help="judge the zip for x86_64 or arm64 (default: x86_64)")
    parser.add_argument(
        "--no-match", action="store_true", help="do not look for modules without metadata on the package index"
    )
    parser.add_argument(
        "--audit",
        action="store_true",
        help="look for known vulnerabilities as `lamina audit` does, and exit with 1 if one fails it",
    )
    parser.add_argument("--osv", metavar="URL|FILE", help="ask this mirror of OSV, or read its zip for PyPI")
    add_everything(parser, "with --audit: ")
    parser.add_argument("--offline", action="store_true", help="use only files in the store; do not use the network")


def run(arguments: argparse.Namespace) -> int:
    """
    Inspect the subject and print what it contains. Return 1 if an audit finds a vulnerability that fails it, or if a statement is wrong.

    If layers of a function cannot be read, return the exit code of the error instead.
    """
    from lamina.cli.console import Console, emit_json

    if arguments.audit or arguments.osv is not None:
        from lamina.audit.vulnerabilities.severity import require

        require()
    console = Console.of(arguments)
    target = _target(arguments)
    with console:
        report = _inspect(arguments, console, target)
    if arguments.json:
        from lamina.audit.inspected.document import document

        emit_json(document(report))
    else:
        _show(report, console)
    unverified = [each.zip.name for each in report.archives if each.provenance is not None and not each.provenance]
    for name in unverified:
        console.finding("error", f"the statement next to `{name}` does not prove where it comes from")
    for error in report.subject.failures:
        console.failure(error)
    fails = report.answer is not None and any(each.fails for each in report.answer.vulnerabilities)
    return max((int(fails or bool(unverified)), *(error.exit_code for error in report.subject.failures)))


def _inspect(arguments: argparse.Namespace, console: Console, target: Target | None) -> InspectionReport:
    from pathlib import Path

    from lamina.audit.inspected.inspect import inspect
    from lamina.audit.inspected.subjects import located
    from lamina.core.store import Store
    from lamina.pipeline.context import BuildContext
    from lamina.project.options import BuildOptions

    store = Store.open()
    service = _service(arguments, store)
    project = service.root if service is not None else None
    context = BuildContext.open(
        project or Path(arguments.project or "."),
        BuildOptions(offline=arguments.offline),
        store=store,
        reporter=console,
    )
    with (
        store.in_use(console),
        located(
            arguments.subject, project=project, store=store, offline=arguments.offline, reporter=console
        ) as subject,
    ):
        return inspect(
            subject,
            context,
            service=service,
            target=target,
            matches=not (arguments.no_match or arguments.offline),
            auditor=_auditor(arguments, context, service) if arguments.audit or arguments.osv is not None else None,
        )


def _auditor(arguments: argparse.Namespace, context: BuildContext, service: Service | None) -> Auditor:
    """Return who judges the distributions, by the configuration of *service*. Raises the errors of `open_database`."""
    import datetime as dt

    from lamina.audit.inspected.inspect import Auditor
    from lamina.audit.inventory.origins import LockedOrigins
    from lamina.audit.vulnerabilities.databases import open_database
    from lamina.audit.vulnerabilities.settings import load

    settings = load(None if service is None else service.root, osv=arguments.osv)
    return Auditor(
        settings=settings,
        advisories=open_database(
            settings, LockedOrigins(context.project, None), store=context.store, offline=arguments.offline
        ),
        today=dt.datetime.now(tz=dt.UTC).date(),
        everything=arguments.everything,
    )


def _target(arguments: argparse.Namespace) -> Target | None:
    """Return the target of ``--runtime`` and ``--architecture``. Raises `ConfigError` if the second is given alone, or one is unknown."""
    from lamina.core.errors import ConfigError
    from lamina.core.target import Target

    if arguments.runtime is not None:
        return Target.of(arguments.runtime, arguments.architecture or "x86_64")
    if arguments.architecture is not None:
        raise ConfigError("`--architecture` requires `--runtime`", hint="add it, such as `--runtime python3.13`")
    return None


def _service(arguments: argparse.Namespace, store: Store) -> Service | None:
    """Return the service of ``--project`` or of the working directory; ``None`` if there is none, or if there are several."""
    from pathlib import Path

    from lamina.cli.options import project_of
    from lamina.pipeline import workspace
    from lamina.project.config import load
    from lamina.project.file import nearest_project

    here = Path()
    if arguments.project is not None:
        return load(project_of(arguments), store=store)
    project = nearest_project(here)
    return None if project is None or workspace.find(here) is not None else load(project, store=store)


def _show(report: InspectionReport, console: Console) -> None:
    import sys

    from lamina.audit.inspected.text import lines
    from lamina.cli.console import emit, table_width

    emit("\n".join(lines(report, width=table_width(sys.stdout))))
    for note in report.notes:
        console.note(note)
