"""Test that the example service matches its documentation, without its dependencies."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from lamina.cli.main import build_parser
from lamina.project import config

if TYPE_CHECKING:
    from lamina.project.service import Function

ROOT = Path(__file__).parents[2]
ORDERS = ROOT / "examples" / "orders"
FUNCTIONS = config.load(ORDERS).functions
without_node = pytest.mark.skipif(shutil.which("node") is None, reason="aws-cdk-lib runs in Node")


def test_the_service_has_ten_functions() -> None:
    """The example has ten functions that share one layer; benchmarks rely on it."""
    assert len(FUNCTIONS) == 10


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_every_handler_is_defined(function: Function) -> None:
    """Each configured handler names a module of the service and a function that the module defines."""
    module, _, name = function.handler.rpartition(".")
    tree = ast.parse((ORDERS / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}

    assert name in defined


def test_every_function_has_an_event_and_an_expectation() -> None:
    """Each function has an example event and an expected response, as `examples/orders/README.md` states."""
    names = {function.name for function in FUNCTIONS}
    events = {path.stem for path in (ORDERS / "events").glob("*.json")} - {"expected"}
    expected = json.loads((ORDERS / "events" / "expected.json").read_text(encoding="utf-8"))

    assert (events, set(expected)) == (names, names)


def test_the_lock_names_no_host_and_no_development_tool() -> None:
    """The committed lock file names no index and contains no development tools."""
    lock = (ORDERS / "requirements.txt").read_text(encoding="utf-8")
    locked = {Requirement(line.rstrip("\\ ")).name for line in lock.splitlines() if re.match(r"\w", line)}

    assert re.findall(r"\w+://|--\w*index|--find-links", lock) == []
    assert locked & {"pytest", "moto", "pluggy", "iniconfig"} == set()
    assert {"boto3", "cryptography", "numpy", "pydantic-core", "sqlalchemy"} <= locked


def test_the_template_is_whole() -> None:
    """The template has its own tests, CDK app, locked tools and workflow."""
    wanted = (
        "tests/unit/test_handlers.py",
        "tests/infrastructure/test_stack.py",
        "tests/end_to_end/test_api.py",
        "infrastructure/app.py",
        "cdk.json",
        ".gitignore",
        ".npmrc",
        "package-lock.json",
        ".github/workflows/orders.yml",
    )
    groups = tomllib.loads((ORDERS / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    tools = json.loads((ORDERS / "package.json").read_text(encoding="utf-8"))["devDependencies"]

    assert [] == [path for path in wanted if not (ORDERS / path).is_file()]
    # The command must be of a version that reads this library's output.
    assert ({"aws-cdk": "2.1148.1"}, "aws-cdk-lib==2.275.0") == (tools, groups["infrastructure"][0])


def test_the_workflow_says_what_lamina_takes() -> None:
    """Every lamina command line in the template's workflow is valid, and the workflow caches lamina's store."""
    workflow = (ORDERS / ".github" / "workflows" / "orders.yml").read_text(encoding="utf-8")
    commands = [line.split() for line in re.findall(r"(?m)^ +(?:- )?run: lamina (.+)$", workflow)]
    parsed = [build_parser(words[0]).parse_args(words).command for words in commands]
    kept = re.findall(r"(?m)^ +path: (.+)$", workflow)

    assert ["build", "cache"] == parsed
    assert [f"${{{{ github.workspace }}}}/{path}" for path in kept] == re.findall(r"LAMINA_CACHE_DIR: (.+)", workflow)


@without_node
@pytest.mark.skipif(
    Version(importlib.metadata.version("aws-cdk-lib")) < Version("2.275"),
    reason="the template asks for aws-cdk-lib 2.275",
)
def test_the_template_passes_its_own_tests() -> None:
    """The template's infrastructure tests pass without a build, a store or a container engine."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/infrastructure"]
    environment = os.environ | {"PATH": str(Path(shutil.which("node") or "").parent), "LAMINA_CACHE_DIR": os.devnull}
    done = subprocess.run(command, cwd=ORDERS, env=environment, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stdout if done.returncode else "")
    assert not (ORDERS / "cdk.out").exists()


@pytest.mark.live
@without_node
def test_the_template_is_deployed() -> None:
    """`make cdk` deploys the template twice, with an updated wheel in between, and needs no container engine."""
    command = [sys.executable, str(ROOT / "examples" / "cdk.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stdout + done.stderr if done.returncode else "")
    assert "\nlayer versions: 1, 2\n" in done.stdout
