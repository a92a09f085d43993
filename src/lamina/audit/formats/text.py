"""The report as text: one line for each finding, and a summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.text import count, own_lines, visible
from lamina.core.values import Severity

if TYPE_CHECKING:
    from lamina.audit.report import Report, ReportedFinding


def render(report: Report) -> str:
    """Return the lines of the findings, and the summary."""
    rows = [f"{row.finding.severity.value}: {line(row, row.file)}" for row in report.rows]
    rows += [f"accepted: {line(row, row.file)}" for row in report.accepted]
    failed = [f"error: {report.directory(each.project)}: {each.error}" for each in report.failures]
    return "".join(f"{visible(own_lines(each))}\n" for each in (*rows, *failed, summary(report)))


def line(row: ReportedFinding, file: str) -> str:
    """Return the line of a finding without its severity: the path *file* of its file, the line, the message and the rule."""
    place = file if row.line is None else f"{file}:{row.line}"
    return f"{place}: {row.message} [{row.finding.rule}]"


def summary(report: Report) -> str:
    """Return the number of findings of each severity, and the duration."""
    counts = [count(report.count(each), each.value) for each in Severity]
    ignored = f", {len(report.ignored):,} ignored" if report.ignored else ""
    services = len(report.results) + len(report.failures)
    where = f" in {count(services, 'service')}" if services != 1 else ""
    failed = f", {count(len(report.failures), 'service')} not checked" if report.failures else ""
    return f"{', '.join(counts)}{ignored}{where}{failed} ({report.seconds:.2f} s)"
