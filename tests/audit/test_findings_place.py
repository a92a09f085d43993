"""Kept findings are found again only for the same packages, target and rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.inspected import inspection_of, package_of
from lamina.audit import kept_findings
from lamina.core.frozen import replace

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_packages(tmp_path: Path) -> None:
    """Packages with the same files are told apart by the name of their function, its layers and the target."""
    package = package_of(tmp_path, "orders", {"app.py": b""})
    others = [package, replace(package, name="payments"), replace(package, layers=("common",))]
    inspections = [inspection_of(tmp_path, packages=[each]) for each in others]
    inspections.append(inspection_of(tmp_path, packages=[package], runtime="python3.12"))

    assert len(inspections) == len({kept_findings.findings_place("content", each) for each in inspections})


def test_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules and facts change under development without the version, and each change has another place."""
    for name in ("audit/families", "data", "pipeline/checks"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(kept_findings, "_PACKAGE", tmp_path)
    files = [tmp_path / name for name in ("audit/kept_findings.py", "audit/families/content.py", "data/secrets.toml")]
    places = set()
    for file in (None, *files):
        if file is not None:
            file.touch()
        kept_findings._installation.cache_clear()
        places.add(kept_findings.findings_place("content", inspection_of(tmp_path)))
    kept_findings._installation.cache_clear()

    assert len(files) + 1 == len(places)
