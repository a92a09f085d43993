"""Measure `lamina init` on a repository with 300 functions in 20 services: with SAM templates, with Terraform, and without templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.bench import remove
from benchmarks.values import Budget, Measure, Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.bench import Bench

__all__ = ["BUDGETS", "rows"]

_SERVICES, _FUNCTIONS = 20, 15
_KINDS = ("sam", "terraform", "sources")
# Modules of services have about this many lines.
_MODULE = (
    "from app import util\n\n\ndef lambda_handler(event, context):\n    return util.X\n"
    + "def helper():\n    return 1\n" * 60
)

BUDGETS = tuple(
    budget
    for kind in _KINDS
    for budget in (
        Budget(what=f"300 functions in 20 services, {kind}", row=f"init-{kind}", measure=Measure.SECONDS, at_most=3),
        Budget(what="peak memory", row=f"init-{kind}", measure=Measure.BYTES, at_most=300_000_000),
    )
)


def rows(bench: Bench) -> Sequence[Row]:
    """Create a repository of each kind, and return its row. Each run starts with an empty store and writes nothing."""
    return [_row(bench, kind) for kind in _KINDS]


def _row(bench: Bench, kind: str) -> Row:
    directory, store = bench.work / f"init-{kind}", bench.work / f"init-{kind}-store"
    remove(directory)
    for number in range(_SERVICES):
        _write_service(directory / "services" / f"service-{number:02}", kind)
    init = bench.lamina("init", "--dry-run", "--json", "--quiet", "--project", str(directory), store=store)
    return Row(
        name=f"init-{kind}",
        title=f"lamina init, 300 functions in 20 services, {kind}",
        run=lambda run: run(init).sample,
        prepare=lambda: remove(store),
    )


def _write_service(place: Path, kind: str) -> None:
    sources = place / "src" / "app"
    sources.mkdir(parents=True)
    (place / "pyproject.toml").write_text(
        f'[project]\nname = "{place.name}"\nversion = "0"\nrequires-python = ">=3.13"\ndependencies = []\n', "utf-8"
    )
    for name in ("__init__", "util"):
        (sources / f"{name}.py").write_text("X = 1\n", "utf-8")
    for number in range(_FUNCTIONS):
        (sources / f"handler_{number:02}.py").write_text(_MODULE, "utf-8")
    if kind == "sam":
        (place / "template.yaml").write_text(_sam(), "utf-8")
    elif kind == "terraform":
        (place / "main.tf").write_text(_terraform(), "utf-8")


def _sam() -> str:
    lines = ["Transform: AWS::Serverless-2016-10-31", "Globals: {Function: {Runtime: python3.13}}", "Resources:"]
    for number in range(_FUNCTIONS):
        lines += [
            f"  Function{number:02}:",
            "    Type: AWS::Serverless::Function",
            "    Properties:",
            "      CodeUri: src/",
            f"      Handler: app.handler_{number:02}.lambda_handler",
            "      MemorySize: 256",
        ]
    return "\n".join(lines) + "\n"


def _terraform() -> str:
    blocks = [
        'data "archive_file" "code" {\n  type = "zip"\n  source_dir = "${path.module}/src"\n  output_path = "code.zip"\n}\n'
    ]
    blocks += [
        f'resource "aws_lambda_function" "function_{number:02}" {{\n'
        f'  function_name = "function-{number:02}"\n'
        f'  handler       = "app.handler_{number:02}.lambda_handler"\n'
        '  runtime       = "python3.13"\n'
        "  filename      = data.archive_file.code.output_path\n"
        "  role          = aws_iam_role.lambda.arn\n"
        "}\n"
        for number in range(_FUNCTIONS)
    ]
    return "\n".join(blocks)
