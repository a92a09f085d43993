"""Findings that the configuration hides."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from lamina.core.store import Store
from lamina.core.values import Finding, Severity
from lamina.pipeline import report
from lamina.pipeline.build import build
from lamina.pipeline.checks.ignoring import divided, ignoring
from lamina.project.ignored import IgnoredRule
from lamina.project.options import BuildOptions
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

TODAY = dt.date(2026, 11, 28)
REASON = "read at start-up"


def finding(rule: str, severity: Severity = Severity.WARNING, path: str | None = "common") -> Finding:
    return Finding(rule=rule, severity=severity, message="…", path=path)


@pytest.mark.parametrize(
    ("rule", "severity", "reason", "hidden"),
    [
        ("little-headroom", Severity.WARNING, None, True),
        ("direct-upload", Severity.NOTE, REASON, True),
        ("layer-conflict", Severity.WARNING, None, True),
        ("layer-conflict", Severity.ERROR, REASON, False),
        ("unzipped-limit", Severity.ERROR, REASON, False),
        # These rules were ignored by name before entries could have a reason.
        ("missing-import", Severity.ERROR, None, True),
        ("sdk-mismatch", Severity.ERROR, None, True),
        ("sdk-bundle", Severity.ERROR, REASON, False),
    ],
)
def test_severities(rule: str, severity: Severity, reason: str | None, hidden: bool) -> None:
    """Every warning and note can be hidden, and errors only if their rule allows it."""
    entry = IgnoredRule(rule=rule, reason=reason)

    assert hidden is (ignoring(finding(rule, severity), [entry]) is entry)


def test_other_rules() -> None:
    """An entry hides no findings of other rules, and a rule that does not exist hides nothing."""
    assert None is ignoring(
        finding("little-headroom"), [IgnoredRule(rule="direct-upload"), IgnoredRule(rule="no-rule")]
    )


@pytest.mark.parametrize(("day", "hidden"), [(TODAY, True), (TODAY - dt.timedelta(days=1), False), (None, True)])
def test_until(day: dt.date | None, hidden: bool) -> None:
    """An entry hides findings up to and including its last day; without today's date it does not expire."""
    entry = IgnoredRule(rule="little-headroom", reason=REASON, until=day)

    assert hidden is (ignoring(finding("little-headroom"), [entry], today=TODAY) is entry)
    assert entry is ignoring(finding("little-headroom"), [entry])


@pytest.mark.parametrize(
    ("pattern", "path", "file", "hidden"),
    [
        ("common", "common", None, True),
        ("report-*", "report-daily", None, True),
        ("report-*", "create-order", None, False),
        ("infra/*.yaml", "create-order", "infra/template.yaml", True),
        ("common", None, None, False),
    ],
)
def test_path(pattern: str, path: str | None, file: str | None, hidden: bool) -> None:
    """An entry with `path` hides only findings about that layer, function or file."""
    entry = IgnoredRule(rule="little-headroom", reason=REASON, path=pattern)
    about = Finding(rule="little-headroom", severity=Severity.WARNING, message="…", path=path, file=file)

    assert hidden is (ignoring(about, [entry]) is entry)


def test_divided() -> None:
    """The hidden findings are kept apart, in order."""
    first, second, third = finding("little-headroom"), finding("direct-upload"), finding("little-headroom", path="b")

    assert ((second,), (first, third)) == divided([first, second, third], [IgnoredRule(rule="little-headroom")])


def test_build(tmp_path: Path) -> None:
    """A build hides the findings of an entry whose last day has passed, too, and its report lists them."""
    service = make_service(tmp_path)
    service.settings["ignore"] = f'[{{ rule = "missing-import", reason = "{REASON}", until = 2020-01-01 }}]'
    root = service.write()
    handler = root / "service" / "handlers" / "hello.py"
    handler.write_text(f"import absent_module\n{handler.read_text()}")

    made = build(root, BuildOptions(), store=Store(tmp_path / "store")).build

    assert () == made.findings
    assert ["missing-import"] == [each.rule for each in made.ignored]
    assert made.ignored == report.read(root).ignored
