"""``lamina check``: check what was built, what it is deployed with, and the developer's environment."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lamina.cli.options import add_build, add_findings_report, build_options

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from lamina.audit.report import Report
    from lamina.cli.console import Console

HELP = (
    "Build the service, then examine its layers, packages and deploy descriptions and, on request, a virtual environment. "
    "At the root of a workspace, check all services."
)
EXAMPLE = """\
examples:
  lamina check                                        # check the artifacts and the templates
  lamina check --venv                                 # also compare `.venv` with the layers
  lamina check --base main                            # also compare sizes with a git revision
  lamina check --format sarif --output lamina.sarif   # write a report for code scanning
  lamina check --explain missing-import               # show what a rule reports, and how to fix it
"""
PAGE = "how-to/check.md"
_FORMATS = ("text", "json", "sarif", "markdown", "github")
_DEFAULT_VENV = ".venv"
_FAIL_ON = ("error", "warning", "note", "never")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina check`` to *parser*."""
    parser.add_argument(
        "--venv",
        nargs="?",
        const=_DEFAULT_VENV,
        metavar="PATH",
        help="compare this virtual environment with the layers (default: `.venv`)",
    )
    parser.add_argument(
        "--base", metavar="REVISION|FILE", help="compare sizes with this git revision, or this build report"
    )
    parser.add_argument(
        "--aws",
        action="store_true",
        help="also ask AWS about the pinned layers, and Amazon Inspector about the functions",
    )
    add_findings_report(parser, _FORMATS)
    parser.add_argument(
        "--fail-on",
        choices=_FAIL_ON,
        default="error",
        metavar="SEVERITY",
        help="exit with 1 for findings from this severity on: error, warning, note or never (default: error)",
    )
    parser.add_argument(
        "--explain",
        nargs="?",
        const="",
        metavar="RULE",
        help="show what a rule reports and how to fix it, or list all rules, and check nothing",
    )
    parser.add_argument("--no-build", action="store_true", help="check the last build even if the sources have changed")
    add_build(parser)


def run(arguments: argparse.Namespace) -> int:
    """
    Check the service, or all services of the workspace, and show the report. Return 1 if a finding is as severe as ``--fail-on`` says.

    If services of a workspace cannot be checked, return the highest exit code of their errors instead. With ``--explain``, check nothing.
    """
    if arguments.explain is not None:
        return _explain(arguments)
    from lamina.audit.formats import render
    from lamina.cli.console import Console, emit_visible
    from lamina.core.values import Severity

    name = format_of(arguments)
    if arguments.output is not None:
        from lamina.cli.reports import remove_earlier

        remove_earlier(arguments.output, base=arguments.base)
    findings: Console | None
    console = findings = Console.of(arguments)
    report = _check(arguments, console)
    if arguments.output is not None:
        from lamina.cli.reports import write_file

        write_file(arguments.output, render(report, name).encode("utf-8", "backslashreplace"))
    elif name == "text":
        findings = Console(quiet=arguments.quiet, stream=sys.stdout)
    else:
        emit_visible(render(report, name))
        findings = None
    # The runner of GitHub shows its commands in the same log as messages.
    if arguments.output is not None or name != "github":
        show(report, console, findings)
    least = None if arguments.fail_on == "never" else Severity(arguments.fail_on)
    return max((int(report.fails(least)), *(each.error.exit_code for each in report.failures)))


def _explain(arguments: argparse.Namespace) -> int:
    """Print the rule that ``--explain`` names, or the names of all rules. Raises `UsageError` if there is no such rule."""
    from lamina.cli.console import emit, emit_json
    from lamina.cli.main import DOCUMENTATION
    from lamina.core.errors import UsageError
    from lamina.core.frozen import as_dict
    from lamina.pipeline.checks.rules import rules, unlinked
    from lamina.project.table import did_you_mean

    name = arguments.explain
    shown = [rule for rule in rules() if name in {"", rule.name}]
    if not shown:
        near = did_you_mean(name, [rule.name for rule in rules()])
        raise UsageError(f"unknown rule `{name}`{near}", hint="list the rules: `lamina check --explain`")
    if arguments.json:
        emit_json({"version": "1", "rules": [as_dict(rule) | {"severity": rule.severity.value} for rule in shown]})
        return 0
    for rule in shown:
        emit(f"{rule.severity.value:8} {rule.name}")
        if name:
            emit(f"  reported if: {unlinked(rule.cause)}\n  fix: {unlinked(rule.cure)}")
            emit(f"  documentation: {DOCUMENTATION}reference/rules.md#{rule.section}")
    return 0


def format_of(arguments: argparse.Namespace) -> str:
    """Return the format of the report. ``--json`` means ``json``. Raises `ConfigError` if the two options differ."""
    from lamina.core.errors import ConfigError

    if arguments.json and arguments.format not in {None, "json"}:
        raise ConfigError(
            f"`--json` conflicts with `--format {arguments.format}`", hint="remove one of the two options"
        )
    return "json" if arguments.json else arguments.format or "text"


def _check(arguments: argparse.Namespace, console: Console) -> Report:
    import datetime as dt
    import os
    import time
    from pathlib import Path

    from lamina.audit.report import Report
    from lamina.audit.run import CheckRequest, check_services
    from lamina.aws.store.team import team_store
    from lamina.cli.stopping import killable
    from lamina.core.store import Store
    from lamina.pipeline import workspace
    from lamina.project.file import find_project

    started = time.perf_counter()
    start = Path(arguments.project or ".")
    found = workspace.find(start)
    request = CheckRequest(
        options=build_options(arguments),
        today=dt.datetime.now(tz=dt.UTC).date(),
        builds=not arguments.no_build,
        # Each service of a workspace can have its own, but a path is that of one environment.
        venv=arguments.venv if arguments.venv in {None, _DEFAULT_VENV} else os.path.abspath(arguments.venv),
        base=arguments.base,
        aws=arguments.aws,
    )
    _refuse_options(request.options, arguments)
    start, services = (found.root, found.services) if found is not None else _one(find_project(start))
    with console, killable(arguments, console):
        results, failures = check_services(
            services, request, store=Store.open(), team_store=team_store, reporter=console
        )
    if found is None and failures:
        raise failures[0].error
    return Report(results, failures=failures, start=start, seconds=time.perf_counter() - started)


def _one(project: Path) -> tuple[Path, tuple[Path, ...]]:
    return project, (project,)


def _refuse_options(options: object, arguments: argparse.Namespace) -> None:
    """Raise `ConfigError` for options of builds with ``--no-build``, and for ``--aws`` with ``--offline``."""
    from lamina.core.errors import ConfigError
    from lamina.project.options import BuildOptions

    if arguments.aws and arguments.offline:
        raise ConfigError("`--aws` conflicts with `--offline`", hint="remove one of the two options")
    if arguments.no_build and options != BuildOptions(offline=arguments.offline):
        raise ConfigError(
            "`--no-build` checks the last build, so the target, groups and extras cannot be chosen",
            hint="run `lamina check` without `--no-build`",
        )


def show(report: Report, console: Console, findings: Console | None) -> None:
    """Write what failed to *console*, and the text report to *findings*, with paths that a terminal can open. Without it, write the summary only."""
    import os

    from lamina.audit.formats.text import line, summary
    from lamina.core.paths import relative_path

    here = os.getcwd()
    if findings is not None:
        for row in (*report.rows, *report.accepted):
            severity = row.finding.severity.value if row.entry is None else "accepted"
            findings.finding(severity, line(row, relative_path(report.repository / row.file, here)))
    # In a log that gets both streams, a buffered stdout would be last.
    sys.stdout.flush()
    for failure in report.failures:
        console.failure(failure.error, subject=report.directory(failure.project))
    (findings or console).say(summary(report))
