"""
The report as SARIF 2.1.0, for GitHub code scanning and editors.

Format: https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/sarif-v2.1.0-errata01-os-complete.html. What GitHub reads:
https://docs.github.com/en/code-security/reference/code-scanning/sarif-files/sarif-support (2026-11).
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lamina import __version__
from lamina.audit.report import PAGE
from lamina.core.text import json_text
from lamina.core.values import Severity
from lamina.pipeline.checks.rules import rules, unlinked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lamina.audit.report import Report, ReportedFinding
    from lamina.pipeline.checks.rules import Rule

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT = "%SRCROOT%"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def render(report: Report) -> str:
    """Return the log of one run."""
    known = rules()
    driver = {
        "name": "lamina",
        "semanticVersion": __version__,
        "rules": [_rule(rule) for rule in known],
    }
    run = {
        "tool": {"driver": driver},
        # Without a category, two services that one workflow uploads would replace each other's results.
        "automationDetails": {"id": f"lamina-{report.command}/{report.directory(report.start)}/"},
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The root of the repository."}}},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(report)],
        "results": [*_results((*report.rows, *report.ignored), {rule.name: at for at, rule in enumerate(known)})],
    }
    return f"{json_text({'$schema': _SCHEMA, 'version': '2.1.0', 'runs': [run]})}\n"


def _rule(rule: Rule) -> dict[str, Any]:
    page = f"{PAGE}#{rule.section}"
    return {
        "id": rule.name,
        "shortDescription": {"text": _first_sentence(_plain(rule.cause))},
        "fullDescription": {"text": f"{_plain(rule.cause)}."},
        "help": {
            "text": f"{_plain(rule.cure)}. See {page}.",
            "markdown": f"{unlinked(rule.cause)}.\n\n**Fix:** {unlinked(rule.cure)}.\n\nSee `{page}`.",
        },
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"tags": ["aws-lambda", rule.family]},
    }


def _invocation(report: Report) -> dict[str, Any]:
    errors = [
        {"level": "error", "message": {"text": f"{report.directory(each.project)}: {each.error}"}}
        for each in report.failures
    ]
    return {"executionSuccessful": not errors, "toolExecutionNotifications": errors}


def _results(rows: Iterable[ReportedFinding], indexes: dict[str, int]) -> Iterator[dict[str, Any]]:
    seen: dict[str, int] = {}
    for row in rows:
        finding, identity = row.finding, _identity(row)
        seen[identity] = seen.get(identity, 0) + 1
        result = {
            "ruleId": finding.rule,
            # The report of an earlier version can have a rule that no longer exists.
            **({"ruleIndex": indexes[finding.rule]} if finding.rule in indexes else {}),
            "level": _LEVELS[finding.severity],
            "message": {"text": finding.message},
            "locations": [_location(row)],
            # The only fingerprint that GitHub compares. It computes one from the file's lines if this is missing.
            "partialFingerprints": {"primaryLocationLineHash": f"{identity}:{seen[identity]}"},
        }
        if row.entry is not None:
            reason = {"justification": row.entry.reason} if row.entry.reason else {}
            result["suppressions"] = [{"kind": "external", "status": "accepted", **reason}]
        yield result


def _location(row: ReportedFinding) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(row.file), "uriBaseId": _ROOT},
            # GitHub shows no result without a line.
            "region": {"startLine": row.line or 1},
        }
    }


def _identity(row: ReportedFinding) -> str:
    """Return what stays the same if lines move or sizes change: a digest of the rule, the subject, the file and the words of the message."""
    finding = row.finding
    words = re.sub(r"\d[\d,.]*", "0", finding.message)
    parts = (finding.rule, row.project, finding.path or "", row.file, words)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _plain(text: str) -> str:
    return unlinked(text).replace("`", "")


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0] + "."
