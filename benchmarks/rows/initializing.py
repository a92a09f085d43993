"""
Measure `lamina init`: on a repository with 300 functions in 20 services, and on hostile or large deploy descriptions.

The repository has SAM templates, Terraform files, or only sources. A hostile description must end in an error within two seconds.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.bench import remove
from benchmarks.values import Budget, Measure, Row, Runner, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.bench import Bench

__all__ = ["BUDGETS", "rows"]

_SERVICES, _FUNCTIONS = 20, 15
_KINDS = ("sam", "terraform", "sources")
# The file of each description that is hostile or large.
_DOCUMENTS = {
    "aliases": "template.yaml",
    "values": "template.yaml",
    "yaml-50-mb": "template.yaml",
    "nested": "template.json",
    "json-20-mb": "template.json",
    "terraform-brackets": "main.tf",
    "terraform-50-mb": "main.tf",
}
_SAM = "Transform: AWS::Serverless-2016-10-31\n"
_LAMBDA = 'resource "aws_lambda_function" "a" {\n'
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
) + tuple(
    budget
    for name in _DOCUMENTS
    for budget in (
        Budget(what=f"init, {name}", row=f"init-{name}", measure=Measure.SECONDS, at_most=2),
        Budget(what="peak memory", row=f"init-{name}", measure=Measure.BYTES, at_most=300_000_000),
    )
)


def rows(bench: Bench) -> Sequence[Row]:
    """Create a repository of each kind, and return its row. Each run starts with an empty store and writes nothing."""
    return [*(_row(bench, kind) for kind in _KINDS), *(_document(bench, name) for name in _DOCUMENTS)]


def _row(bench: Bench, kind: str) -> Row:
    directory, store = bench.work / f"init-{kind}", bench.work / f"init-{kind}-store"
    remove(directory)
    for number in range(_SERVICES):
        _write_service(directory / "services" / f"service-{number:02}", kind)
    init = bench.lamina("init", "--dry-run", "--json", "--quiet", "--project", str(directory), store=store)

    def measure(run: Runner) -> Sample:
        result = run(init)
        services = json.loads(result.output)["services"]
        if sum(len(service["functions"]) for service in services) != _SERVICES * _FUNCTIONS:
            raise RuntimeError("a function was not found")
        return result.sample

    return Row(
        name=f"init-{kind}",
        title=f"lamina init, 300 functions in 20 services, {kind}",
        run=measure,
        prepare=lambda: remove(store),
    )


def _document(bench: Bench, name: str) -> Row:
    directory, store = bench.work / f"init-{name}", bench.work / f"init-{name}-store"
    remove(directory)
    directory.mkdir(parents=True)
    (directory / _DOCUMENTS[name]).write_text(_text(name), "utf-8")
    init = bench.lamina("init", "--dry-run", "--json", "--quiet", "--project", str(directory), store=store)
    return Row(
        name=f"init-{name}",
        title=f"lamina init, {name}",
        run=lambda run: run(replace(init, ok=(0, 2))).sample,
        prepare=lambda: remove(store),
    )


def _text(name: str) -> str:
    texts: Mapping[str, Callable[[], str]] = {
        "aliases": lambda: _SAM + _aliases(),
        "values": lambda: _SAM + "".join(f"k{number}: b\n" for number in range(95_000)),
        "yaml-50-mb": lambda: _SAM + "a: b\n" * 10_000_000,
        "nested": lambda: '{"Transform": "AWS::Serverless-2016-10-31", "a": ' + "[" * 1_000_000,
        "json-20-mb": _large_json,
        "terraform-brackets": lambda: _LAMBDA + "x = [[[]]]\n" * 40_000,
        "terraform-50-mb": lambda: _LAMBDA + "x = 1\n" * 8_000_000,
    }
    return texts[name]()


def _aliases() -> str:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 90)]
    return "\n".join(lines)


def _large_json() -> str:
    resources = {
        f"Table{number}": {"Type": "AWS::DynamoDB::Table", "Properties": {"Description": "x" * 2_000}}
        for number in range(9_500)
    }
    function = {
        "Type": "AWS::Serverless::Function",
        "Properties": {"CodeUri": ".", "Handler": "app.handler", "Runtime": "python3.13"},
    }
    template = {"Transform": "AWS::Serverless-2016-10-31", "Resources": {**resources, "Function": function}}
    return json.dumps(template, indent=1)


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
