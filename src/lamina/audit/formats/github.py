"""
The report as workflow commands of GitHub Actions, which show findings at the lines of a pull request.

Format: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands (2026-11). Escapes:
https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts (2026-11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.formats.text import summary
from lamina.core.text import visible
from lamina.core.values import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.audit.report import Report, ReportedFinding

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def render(report: Report) -> str:
    """Return one command for each finding, errors first, because GitHub shows only the first ten of each kind and step."""
    title = f"lamina {report.command}"
    lines = [_finding(row, title) for row in report.rows]
    lines += [_failure(report.directory(each.project), str(each.error), title) for each in report.failures]
    return "".join(f"{each}\n" for each in (*lines, summary(report)))


def _finding(row: ReportedFinding, title: str) -> str:
    finding = row.finding
    place = {"file": row.file} if row.line is None else {"file": row.file, "line": str(row.line)}
    return _command(_COMMANDS[finding.severity], finding.message, place | {"title": f"{title}: {finding.rule}"})


def _failure(project: str, message: str, title: str) -> str:
    return _command("error", f"{project}: {message}", {"title": title})


def _command(name: str, message: str, properties: Mapping[str, str]) -> str:
    given = [f"{key}={_escaped_property(value)}" for key, value in properties.items()]
    return f"::{name} {','.join(given)}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return visible(text.replace("%", "%25")).replace("\n", "%0A")


def _escaped_property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
