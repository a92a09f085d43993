"""The report of `lamina audit` as JSON, for programs; docs/how-to/audit.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.formats.document import document
from lamina.core.text import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.audit.report import Report
    from lamina.audit.vulnerabilities.audit import AuditedVulnerability, AuditResult
    from lamina.audit.vulnerabilities.run import AuditedService


def render_audit(report: Report, services: Iterable[AuditedService]) -> str:
    """Return the document of *report* on *services* as JSON."""
    results = {report.directory(each.service.root): _result(each.result) for each in services}
    content = document(report)
    rows = content["services"]
    if not isinstance(rows, list):
        raise TypeError("not a list of services")
    return f"{json_text({**content, 'services': [row | results.get(row['project'], {}) for row in rows]})}\n"


def _result(result: AuditResult) -> dict[str, object]:
    return {
        "database": result.database,
        "asked": result.asked,
        "distributions": [
            {
                "name": each.name,
                "version": each.version,
                "in": list(each.places),
                "license": each.licence,
                "stated_license": each.stated or None,
                "not_auditable": each.obstacle,
            }
            for each in result.distributions
        ],
        "vulnerabilities": [_vulnerability(each) for each in result.vulnerabilities],
        "not_auditable": [{"subject": each.subject, "reason": each.reason} for each in result.not_audited],
    }


def _vulnerability(found: AuditedVulnerability) -> dict[str, object]:
    vulnerability, entry = found.vulnerability, found.entry
    return vulnerability.document() | {
        "reached": found.reached,
        "in": list(found.places),
        "fails": found.fails and not found.is_ignored,
        "ignored": found.is_ignored,
        "reason": None if entry is None else entry.reason,
        "until": None if entry is None or entry.until is None else entry.until.isoformat(),
    }
