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


REQUIREMENTS = """\
[project]
name = "requests"
dependencies = ["Jinja2==3.1.2",
    'python_jose[cryptography] >=3 ; python_version > "3"',  # "idna"
    # "six"
]
[project.optional-dependencies]
fast = [
    "orjson",
]
[dependency-groups]
dev = ["pytest", {include-group = "fast"}]
[tool.poetry.dependencies]
urllib3 = "^2"
certifi = { version = "*" }
[tool.poetry.group.test.dependencies]
moto = "*"
[tool.lamina]
runtime = "python3.13"
source = ["app.py"]
include = ["boto3"]
functions.report = "app.handler"
"""


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("jinja2", 3),
        ("python-jose", 4),
        ("orjson", 9),
        ("pytest", 12),
        ("urllib3", 14),
        ("certifi", 15),
        ("moto", 17),
        ("requests", None),
        ("boto3", None),
        ("six", None),
        ("version", None),
    ],
)
def test_requirement(tmp_path: Path, name: str, line: int | None) -> None:
    """A direct dependency is at the line that requires it, in each of the usual tables; another string is no requirement."""
    (tmp_path / "app.py").write_text("def handler(e, c): ...\n")
    (tmp_path / "pyproject.toml").write_text(REQUIREMENTS)

    assert ("pyproject.toml" if line else None, line) == Locator(load(tmp_path)).requirement(name)


def test_requirement_in_a_list(tmp_path: Path) -> None:
    """The file from which pip-tools makes the lock file is read, too."""
    (tmp_path / "lamina.toml").write_text('runtime = "python3.13"\n')
    (tmp_path / "requirements.in").write_text('# six\n-r "idna"\nRequests[socks]>=2 ; python_version > "3"\n')
    locator = Locator(load(tmp_path))

    assert ("requirements.in", 3) == locator.requirement("requests")
    assert [(None, None)] * 3 == [locator.requirement(name) for name in ("six", "idna", "r")]
