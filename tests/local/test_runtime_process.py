"""Tests of starting a function's process: time, memory, failures, variables, and code that runs first."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from built import initialise
from lamina.core.errors import ConfigError
from lamina.local.invoke import invoke
from lamina.local.runtime_client import provide

if TYPE_CHECKING:
    from pathlib import Path

    from built import MakeEnvironment
    from lamina.local.environment import FunctionEnvironment, Home, Mode


def test_time_and_memory(make_environment: MakeEnvironment, mode: Mode) -> None:
    """The measured time runs from the interpreter's start to the first request for an event, and includes the handler's module."""
    environment = make_environment("import time\ntime.sleep(0.3)\ndef handler(event, context): ...", mode=mode)
    result = initialise(environment)

    assert (None, None, mode) == (result.failure, result.ended, result.mode)
    assert result.milliseconds is not None
    assert 300 < result.milliseconds < 5000
    assert result.memory_bytes > 5_000_000


def test_failure(make_environment: MakeEnvironment, mode: Mode) -> None:
    """If the handler fails to load, the result has no time, but a failure, an ended process and a log."""
    result = initialise(make_environment("import missing", mode=mode))

    assert result.milliseconds is None
    assert result.failure is not None
    assert "Runtime.ImportModuleError" == result.failure.error_type
    assert result.ended is not None
    assert "No module named 'missing'" in result.logs


def test_too_slow(make_environment: MakeEnvironment, mode: Mode) -> None:
    """An initialisation that exceeds the timeout is ended, and the result has neither time nor failure."""
    result = initialise(make_environment("import time\ntime.sleep(60)", mode=mode), timeout=0.2)

    assert (None, None, None) == (result.milliseconds, result.failure, result.ended)


def test_interpreter_variables(make_environment: MakeEnvironment, mode: Mode) -> None:
    """Variables reach the interpreter, and the interpreter's own output is in the log."""
    environment = make_environment(
        "import dep\ndef handler(event, context): ...",
        layers=[{"python/dep.py": ""}],
        mode=mode,
        additional={"PYTHONPROFILEIMPORTTIME": "1"},
    )
    result = initialise(environment)

    assert re.search(r"import time: +\d+ \| +\d+ \| +dep\n", result.logs)


def test_additional_variables(make_environment: MakeEnvironment, mode: Mode) -> None:
    """Additional variables are set in the function's process."""
    code = "import os\nprint(os.environ['PROBE'])\ndef handler(event, context): ..."

    assert "seen\n" == initialise(make_environment(code, mode=mode, additional={"PROBE": "seen"})).logs


def test_prelude(make_environment: MakeEnvironment, mode: Mode) -> None:
    """Code that runs before the client reports over its own file descriptor, apart from the log."""
    prelude = (
        "import os, sys\n"
        "def hook(event, arguments):\n"
        "    if event == 'import' and arguments[0] == 'dep': os.write(report_fd, b'dep')\n"
        "sys.addaudithook(hook)"
    )
    environment = make_environment(
        "import dep\ndef handler(event, context): ...", layers=[{"python/dep.py": ""}], mode=mode
    )
    result = initialise(environment, prelude=prelude)

    assert (b"dep", "") == (result.report, result.logs)


def test_runtime_client_is_not_compiled_at_every_start(make_environment: MakeEnvironment, mode: Mode) -> None:
    """The runtime client has bytecode, so only the handler's own module is compiled at start."""
    prelude = (
        "import os, sys\n"
        "def hook(event, arguments):\n"
        "    if event == 'compile' and isinstance(arguments[1], str): os.write(report_fd, arguments[1].encode() + b'\\n')\n"
        "sys.addaudithook(hook)"
    )
    environment = make_environment("def handler(event, context): ...", mode=mode)
    result = initialise(environment, prelude=prelude)

    files = [name for name in result.report.decode().splitlines() if not name.startswith("<")]
    assert [f"{environment.directories(mode).task}/app.py"] == files


def test_client_is_provided_once(tmp_path: Path, home: Home) -> None:
    """For one interpreter, the client is provided once, works, and contains no extension modules."""
    first = provide(tmp_path, home.interpreter)

    assert first == provide(tmp_path, home.interpreter)
    assert [first.name] == [path.name for path in tmp_path.iterdir()]
    assert [] == list(first.rglob("*.so"))
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        "import sys; sys.path[:0] = sys.argv[1:]; import awslambdaric.bootstrap",
    ]
    assert 0 == subprocess.run([*command, str(first)], check=False).returncode


_WRAPPER = """#!/bin/sh
export WRAPPED="$*"
exec "$@"
"""


def _with_wrapper(
    make_environment: MakeEnvironment, mode: Mode, path: str, *, executable: bool = True, wrapper: str = _WRAPPER
) -> FunctionEnvironment:
    source = "import os, sys\ndef handler(event, context): return [os.environ['WRAPPED'], sys.argv]"
    environment = make_environment(
        source, layers=[{"wrap": wrapper}], mode=mode, additional={"AWS_LAMBDA_EXEC_WRAPPER": path}
    )
    # The zip of a test has no permissions; lamina's own archives mark scripts as executable.
    (environment.layer / "wrap").chmod(0o555 if executable else 0o444)
    return environment


def test_wrapper(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A wrapper gets the runtime's command line, whose last argument is the runtime's program."""
    environment = _with_wrapper(make_environment, mode, "/opt/wrap")
    result = invoke(environment, b"{}")
    command, arguments = json.loads(result.payload)

    program = f"{environment.directories(mode).runtime}/bootstrap.py"
    assert environment.python(mode) == command.split()[0]
    assert program == command.split()[-1]
    assert [program, "app.handler"] == arguments


@pytest.mark.parametrize(
    ("line", "name"),
    [("#!/bin/sh\r", "/bin/sh\r"), ("#! /no/such/program -x", "/no/such/program"), ("#!/opt/none", "/opt/none")],
)
def test_wrapper_without_its_interpreter(make_environment: MakeEnvironment, mode: Mode, line: str, name: str) -> None:
    """A wrapper whose first line names a program that does not exist is an error that shows the name, with a carriage return too."""
    environment = _with_wrapper(make_environment, mode, "/opt/wrap", wrapper=f'{line}\nexec "$@"\n')
    with pytest.raises(ConfigError) as caught:
        invoke(environment, b"{}")

    expected = f"`AWS_LAMBDA_EXEC_WRAPPER` is `/opt/wrap`, whose first line names {name!r}, which does not exist"
    assert expected == str(caught.value)


def test_wrapper_by_a_relative_path(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A relative path starts in the function's directory, wherever lamina runs."""
    assert _with_wrapper(make_environment, mode, "app.py").has_wrapper


@pytest.mark.parametrize("path", ["/var/task/wrap", "wrap"])
def test_wrapper_that_is_not_in_the_package(make_environment: MakeEnvironment, mode: Mode, path: str) -> None:
    """A wrapper that the package should contain, but does not, is an error, because the function would not start on Lambda."""
    environment = _with_wrapper(make_environment, mode, path)
    with pytest.raises(ConfigError) as caught:
        invoke(environment, b"{}")

    assert f"`AWS_LAMBDA_EXEC_WRAPPER` is `{path}`, which is not in the function's package" == str(caught.value)


def test_wrapper_of_another_layer(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A wrapper that only another account's layer may contain is not run."""
    source = "import os\ndef handler(event, context): return os.environ.get('WRAPPED')"
    environment = make_environment(source, mode=mode, additional={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/otel-instrument"})

    assert b"null" == invoke(environment, b"{}").payload


def test_wrapper_that_is_not_executable(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A wrapper that cannot be executed is an error, as on Lambda."""
    environment = _with_wrapper(make_environment, mode, "/opt/wrap", executable=False)
    with pytest.raises(ConfigError) as caught:
        invoke(environment, b"{}")

    assert "`AWS_LAMBDA_EXEC_WRAPPER` is `/opt/wrap`, which is not executable" == str(caught.value)
