"""The report of `lamina audit` as JSON, for programs; docs/how-to/audit.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.formats.document import document
from lamina.core.text import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.audit.report import Report
    from lamina.audit.vulnerabilities.audit import AuditResult
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
    return result.answer.document() | {
        "distributions": [
            {
                "name": each.name,
                "version": each.version,
                "in": list(each.places),
                "license": None if each.licence is None else each.licence.expression,
                "stated_license": None if each.licence is None else each.licence.text or None,
                "not_auditable": None if each.obstacle is None else str(each.obstacle),
            }
            for each in result.distributions
        ]
    }
