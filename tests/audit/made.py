"""Make reports of `lamina check` for the tests of its formats."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from lamina.audit.check import CheckResult, IgnoredFinding
from lamina.audit.report import Report
from lamina.core.values import Finding, Severity
from lamina.project.ignored import IgnoredRule

IMPORT = Finding(
    rule="missing-import",
    severity=Severity.ERROR,
    message="`create` cannot import `yaml`: `a` → `yaml` (`a.py`, line 3); run `uv add pyyaml`",
    path="create",
    file="service/a.py",
    line=3,
)
UPLOAD = Finding(
    rule="direct-upload",
    severity=Severity.NOTE,
    message="layer `common`: the zip of 57,916,643 bytes exceeds the limit",
    path="common",
    file="pyproject.toml",
)
HIDDEN = Finding(rule="little-headroom", severity=Severity.WARNING, message="…", path="common", file="pyproject.toml")


def make_report(
    *findings: Finding, ignored: tuple[Finding, ...] = (), root: Path = Path("/repository"), project: str = "orders"
) -> Report:
    """Return a report of one service in the directory *project* of the repository *root*."""
    entry = IgnoredRule(rule="little-headroom", reason="it never grows", until=dt.date(2027, 1, 31))
    result = CheckResult(
        project=root / project,
        configuration="pyproject.toml",
        findings=findings,
        ignored=tuple(IgnoredFinding(finding=each, entry=entry) for each in ignored),
    )
    return Report((result,), start=root, seconds=1.5)
