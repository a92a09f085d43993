"""Findings that only name a function, a layer or a file get the place to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.audit.location import Locator
from lamina.core.frozen import replace
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
SERVERLESS = """\
service: orders
provider:
  name: aws
  runtime: python3.13
functions:
  create-order:
    handler: app.handler
"""
TERRAFORM = """\
resource "aws_lambda_function" "order" {
  runtime       = "python3.13"
  function_name = "create-order"
  handler       = "app.handler"
  filename      = data.archive_file.code.output_path
}
data "archive_file" "code" {
  type        = "zip"
  source_dir  = path.module
  output_path = "code.zip"
}
"""
SAM = """\
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


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [("template.yaml", SAM, 3), ("serverless.yml", SERVERLESS, 6), ("main.tf", TERRAFORM, 1)],
)
def test_template(tmp_path: Path, file: str, text: str, line: int) -> None:
    """A function of a template is at its name in the template, and a layer that is not configured at the configuration."""
    (tmp_path / "app.py").write_text("def handler(e, c): ...\n")
    (tmp_path / "pyproject.toml").write_text('[tool.lamina]\nruntime = "python3.13"\nsource = ["app.py"]\n')
    (tmp_path / file).write_text(text)
    service = load(tmp_path)
    name = service.functions[0].name

    assert (file, line) == place(tmp_path, name)
    assert ("pyproject.toml", 1) == place(tmp_path, "common")


def test_synthesized(tmp_path: Path) -> None:
    """A template that a tool wrote is not in the repository, so the place is the configuration."""
    (tmp_path / "app.py").write_text("def handler(e, c): ...\n")
    (tmp_path / "lamina.toml").write_text(STANDALONE.replace("functions.report", "functions.create-order"))
    written = tmp_path / "cdk.out" / "Orders.template.json"
    written.parent.mkdir()
    written.write_text('{"Resources": {"CreateOrder": {}}}')
    service = load(tmp_path)
    (function,) = service.functions
    other = replace(service, functions=(replace(function, name="CreateOrder"),), inputs=(*service.inputs, written))
    finding = Finding(rule="little-headroom", severity=Severity.WARNING, message="…", path="CreateOrder")

    assert ("lamina.toml", 1) == (Locator(other).located(finding).file, Locator(other).located(finding).line)


def test_file(tmp_path: Path) -> None:
    """A finding about a file of the project is at that file."""
    (tmp_path / "app.py").write_text("def handler(e, c): ...\n")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)

    assert ("app.py", None) == place(tmp_path, "app.py")


def test_value(tmp_path: Path) -> None:
    """A value in a list has its own line, and one that is not found the line of its key."""
    (tmp_path / "lamina.toml").write_text(
        'runtime = "python3.13"\nignore = [\n  "direct-upload",\n  { rule = \'pth-ignored\', reason = "x" },\n]\n'
    )
    locator = Locator(load(tmp_path))

    assert [3, 4, 2, None] == [
        locator.line("ignore", "direct-upload"),
        locator.line("ignore", "pth-ignored"),
        locator.line("ignore", "layer-count"),
        locator.line("include", "x"),
    ]
