"""What a family of rules found in a build is kept until something that decides it changes."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from audit.made import IMPORT, UPLOAD
from lamina.audit.check import check
from lamina.audit.inspection import Inspection
from lamina.audit.kept_findings import findings_document, findings_place, read_findings
from lamina.core.frozen import replace
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.core.values import Finding, Severity
from lamina.pipeline import report
from lamina.pipeline.build import build
from lamina.project.config import load
from lamina.project.options import BuildOptions
from services import Service, make_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return make_service(tmp_path)


def inspection(service: Service, store: Store, *, today: dt.date = dt.date(2026, 11, 28)) -> Inspection:
    """Build *service*, on the real day, and return what the rules look into."""
    project = service.write()
    build(project, BuildOptions(), store=store)
    return Inspection(
        project=project,
        service=load(project),
        builds=report.read_all(project),
        store=store,
        reporter=SILENT,
        today=today,
    )


def edit(service: Service) -> None:
    (service.root / "service" / "handlers" / "hello.py").write_text("def lambda_handler(e, c): return 1\n")


def lock(service: Service) -> None:
    service.add("beta", "3.0", {"beta.py": "VALUE = 3\n"})


def configure(service: Service) -> None:
    service.settings["provided"] = '["mounted"]'


@pytest.mark.parametrize("change", [edit, lock, configure])
def test_changes(service: Service, tmp_path: Path, change: Callable[[Service], None]) -> None:
    """Another build of the same inputs has the same place; other code, distributions or settings have another one."""
    store = Store(tmp_path / "store")
    first = findings_place("content", inspection(service, store))

    assert first is not None
    assert first == findings_place("content", inspection(service, store))
    assert first != findings_place("binaries", inspection(service, store))

    change(service)

    assert first != findings_place("content", inspection(service, store))


@pytest.mark.parametrize(("day", "rules"), [("2026-11-28", []), ("2040-01-01", ["runtime-deprecated"])])
def test_another_day(service: Service, tmp_path: Path, day: str, rules: list[str]) -> None:
    """The findings that depend on the day are those of the check, and not those of the build that it checks."""
    seen = inspection(service, Store(tmp_path / "store"), today=dt.date.fromisoformat(day))
    stale = Finding(rule="runtime-deprecated", severity=Severity.WARNING, message="of another day")
    builds = tuple(replace(build, findings=(*build.findings, stale)) for build in seen.builds)

    findings = check(replace(seen, builds=builds)).findings

    assert rules == [each.rule for each in findings]
    assert stale.message not in {each.message for each in findings}


def test_round_trip(service: Service, tmp_path: Path) -> None:
    """The findings are the same after they were kept."""
    store = Store(tmp_path / "store")
    place = findings_place("content", inspection(service, store))
    assert place is not None
    store.write_document(place, findings_document((IMPORT, UPLOAD)))

    assert (IMPORT, UPLOAD) == store.read_document(place, read_findings)
