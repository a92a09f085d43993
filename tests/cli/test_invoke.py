"""Test ``lamina invoke`` from the command line."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from built import MINOR, configure, make_build
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

_SOURCE = """
import os
def handler(event, context):
    print("working")
    if event.get("fail"):
        raise LookupError("no such order")
    if "nan" in event:
        return float("nan")
    return {"event": event, "memory": context.memory_limit_in_mb, "table": os.environ.get("TABLE")}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a built service in the current directory; an environment variable names its interpreter."""
    make_build(tmp_path, {"app.py": _SOURCE}, handlers={"orders": "app.handler", "report": "app.missing"})
    configure(tmp_path, functions='orders = "app.handler"\nreport = "app.missing"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    return tmp_path


def test_response_and_log(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The response goes to stdout, the log goes to stderr, and the exit code is 0."""
    code = main(["invoke", "orders", "--event", '{"id": 1}'])
    output = capsys.readouterr()

    assert (0, {"event": {"id": 1}, "memory": "128", "table": None}) == (code, json.loads(output.out))
    lines = [line.split()[0] for line in output.err.splitlines() if not line.startswith(("warning:", "hint:"))]
    assert ["START", "working", "END", "REPORT"] == lines


def test_log_that_nobody_reads(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the reader of the log closes stderr, the response is still printed."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1) as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        code = main(["invoke", "orders", "--mode", "path"])
        # Closing the stream would try to write its buffer again, and fail.
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), writing)

    assert (0, "128") == (code, json.loads(capsys.readouterr().out)["memory"])


def test_limits_and_variables(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function sees the memory and the variables given on the command line."""
    monkeypatch.setenv("TABLE", "from-here")
    main(["invoke", "orders", "--memory", "200", "--env", "TABLE", "-q"])
    output = capsys.readouterr()

    assert {"event": {}, "memory": "200", "table": "from-here"} == json.loads(output.out)
    assert "" == output.err


def test_event_from_a_file_and_from_stdin(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is read from a file or from stdin."""
    (project / "event.json").write_text('{"from": "file"}')
    main(["invoke", "orders", "--event", "event.json", "-q"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"from": "stdin"}')))
    main(["invoke", "orders", "--event", "-", "-q"])
    answers = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]

    assert [{"from": "file"}, {"from": "stdin"}] == answers


def test_failure(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the function fails, the exit code is 1 and its error goes to stdout as a caller would receive it."""
    code = main(["invoke", "orders", "--event", '{"fail": true}', "-q"])
    told = json.loads(capsys.readouterr().out)

    assert (1, "LookupError", "no such order") == (code, told["errorType"], told["errorMessage"])


def test_report(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--json`, stdout is a report with a version."""
    code = main(["invoke", "report", "--json", "-q"])
    report = json.loads(capsys.readouterr().out)

    error = {
        "type": "Runtime.HandlerNotFound",
        "message": "Handler 'missing' missing on module 'app'",
        "stack_trace": [],
    }
    assert (1, "1", "report", error, None) == (
        code,
        report["version"],
        report["function"],
        report["error"],
        report["init_ms"],
    )
    assert report["mode"] in {"namespace", "path"}
    assert report["logs"].endswith(" MB\n")


def test_report_of_no_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A response that is not valid JSON, such as `NaN`, is text in the report."""
    main(["invoke", "orders", "--event", '{"nan": true}', "--json", "-q"])

    assert "NaN" == json.loads(capsys.readouterr().out)["payload"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["order"], "error: the build has no function `order` (did you mean `orders`?)\n"),
        (
            ["orders", "--event", "none.json"],
            "error: failed to read event file `none.json`: No such file or directory\n",
        ),
        (["orders", "--event", "{"], "error: event is not valid JSON: "),
        (["orders", "--event", ""], "error: event is not valid JSON: "),
        (["orders", "--event", '{"n": NaN}'], "error: event is not valid JSON: `NaN` is not a JSON value\n"),
        (["orders", "--event", "[" * 100_000], "error: event is not valid JSON: nested too deeply\n"),
        (["orders", "--event", "utf-16.json"], "error: event file `utf-16.json` is not valid JSON: "),
        (["orders", "--memory", "1"], "error: memory of 1 MB is outside Lambda's limits\n"),
        (["orders", "--env", "UNSET_NAME"], "error: environment variables are not set: `UNSET_NAME`\n"),
        (["orders", "--credentials"], "error: environment variables are not set: `AWS_ACCESS_KEY_ID`\n"),
    ],
)
def test_wrong_usage(project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """Invalid arguments exit with 2 before the function runs."""
    (project / "utf-16.json").write_text("{}", encoding="utf-16")
    code = main(["invoke", *arguments])
    output = capsys.readouterr()

    assert (2, "", True) == (code, output.out, output.err.startswith(message))


def test_nothing_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a build, the hint is to run `lamina build`."""
    configure(tmp_path)
    code = main(["invoke", "orders", "--project", str(tmp_path)])

    assert (2, f"error: no build found in `{tmp_path}`\n\nhint: run `lamina build`\n") == (
        code,
        capsys.readouterr().err,
    )


def test_path_mode(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--mode` chooses the mode, and `-v` shows it."""
    assert 0 == main(["invoke", "orders", "--mode", "path", "-v"])
    assert "note: function ran in mode `path`\n" in capsys.readouterr().err


def test_other_interpreter(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that does not run is reported by name."""
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), str(project / "no-python"))
    code = main(["invoke", "orders"])

    assert 2 == code
    assert f"CPython {MINOR}" in capsys.readouterr().err


def test_changed_handler(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """If the sources have changed, the service is rebuilt first, unless `--no-build` is given."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    service = make_service(tmp_path)
    service.settings["runtime"] = f'"python{MINOR}"'
    project = service.write()
    configuration = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(configuration.replace(">=3.12", f">={MINOR}"))
    handler = project / "service" / "handlers" / "hello.py"
    assert 0 == main(["build", "--project", str(project), "-q"])
    handler.write_text("import beta\ndef lambda_handler(event, context):\n    return beta.alpha.VALUE + 1\n")
    capsys.readouterr()

    arguments = ["invoke", "hello", "--project", str(project), "-q"]
    assert (0, "{}\n") == (main([*arguments, "--no-build"]), capsys.readouterr().out)
    assert (0, "2\n") == (main(arguments), capsys.readouterr().out)


def test_dashes_in_directory_and_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler in a directory and a file with dashes is built with bytecode for its imports, and runs as on Lambda."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    service = make_service(tmp_path)
    service.requires_python = f">={MINOR}"
    service.settings |= {"runtime": f'"python{MINOR}"', "source": '["my-jobs"]', "bytecode": '"reachable"'}
    service.functions = {"slash": "my-jobs/load-orders.handler", "dots": "my-jobs.load-orders.handler"}
    directory = service.root / "my-jobs"
    directory.mkdir(parents=True)
    (directory / "load-orders.py").write_text(
        "from .amounts import total\ndef handler(event, context):\n    return total\n"
    )
    (directory / "amounts.py").write_text("import beta\ntotal = beta.alpha.VALUE\n")
    project = service.write()

    assert 0 == main(["build", "--project", str(project), "-q"])
    with zipfile.ZipFile(project / ".lamina" / "layers" / "common.zip") as layer:
        compiled = {name for name in layer.namelist() if name.endswith(".pyc")}
    capsys.readouterr()

    tag = f"cpython-{MINOR.replace('.', '')}"
    assert {f"python/__pycache__/beta.{tag}.pyc", f"python/alpha/__pycache__/__init__.{tag}.pyc"} == compiled
    for function in ("slash", "dots"):
        assert (0, "1\n") == (main(["invoke", function, "--project", str(project), "-q"]), capsys.readouterr().out)
