"""Test ``lamina invoke`` from the command line."""

from __future__ import annotations

import io
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from built import MINOR, configure, make_build
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from lamina.core.files import file_sha256
from lamina.core.store import Store
from lamina.core.toml import read_data
from lamina.core.values import Sha256
from services import make_service
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from services import Service

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
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, have_runtime_client: Callable[[Path], None]) -> Path:
    """Return a built service in the current directory; an environment variable names its interpreter."""
    make_build(tmp_path, {"app.py": _SOURCE}, handlers={"orders": "app.handler", "report": "app.missing"})
    configure(tmp_path, functions='orders = "app.handler"\nreport = "app.missing"')
    have_runtime_client(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    return tmp_path


def _service(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return a service that was not built, for the running interpreter."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(directory / "cache"))
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    service = make_service(directory)
    service.requires_python = f">={MINOR}"
    service.settings["runtime"] = f'"python{MINOR}"'
    return service


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
        (["orders", "--event", '"\udcff"'], "error: event is not valid JSON: "),
        (
            ["orders", "--env", "=x"],
            "error: environment variables have an empty name, `=` in the name, or a null character: ''\n",
        ),
        (
            ["orders", "--env-file", "null.env"],
            "error: environment variables have an empty name, `=` in the name, or a null character: 'KEY'\n",
        ),
        (["orders", "--env", "UNSET_NAME"], "error: environment variables are not set: `UNSET_NAME`\n"),
        (["orders", "--credentials"], "error: environment variables are not set: `AWS_ACCESS_KEY_ID`\n"),
    ],
)
def test_wrong_usage(project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """Invalid arguments exit with 2 before the function runs."""
    (project / "null.env").write_text("KEY=\0secret")
    (project / "utf-16.json").write_text("{}", encoding="utf-16")
    code = main(["invoke", *arguments])
    output = capsys.readouterr()

    assert (2, "", True) == (code, output.out, output.err.startswith(message))


@pytest.mark.parametrize(
    ("event", "excerpt"),
    [
        ("{id: 1}", "  {id: 1}\n   ^"),
        ('{"a": 1,\n "b": }', '   "b": }\n        ^'),
        ('{"text": "' + "x" * 100 + '", }', f'  {"x" * 27}", }}\n  {" " * 30}^'),
    ],
)
def test_place_of_a_mistake(project: Path, capsys: pytest.CaptureFixture[str], event: str, excerpt: str) -> None:
    """The hint for an event that is not JSON shows a correct one, and the place of the mistake."""
    main(["invoke", "orders", "--event", event])
    _, _, hint = capsys.readouterr().err.partition("\n\n")

    example = """pass JSON in single quotes, with double quotes inside: `--event '{"id": 1}'`; or a file: `--event event.json`"""
    assert f"hint: {example}\n{excerpt}\n" == hint


def test_nothing_built(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a build, the project is built first, and with `--no-build` the hint is to build it."""
    project = _service(tmp_path, monkeypatch).write()
    arguments = ["invoke", "hello", "--project", str(project), "--event", "[1]"]

    assert 2 == main([*arguments, "--no-build"])
    assert f"error: no build found in `{project}`\n\nhint: run `lamina build`\n" == capsys.readouterr().err
    assert 0 == main(arguments)
    output = capsys.readouterr()
    assert ("[1]\n", True) == (output.out, "note: no build found; built\n" in output.err)
    assert 0 == main(arguments)
    assert "built" not in capsys.readouterr().err


def test_a_rebuild_is_noted_only_if_it_changes_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new file beside the sources, such as an event, changes no package, so nothing is said about the sources."""
    project = _service(tmp_path, monkeypatch).write()
    monkeypatch.chdir(project)
    main(["build"])
    capsys.readouterr()
    (project / "event.json").write_text("[1]")

    assert 0 == main(["invoke", "hello", "--event", "event.json"])
    assert "note:" not in capsys.readouterr().err

    (project / "service" / "handlers" / "hello.py").write_text("def lambda_handler(event, context):\n    return 2\n")

    assert 0 == main(["invoke", "hello"])
    assert "note: sources changed; rebuilt\n" in capsys.readouterr().err


def test_target_of_this_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With targets for both architectures, the one for this machine is run, also if it is not the first."""
    service = _service(tmp_path, monkeypatch)
    machine = {"x86_64": "x86_64"}.get(platform.machine(), "arm64")
    other = {"x86_64": "arm64", "arm64": "x86_64"}[machine]
    del service.settings["runtime"], service.settings["architecture"]
    service.settings["targets"] = f'["python{MINOR}-{other}", "python{MINOR}-{machine}"]'
    arguments = ["--project", str(service.write())]

    assert 0 == main(["invoke", "hello", *arguments, "-v"])
    assert f"note: using the target python{MINOR} on {machine}\n" in capsys.readouterr().err
    assert 0 == main(["invoke", "hello", *arguments, "-v", "--architecture", other])
    assert f"note: using the target python{MINOR} on {other}\n" in capsys.readouterr().err
    assert 2 == main(["run", *arguments, "--runtime", "python3.9", "--", "true"])
    assert "hint: build for it: `lamina build --runtime python3.9`\n" in capsys.readouterr().err


def test_env_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--env-file` sets variables, and `--env` overrides them."""
    (project / ".env").write_text("TABLE='orders dev'\n")

    assert 0 == main(["invoke", "orders", "--env-file", ".env", "-q"])
    assert "orders dev" == json.loads(capsys.readouterr().out)["table"]
    assert 0 == main(["invoke", "orders", "--env-file", ".env", "--env", "TABLE=other", "-q"])
    assert "other" == json.loads(capsys.readouterr().out)["table"]
    assert 2 == main(["invoke", "orders", "--env-file", "none.env", "-q"])


def test_missing_wrapper(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrapper that only a layer of another account contains is not run, and a warning says so."""
    assert 0 == main(["invoke", "orders", "--env", "AWS_LAMBDA_EXEC_WRAPPER=/opt/otel-instrument"])
    expected = "warning: `AWS_LAMBDA_EXEC_WRAPPER` is not run: `/opt/otel-instrument` is in none of the function's layers that lamina has\n"
    assert expected in capsys.readouterr().err


class _Program:
    """`lamina` in another process, whose output is read while it runs."""

    def __init__(self, *arguments: str, before: str = "") -> None:
        """Run `lamina` with *arguments*, after the Python statements *before*."""
        start = (
            ["-c", f"{before}\nfrom lamina.cli.main import entry_point\nentry_point()"] if before else ["-m", "lamina"]
        )
        command = [sys.executable, *start, *arguments]
        # The signal for Ctrl-C may be ignored by the process that started the tests, which a new process would inherit.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        finally:
            signal.signal(signal.SIGINT, handler)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self, part: str) -> str:
        """Return the next line of stderr that contains *part*."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if part in line:
                return line
        raise AssertionError(f"no line with `{part}`")

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


def test_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--watch` builds and invokes again when the sources or the event change, also after errors, and Ctrl-C ends it with 0."""
    project = _service(tmp_path, monkeypatch).write()
    handler, event = project / "service" / "handlers" / "hello.py", tmp_path / "event.json"
    event.write_text("[1]")
    waiting = "note: waiting for changes"
    with _Program("invoke", "hello", "--project", str(project), "--watch", "--event", str(event)) as program:
        program.line(waiting)
        assert "[1]" == program.answer()
        event.write_text("{")
        program.line("is not valid JSON")
        program.line(waiting)
        event.write_text("[2]")
        program.line(waiting)
        assert "[2]" == program.answer()
        handler.write_text("def lambda_handler(event, context):\n    return event + [3]\n")
        program.line("note: sources changed; rebuilt")
        program.line(waiting)
        assert "[2, 3]" == program.answer()
        handler.unlink()
        program.line("error: ")
        program.line(waiting)
        handler.write_text("def lambda_handler(event, context):\n    return 4\n")
        program.line(waiting)
        assert "4" == program.answer()
        assert 0 == program.interrupt()


def test_watch_of_a_project_that_was_never_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the first build fails, there is nothing to watch, and the error is the one of the build."""
    configure(tmp_path)

    assert 3 == main(["invoke", "orders", "--project", str(tmp_path), "--watch"])
    assert capsys.readouterr().err.startswith("error: no lock file found in ")


def test_watch_with_an_event_that_no_change_corrects(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--watch`, an event on the command line that is not JSON is an error at once."""
    assert 2 == main(["invoke", "orders", "--no-build", "--watch", "--event", "{"])
    assert capsys.readouterr().err.startswith("error: event is not valid JSON: ")


class _Client:
    """A client of the Debug Adapter Protocol, as in an editor."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._stream = self._socket.makefile("rb")
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    def send(self, command: str, **arguments: object) -> int:
        self._number += 1
        message = {"seq": self._number, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(message).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return self._number

    def wait(self, **wanted: object) -> dict[str, Any]:
        """Return the body of the next message whose fields have the values *wanted*."""
        while True:
            length = 0
            while header := self._stream.readline().strip():
                length = int(header.rpartition(b":")[2])
            message = json.loads(self._stream.read(length))
            if wanted.items() <= message.items():
                assert message.get("success", True), message
                body: dict[str, Any] = message.get("body") or {}
                return body

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        return self.wait(request_seq=self.send(command, **arguments))


def test_debugger(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--debug`, a client attaches, stops at a breakpoint in the project's file, and reads a variable."""
    store = Store.open(tmp_path / "store")
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store.root))
    sha256 = _keep_debugger(store, tmp_path)
    (project / "app.py").write_text(_SOURCE)
    line = _SOURCE.splitlines().index('    print("working")') + 1
    arguments = ["--debug", "--debug-port", "0", "--offline", "--event", '{"id": 41}']
    # The wheel that the index has cannot be made again from the installed files, so this one is recorded in its place.
    recorded = f"from lamina.local import provided; provided._data()['debugger']['sha256'] = '{sha256}'"
    with _Program("invoke", "orders", *arguments, before=recorded) as program:
        program.line("and waits for a client")
        configuration = json.loads(program.line('"request": "attach"'))
        with _Client(configuration["connect"]["port"]) as client:
            client.ask("initialize", adapterID="tests", pathFormat="path", linesStartAt1=True)
            client.send("attach", pathMappings=configuration["pathMappings"])
            client.wait(event="initialized")
            client.ask("setBreakpoints", source={"path": str(project / "app.py")}, breakpoints=[{"line": line}])
            client.ask("configurationDone")
            thread = client.wait(event="stopped")["threadId"]
            [frame, *_] = client.ask("stackTrace", threadId=thread)["stackFrames"]
            seen = client.ask("evaluate", expression="event['id'] + 1", frameId=frame["id"])["result"]
            client.send("continue", threadId=thread)
            answer = json.loads(program.answer())
        code = program.process.wait(60)

    assert ("handler", line, str(project / "app.py"), "42") == (
        frame["name"],
        frame["line"],
        frame["source"]["path"],
        seen,
    )
    assert (0, {"id": 41}) == (code, answer["event"])


def _keep_debugger(store: Store, directory: Path) -> Sha256:
    """Put a wheel with the installed debugpy into *store*, in the place of the recorded one."""
    installed = distribution("debugpy")
    files = {
        entry.as_posix(): Path(str(installed.locate_file(entry))).read_bytes()
        for entry in installed.files or ()
        if entry.suffix == ".py" and entry.parts[0] == "debugpy"
    }
    wheel = make_wheel(directory / "wheels", "debugpy", installed.version, files)
    sha256 = Sha256(file_sha256(wheel))
    destination = store.wheel_destination(sha256, read_data("local_wheels.toml")["debugger"]["filename"])
    destination.parent.mkdir(parents=True)
    wheel.rename(destination)
    return sha256


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
    project = _service(tmp_path, monkeypatch).write()
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
    service = _service(tmp_path, monkeypatch)
    service.settings |= {"source": '["my-jobs"]', "bytecode": '"reachable"'}
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


@pytest.mark.parametrize("bytecode", ["none", "reachable"])
def test_dependencies_in_the_zip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bytecode: str
) -> None:
    """A function imports the distributions in its zip, without a layer, and with the bytecode in the zip if there is some."""
    service = _service(tmp_path, monkeypatch)
    service.settings |= {"packaging": '"zip"', "bytecode": f'"{bytecode}"'}
    project = service.write()
    (project / "service" / "handlers" / "hello.py").write_text(
        "import os, beta\n"
        "def lambda_handler(event, context):\n"
        "    alpha = beta.alpha\n"
        "    return [alpha.VALUE, os.path.exists(alpha.__cached__), os.path.dirname(alpha.__file__), beta.__file__]\n"
    )

    code = main(["invoke", "hello", "--mode", "path", "-q", "--project", str(project)])

    value, is_compiled, alpha, beta = json.loads(capsys.readouterr().out)
    assert (0, 1, bytecode == "reachable") == (code, value, is_compiled)
    assert os.path.dirname(alpha) == os.path.dirname(beta)
    assert not (project / ".lamina" / "layers" / "common.zip").exists()
