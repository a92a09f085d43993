"""The report as JSON, for programs; docs/reference/check-report.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.text import json_text
from lamina.core.values import Severity
from lamina.pipeline.report import finding_document

if TYPE_CHECKING:
    from lamina.audit.report import Report, ReportedFinding

VERSION = "1"


def render(report: Report) -> str:
    """Return the document as JSON, with all but ASCII characters escaped."""
    return f"{json_text(document(report))}\n"


def document(report: Report) -> dict[str, object]:
    """Return the report as JSON values. Fields may be added within a version; no field changes its meaning."""
    checked = {report.directory(each.project): None for each in report.results}
    failed = {report.directory(each.project): each.error.document() for each in report.failures}
    return {
        "version": VERSION,
        "services": [{"project": name, "error": error} for name, error in sorted((checked | failed).items())],
        "findings": [_finding(row) for row in report.rows],
        "ignored": [_ignored(row) for row in report.ignored],
        "summary": {f"{each.value}s": report.count(each) for each in Severity},
        "seconds": round(report.seconds, 3),
    }


def _finding(row: ReportedFinding) -> dict[str, object]:
    return {"project": row.project} | finding_document(row.finding) | {"file": row.file, "line": row.line}


def _ignored(row: ReportedFinding) -> dict[str, object]:
    entry = row.entry
    until = None if entry is None or entry.until is None else entry.until.isoformat()
    return _finding(row) | {"reason": entry.reason if entry else None, "until": until}
