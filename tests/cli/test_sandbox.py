"""Test ``lamina sandbox`` from the command line: its environment variables and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lamina.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX system")

SHOW = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('AWS_')})); raise SystemExit(7)"


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change into a directory without a project."""
    monkeypatch.chdir(tmp_path)


def test_command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sees the sandbox and no other account, and its exit code is passed through."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    code = main(["sandbox", "--python", sys.executable, "--region", "eu-west-1", "--", sys.executable, "-c", SHOW])
    captured = capfd.readouterr()
    seen = json.loads(captured.out)
    url = seen.pop("AWS_ENDPOINT_URL")

    assert 7 == code
    assert url.startswith("http://127.0.0.1:")
    assert f"sandbox running at {url}\n" == captured.err
    assert {
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    } == seen


@pytest.fixture
def heard_interrupts() -> Iterator[None]:
    """Restore the default SIGINT handler, because processes started by a background job of a script ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_interrupts")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serving(number: signal.Signals) -> None:
    """Without a command, the sandbox prints its environment variables, and exits with 0 on SIGINT or SIGTERM."""
    command = [sys.executable, "-m", "lamina", "sandbox", "--python", sys.executable]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            lines = [process.stdout.readline().strip() for _ in range(5)]
            said = [process.stderr.readline().strip() for _ in range(2)]
            os.kill(process.pid, number)
            code = process.wait(60)
        finally:
            process.kill()

    url = lines[0].removeprefix("export AWS_ENDPOINT_URL=")
    assert 0 == code
    assert [
        f"sandbox running at {url}, in the foreground; press Ctrl-C to stop",
        "hint: run the `export` lines in another terminal, then use the sandbox there: `lamina publish`",
    ] == said
    assert lines[0].startswith("export AWS_ENDPOINT_URL=http://127.0.0.1:")
    assert [
        "export AWS_REGION=us-east-1",
        "export AWS_DEFAULT_REGION=us-east-1",
        "export AWS_ACCESS_KEY_ID=test",
        "export AWS_SECRET_ACCESS_KEY=test",
    ] == lines[1:]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["true"], "`--` is missing before the command"),
        (["--"], "command after `--` is missing"),
        (["--keep-state"], "`--keep-state` needs a project, and none was found"),
        (["--region", "europe"], "`europe` is not a valid region name"),
    ],
)
def test_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Invalid arguments are reported before the server starts."""
    code = main(["sandbox", *words])

    assert 2 == code
    assert f"error: {message}" == capsys.readouterr().err.splitlines()[0]


def test_unknown_program(capfd: pytest.CaptureFixture[str]) -> None:
    """A missing program exits with 127, as in shells."""
    code = main(["sandbox", "--python", sys.executable, "--", "no-such-program"])

    assert 127 == code
    assert ["error: command `no-such-program` not found"] == capfd.readouterr().err.splitlines()[1:]
