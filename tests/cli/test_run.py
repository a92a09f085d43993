"""Test ``lamina run`` from the command line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from built import MINOR, configure, make_build
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a built service in the current directory; an environment variable names its interpreter."""
    package = {"app.py": "def handler(event, context): return 1"}
    make_build(
        tmp_path,
        package,
        layers=[{"python/dep.py": "N = 2"}],
        handlers={"orders": "app.handler", "other": "app.handler"},
    )
    configure(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    return tmp_path


def test_command(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The command's output and exit code are passed through."""
    code = main(["run", "--", "python", "-c", "import dep, sys; print(dep.N); sys.exit(5)"])

    assert (5, "2\n") == (code, capfd.readouterr().out)


def test_function_and_options(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A function's name selects its environment, and options after `--` belong to the command."""
    code = main(["run", "--env", "A=1", "other", "--", "sh", "-c", 'echo "$AWS_LAMBDA_FUNCTION_NAME $A $0"', "--env"])

    assert (0, "other 1 --env\n") == (code, capfd.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "command to run is missing"),
        (["orders", "--"], "command to run is missing"),
        (["true"], "`--` is missing before the command"),
        (
            ["orders", "--mode", "path", "--", "true"],
            "expected at most one function name before `--`, got `orders --mode path`",
        ),
    ],
)
def test_wrong_usage(project: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """Invalid arguments exit with 2 and show the usage."""
    code = main(["run", *arguments])

    expected = f"error: {message}\n\nhint: use `lamina run [OPTIONS] [FUNCTION] -- COMMAND`\n"
    assert (2, expected) == (code, capfd.readouterr().err)


def test_arguments_of_any_kind(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The search for imports leaves alone what is outside the project, in a virtual environment, unreadable, or no text."""
    words = ["\udcff", "x" * 300 + ".py", "/", "pipe.py", "."]
    os.mkfifo(project / "pipe.py")
    (project / "venv").mkdir()
    (project / "venv" / "pyvenv.cfg").touch()
    (project / "venv" / "a.py").write_text("import boto3")

    assert 0 == main(["run", "--offline", "--", "sh", "-c", 'echo "$#"', "sh", *words])
    assert (f"{len(words)}\n", False) == ((found := capfd.readouterr()).out, "AWS SDK" in found.err)


def test_report(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`--json` before `--` is a usage error, because there is no report; after `--` it belongs to the command."""
    code = main(["run", "--json", "--", "true"])

    expected = "error: `lamina run` does not support `--json`: stdout belongs to the command\n"
    assert (2, True) == (code, capfd.readouterr().err.startswith(expected))
    assert (0, "--json\n") == (main(["run", "--", "echo", "--json"]), capfd.readouterr().out)


@pytest.mark.parametrize(
    "words", [["python", "-c", "import boto3"], ["python", "-m", "unittest", "tests"], ["python", "a.py"]]
)
def test_sdk(project: Path, capfd: pytest.CaptureFixture[str], words: list[str]) -> None:
    """A command that imports the SDK of Lambda's runtime gets it, or a note says why not."""
    (project / "tests").mkdir()
    for path in ("tests/test_a.py", "a.py"):
        (project / path).write_text("import botocore")
    main(["run", "--offline", "--", *words])
    found = capfd.readouterr().err

    assert "note: running without the AWS SDK of Lambda's runtime" in found or f"python{MINOR}" in {
        "python3.9",
        "python3.15",
    }
    main(["run", "--offline", "--", "python", "-c", "import json"])
    assert "AWS SDK" not in capfd.readouterr().err
