"""``lamina audit``: look for known vulnerabilities and licences in layers and packages, and write SBOMs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lamina.cli.options import add_build, add_everything, add_findings_report, build_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from lamina.audit.inventory.sbom import Described
    from lamina.audit.report import Report
    from lamina.audit.vulnerabilities.run import AuditedService, AuditRequest
    from lamina.cli.console import Console

HELP = (
    "Build the service, then look for known vulnerabilities in the distributions of its layers and packages, and check their licences. "
    "Only names and versions of distributions that are known to be public are sent. At the root of a workspace, audit all services."
)
EXAMPLE = """\
examples:
  lamina audit                                # ask OSV
  lamina audit --severity high                # fail only for high and critical
  lamina audit --sbom sbom.cdx.json           # also write an SBOM
  lamina audit --offline --osv all.zip        # use OSV's zip for PyPI
  lamina audit --deployed                     # audit what functions use now
"""
PAGE = "how-to/audit.md"
_FORMATS = ("text", "json", "sarif", "markdown", "github")
_NAME = "{name}"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina audit`` to *parser*."""
    from lamina.audit.vulnerabilities.values import DATABASES, AdvisorySeverity

    parser.add_argument(
        "--severity",
        choices=tuple(each.value for each in AdvisorySeverity),
        metavar="LEVEL",
        help="fail for vulnerabilities from this severity on: low, medium, high or critical (default: low)",
    )
    parser.add_argument(
        "--advisories",
        choices=DATABASES,
        metavar="NAME",
        help="ask osv, the package index or inspector; none for licences and SBOMs only (default: osv)",
    )
    parser.add_argument("--osv", metavar="URL|FILE", help="ask this mirror of OSV, or read its zip for PyPI")
    parser.add_argument(
        "--sbom",
        metavar="FILE",
        help="write an SBOM, `-` for stdout; with {name} in FILE, one for each layer and function",
    )
    parser.add_argument(
        "--deployed", action="store_true", help="audit the layer versions that the functions in AWS use now"
    )
    add_everything(parser)
    add_findings_report(parser, _FORMATS)
    parser.add_argument("--no-build", action="store_true", help="audit the last build even if the sources have changed")
    add_build(parser)


def run(arguments: argparse.Namespace) -> int:
    """
    Audit the service, or all services of the workspace, and show the report. Return 1 if a finding is an error.

    If services of a workspace cannot be audited, return the highest exit code of their errors instead.
    """
    from lamina.audit.formats import render
    from lamina.audit.formats.audit_document import render_audit
    from lamina.audit.inventory.sbom import require as require_sbom
    from lamina.audit.vulnerabilities.severity import require as require_severity
    from lamina.cli.check import format_of, show
    from lamina.cli.console import Console, emit_visible
    from lamina.cli.reports import remove_earlier, write_file
    from lamina.core.values import Severity

    require_sbom()
    require_severity()
    name = format_of(arguments)
    _refuse_options(arguments, name)
    if arguments.output is not None:
        remove_earlier(arguments.output)
    if arguments.sbom is not None and arguments.sbom != "-":
        remove_earlier(arguments.sbom)
    findings: Console | None
    console = findings = Console.of(arguments)
    services, report = _audit(arguments, console)
    text = render_audit(report, services) if name == "json" else render(report, name)
    if arguments.output is not None:
        write_file(arguments.output, text.encode("utf-8", "backslashreplace"))
    elif name != "text":
        emit_visible(text)
        findings = None
    elif arguments.sbom != "-":
        findings = Console(quiet=arguments.quiet, stream=sys.stdout)
    if arguments.sbom is not None:
        _write_sboms(services, arguments.sbom, console)
    if arguments.output is not None or name != "github":
        show(report, console, findings)
        _show_extent(services, report, findings or console)
    return max((int(report.fails(Severity.ERROR)), *(each.error.exit_code for each in report.failures)))


def _refuse_options(arguments: argparse.Namespace, name: str) -> None:
    """Raise `ConfigError` for options that exclude each other."""
    from lamina.core.errors import ConfigError
    from lamina.project.options import BuildOptions

    conflicts = [
        ("--deployed", "--sbom", arguments.deployed and arguments.sbom is not None),
        ("--deployed", "--offline", arguments.deployed and arguments.offline),
        ("--deployed", "--no-build", arguments.deployed and arguments.no_build),
        ("--osv", "--advisories", arguments.osv is not None and arguments.advisories not in {None, "osv"}),
        ("--sbom -", f"--format {name}", arguments.sbom == "-" and name != "text" and arguments.output is None),
    ]
    for one, other, is_given in conflicts:
        if is_given:
            raise ConfigError(f"`{one}` conflicts with `{other}`", hint="remove one of the two options")
    if arguments.no_build and build_options(arguments) != BuildOptions(offline=arguments.offline):
        raise ConfigError(
            "`--no-build` audits the last build, so the target, groups and extras cannot be chosen",
            hint="run `lamina audit` without `--no-build`",
        )


def _audit(arguments: argparse.Namespace, console: Console) -> tuple[tuple[AuditedService, ...], Report]:
    import time
    from pathlib import Path

    from lamina.audit.report import Report
    from lamina.audit.vulnerabilities.run import audit_services
    from lamina.aws.store.team import team_store
    from lamina.cli.stopping import killable
    from lamina.core.errors import ConfigError
    from lamina.core.store import Store
    from lamina.pipeline import workspace
    from lamina.project.file import find_project

    started = time.perf_counter()
    start = Path(arguments.project or ".")
    found = workspace.find(start)
    start, projects = (found.root, found.services) if found is not None else _one(find_project(start))
    if arguments.sbom is not None and len(projects) != 1:
        raise ConfigError(
            "`--sbom` describes one service, and a workspace has several", hint="name a service with `--project DIR`"
        )
    with console, killable(arguments, console):
        services, failures = audit_services(
            projects, _request(arguments), store=Store.open(), team_store=team_store, reporter=console
        )
    if found is None and failures:
        raise failures[0].error
    results = tuple(each.result.result for each in services)
    seconds = time.perf_counter() - started
    return services, Report(results, failures=failures, start=start, seconds=seconds, command="audit")


def _request(arguments: argparse.Namespace) -> AuditRequest:
    import datetime as dt

    from lamina.audit.vulnerabilities.run import AuditRequest
    from lamina.audit.vulnerabilities.values import AdvisorySeverity

    return AuditRequest(
        options=build_options(arguments),
        today=dt.datetime.now(tz=dt.UTC).date(),
        builds=not arguments.no_build,
        deployed=arguments.deployed,
        advisories=arguments.advisories,
        osv=arguments.osv,
        severity=None if arguments.severity is None else AdvisorySeverity(arguments.severity),
        everything=arguments.everything,
    )


def _one(project: Path) -> tuple[Path, tuple[Path, ...]]:
    return project, (project,)


def _write_sboms(services: tuple[AuditedService, ...], file: str, console: Console) -> None:
    """Write the SBOM of the service to *file*, or one of each zip if *file* contains ``{name}``."""
    from lamina.audit.inventory.sbom import sbom
    from lamina.cli.console import emit
    from lamina.cli.reports import remove_earlier, write_file
    from lamina.pipeline.checks.common import listed

    unread: list[str] = []
    for each in services:
        parts = {file: each.zips}
        if _NAME in file:
            parts = {file.replace(_NAME, name): (zipped,) for name, zipped in _named(each.zips).items()}
        for path, zips in parts.items():
            content = sbom(zips, service=each.service.name, unread=unread)
            if path == "-":
                emit(content.decode(), end="")
            else:
                remove_earlier(path)
                write_file(path, content)
    if unread:
        console.note(f"not merged, because they are not CycloneDX in JSON: {listed(sorted(set(unread)))}")


def _named(zips: Sequence[Described]) -> dict[str, Described]:
    """
    Return each of *zips* by its name for a file: that of its layer or function, and the target if there are several.

    Zips with the same name also get their kind; layers by ARN get their region and account.
    """
    several = len({zipped.target for zipped in zips if zipped.target}) > 1
    short = [_name(zipped, with_target=several) for zipped in zips]
    names = [
        each if short.count(each) == 1 else _name(zipped, with_target=several, in_full=True)
        for each, zipped in zip(short, zips, strict=True)
    ]
    for name in names:
        if names.count(name) > 1:
            from lamina.core.errors import ConfigError

            raise ConfigError(
                f"two SBOMs have the same name `{name}`",
                hint="rename a layer or function, or write one SBOM of the service",
            )
    return dict(zip(names, zips, strict=True))


def _name(zipped: Described, *, with_target: bool, in_full: bool = False) -> str:
    parts = [zipped.name]
    if zipped.name.startswith("arn:"):
        _, _, _, region, account, _, name, version = zipped.name.split(":")
        parts = [*((region, account) if in_full else ()), name, version]
    elif in_full:
        parts = [zipped.kind, zipped.name]
    if with_target and zipped.target:
        parts.append(zipped.target.replace(" on ", "-"))
    return "-".join(parts)


def _show_extent(services: tuple[AuditedService, ...], report: Report, console: Console) -> None:
    """Say which database was asked about how many distributions, and which licences these have."""
    from lamina.audit.vulnerabilities.audit import licence_summary
    from lamina.audit.vulnerabilities.values import NoAdvisories
    from lamina.core.text import count

    for each in services:
        result = each.result
        where = f"{report.directory(each.service.root)}: " if len(services) > 1 else ""
        if result.answer.database != NoAdvisories.place:
            total = count(len(result.distributions), "distribution")
            console.say(f"{where}asked {result.answer.database} about {result.answer.asked:,} of {total}")
        if each.zips and result.distributions:
            console.say(f"{where}{licence_summary(result.distributions)}")
