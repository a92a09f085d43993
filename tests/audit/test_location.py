"""Findings that only name a function, a layer or a file get the place to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.audit.location import Locator
from lamina.core.values import Finding, Severity
from lamina.project.config import load

if TYPE_CHECKING:
    from pathlib import Path

PYPROJECT = """\
[project]
name = "orders"

[tool.lamina]
runtime = "python3.13"
source = ["app.py"]

[tool.lamina.functions]
# report = "no"
"report" = "app.handler"
[tool.lamina.functions.create-order]
handler = "app.handler"
layers = ["common", "more"]

[ tool.lamina.layers . common ]
groups = []
[tool.lamina.layers]
more = { extras = [] }
"""
STANDALONE = """\
runtime = "python3.13"
source = ["app.py"]
functions.report = "app.handler"
[layers.common]
"""
TEMPLATE = """\
Resources:
  # The report comes later.
  CreateOrder:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: .
      Handler: app.handler
      Runtime: python3.13
"""


def place(project: Path, path: str | None) -> tuple[str | None, int | None]:
    finding = Finding(rule="little-headroom", severity=Severity.WARNING, message="…", path=path)
    found = Locator(load(project)).located(finding)
    return found.file, found.line


@pytest.mark.parametrize(
    ("path", "line"), [("report", 10), ("create-order", 11), ("common", 15), ("more", 18), (None, 4), ("unknown", 4)]
)
def test_pyproject(tmp_path: Path, path: str | None, line: int) -> None:
    """A function or a layer is at its key or table; everything else is at the start of the configuration."""
    (tmp_path / "app.py").write_text("def handler(e, c): ...\n")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)

    assert ("pyproject.toml", line) == place(tmp_path, path)


@pytest.mark.parametrize(("path", "line"), [("report", 3), ("common", 4), (None, 1)])
def test_standalone(tmp_path: Path, path: str | None, line: int) -> None:
    """The same is true of `lamina.toml`."""
    (tmp_path / "app.py").write_text("def handler(e, c): ...\n")
    (tmp_path / "lamina.toml").write_text(STANDALONE)

    assert ("lamina.toml", line) == place(tmp_path, path)


def test_template(tmp_path: Path) -> None:
    """A function of a template is at its name in the template, and a layer that is not configured at the configuration."""
    (tmp_path / "app.py").write_text("def handler(e, c): ...\n")
    (tmp_path / "pyproject.toml").write_text('[tool.lamina]\nruntime = "python3.13"\n')
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    name = load(tmp_path).functions[0].name

    assert ("template.yaml", 3) == place(tmp_path, name)
    assert ("pyproject.toml", 1) == place(tmp_path, "common")


def test_file(tmp_path: Path) -> None:
    """A finding about a file of the project is at that file."""
    (tmp_path / "app.py").write_text("def handler(e, c): ...\n")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)

    assert ("app.py", None) == place(tmp_path, "app.py")
