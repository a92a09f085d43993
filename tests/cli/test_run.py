"""``lamina run`` as it is typed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from built import configure, make_build
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A built service in the current directory, whose interpreter need not be looked for."""
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
    return tmp_path


def test_command(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The command's output is passed through, and so is its exit code."""
    code = main(["run", "--", "python", "-c", "import dep, sys; print(dep.N); sys.exit(5)"])

    assert (5, "2\n") == (code, capfd.readouterr().out)


def test_function_and_options(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A function may be named, and options of the command stay its own."""
    code = main(["run", "--env", "A=1", "other", "--", "sh", "-c", 'echo "$AWS_LAMBDA_FUNCTION_NAME $A $0"', "--env"])

    assert (0, "other 1 --env\n") == (code, capfd.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "There is no command to run"),
        (["orders", "--"], "There is no command to run"),
        (["true"], "The command has to come after `--`"),
        (
            ["orders", "--mode", "path", "--", "true"],
            "Before `--` stands more than a function's name: orders --mode path",
        ),
    ],
)
def test_wrong_usage(project: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """What is neither function nor command is explained, with exit code 2."""
    code = main(["run", *arguments])

    expected = f"error: {message}\n\nhint: lamina run [OPTIONS] [FUNCTION] -- COMMAND\n"
    assert (2, expected) == (code, capfd.readouterr().err)


def test_report(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """There is no report, so asking for one is a mistake; the command's own option is the command's."""
    code = main(["run", "--json", "--", "true"])

    expected = "error: `lamina run` has no report, so it takes no `--json`: standard output is the command's\n"
    assert (2, True) == (code, capfd.readouterr().err.startswith(expected))
    assert (0, "--json\n") == (main(["run", "--", "echo", "--json"]), capfd.readouterr().out)
