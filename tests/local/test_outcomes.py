"""Tests of invocation results, errors and logs, which have the same format as Lambda's."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from built import function
from lamina.core.errors import ConfigError
from lamina.local.facts import facts
from lamina.local.invoke import ExecutionEnvironment, invoke
from lamina.local.response import FunctionError

if TYPE_CHECKING:
    from built import MakeEnvironment
    from lamina.local.environment import Mode


def _failure(make_environment: MakeEnvironment, source: str, mode: Mode, handler: str = "app.handler") -> FunctionError:
    result = invoke(make_environment(source, mode=mode, settings=function(handler=handler)), b"{}")
    assert result.error is not None
    return FunctionError(
        type=result.error.type,
        message=result.error.message.replace(result.request_id, "ID"),
        stack_trace=result.error.stack_trace,
    )


def test_response(make_environment: MakeEnvironment, mode: Mode) -> None:
    """The result contains the handler's response, the mode, the durations and the memory."""
    environment = make_environment(
        "import dep\ndef handler(event, context): return [event, dep.N]", layers=[{"python/dep.py": "N = 2"}], mode=mode
    )

    result = invoke(environment, b'{"a": "\xc3\xa9"}')

    assert ([{"a": "é"}, 2], None, mode) == (json.loads(result.payload), result.error, result.mode)
    assert result.init_ms is not None
    assert 0 < result.duration_ms < 10_000
    assert 5_000_000 < result.max_memory_bytes < result.memory_bytes


def test_log_in_pieces(make_environment: MakeEnvironment) -> None:
    """A character or line end that is written in two pieces is decoded as one."""
    pieces = (b"caf\xc3", b"\xa9\r", b"\n\xe2\x82")
    source = (
        "import os, time\ndef handler(event, context):\n"
        f"    for piece in {pieces}:\n        os.write(1, piece)\n        time.sleep(0.05)\n"
    )
    [_, *written, _] = invoke(make_environment(source), b"{}").logs.splitlines()

    assert ["café", "\ufffdEND"] == [line.partition(" ")[0] for line in written]


def test_exception(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A handler's exception is returned as an error with type, message and stack trace, and is not raised."""
    result = invoke(
        make_environment("def handler(event, context):\n    raise ValueError('no such order')\n", mode=mode), b"{}"
    )
    told = json.loads(result.payload)

    assert ("ValueError", "no such order", result.request_id) == (
        told["errorType"],
        told["errorMessage"],
        told["requestId"],
    )
    assert result.error is not None
    assert re.fullmatch(
        r'  File ".*/app.py", line 2, in handler\n    raise ValueError\(.*\)\n', result.error.stack_trace[0]
    )
    assert "[ERROR] ValueError: no such order\nTraceback (most recent call last):\n" in result.logs
    assert "Status" not in result.logs


def test_missing_module(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A module that is installed only in lamina's own environment is missing in the function."""
    source = "import httpx\ndef handler(event, context): ..."

    expected = FunctionError(
        type="Runtime.ImportModuleError", message="Unable to import module 'app': No module named 'httpx'"
    )
    assert expected == _failure(make_environment, source, mode)


def test_missing_function(make_environment: MakeEnvironment, mode: Mode) -> None:
    """The error for a missing handler names the handler and the module."""
    expected = FunctionError(type="Runtime.HandlerNotFound", message="Handler 'other' missing on module 'app'")
    assert expected == _failure(make_environment, "", mode, handler="app.other")


def test_malformed_handler(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A handler name without a dot is reported as malformed."""
    error = _failure(make_environment, "", mode, handler="handler")

    expected = "Bad handler 'handler': not enough values to unpack (expected 2, got 1)"
    assert ("Runtime.MalformedHandlerName", expected) == (error.type, error.message)


def test_syntax_error(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A syntax error in the handler's module is reported with file and line."""
    error = _failure(make_environment, "x = = 1\n", mode)

    assert ("Runtime.UserCodeSyntaxError", "Syntax error in module 'app': invalid syntax (app.py, line 1)") == (
        error.type,
        error.message,
    )
    assert error.stack_trace[0].endswith('app.py" Line 1\n    x = = 1\n')


def test_error_while_loading(make_environment: MakeEnvironment, mode: Mode) -> None:
    """Any other exception while the module loads keeps its type and its non-ASCII characters."""
    error = _failure(make_environment, "raise KeyError('TÄBLE')", mode)

    assert ("KeyError", "'TÄBLE'") == (error.type, error.message)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("sys.exit(3)", "exit status 3"),
        ("os._exit(4)", "exit status 4"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal: segmentation fault"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "signal: terminated"),
    ],
)
def test_exit_in_handler(make_environment: MakeEnvironment, mode: Mode, statement: str, words: str) -> None:
    """If the process ends during an invocation, the error contains its exit status or signal."""
    source = f"import os, signal, sys\ndef handler(event, context): {statement}"

    expected = FunctionError(
        type="Runtime.ExitError", message=f"RequestId: ID Error: Runtime exited with error: {words}"
    )
    assert expected == _failure(make_environment, source, mode)


def test_exit_without_reason(make_environment: MakeEnvironment, mode: Mode) -> None:
    """If the process exits with status 0 and sends no response, the error states that it gave no reason."""
    expected = FunctionError(
        type="Runtime.ExitError", message="RequestId: ID Error: Runtime exited without providing a reason"
    )
    assert expected == _failure(make_environment, "import os\ndef handler(event, context): os._exit(0)", mode)


def test_exit_while_loading(make_environment: MakeEnvironment, mode: Mode) -> None:
    """If the process ends before it requests an event, the error and the log report a failed initialisation."""
    result = invoke(make_environment("import os\nprint('bye', flush=True)\nos._exit(5)", mode=mode), b"{}")

    assert result.error is not None
    assert f"RequestId: {result.request_id} Error: Runtime exited with error: exit status 5" == result.error.message
    lines = result.logs.splitlines()
    assert "bye" == lines[0]
    assert re.fullmatch(
        r"INIT_REPORT Init Duration: [\d.]+ ms\tPhase: init\tStatus: error\tError Type: Runtime.ExitError", lines[1]
    )
    assert lines[-1].endswith("\tStatus: error\tError Type: Runtime.ExitError")
    assert {"errorType": "Runtime.ExitError", "errorMessage": result.error.message} == json.loads(result.payload)


def test_timeout(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A handler that exceeds its timeout is ended, and the reported duration is the timeout."""
    source = "import time\ndef handler(event, context):\n    print('before')\n    time.sleep(60)"
    result = invoke(make_environment(source, mode=mode, settings=function(timeout_seconds=1)), b"{}")

    expected = FunctionError(
        type="Sandbox.Timedout", message=f"RequestId: {result.request_id} Error: Task timed out after 1.00 seconds"
    )
    assert expected == result.error
    assert 1000 == result.duration_ms
    lines = result.logs.splitlines()
    assert [f"START RequestId: {result.request_id} Version: $LATEST", "before"] == lines[:2]
    assert re.fullmatch(rf"[\dT:.-]+Z {result.request_id} Task timed out after 1\.00 seconds", lines[2])
    assert lines[-1].endswith("\tStatus: timeout")


def test_slow_start_is_tried_again(make_environment: MakeEnvironment, mode: Mode) -> None:
    """Initialisation that exceeds its limit is repeated during the invocation, under the function's timeout."""
    source = "import time\ntime.sleep(0.7)\ndef handler(event, context): return 'late'"
    with ExecutionEnvironment(make_environment(source, mode=mode), init_seconds=0.3) as session:
        result = session.invoke(b"{}")

    assert (b'"late"', None, None) == (result.payload, result.error, result.init_ms)
    # The second start begins a moment before the invocation's time is measured.
    assert result.duration_ms > 600
    assert result.logs.startswith("INIT_REPORT Init Duration: 300.00 ms\tPhase: init\tStatus: timeout\n")


def test_endless_start_times_out(make_environment: MakeEnvironment, mode: Mode) -> None:
    """If initialisation also exceeds the function's timeout, the invocation fails with a timeout."""
    environment = make_environment("import time\ntime.sleep(60)", mode=mode, settings=function(timeout_seconds=1))
    with ExecutionEnvironment(environment, init_seconds=0.2) as session:
        result = session.invoke(b"{}")

    assert result.error is not None
    assert "Sandbox.Timedout" == result.error.type


def test_out_of_memory(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A process that exceeds the function's memory is killed, and the report shows the limit as its memory."""
    source = "import time\ndef handler(event, context):\n    data = b'x' * 300_000_000\n    time.sleep(5)\n    return len(data)"
    result = invoke(make_environment(source, mode=mode, settings=function(memory_mb=128)), b"{}")

    expected = FunctionError(
        type="Runtime.OutOfMemory",
        message=f"RequestId: {result.request_id} Error: Runtime exited with error: signal: killed",
    )
    assert expected == result.error
    assert "\tMemory Size: 128 MB\tMax Memory Used: 128 MB\t" in result.logs
    assert result.logs.endswith("\tStatus: error\tError Type: Runtime.OutOfMemory\n")


def test_brief_excess_counts(make_environment: MakeEnvironment, mode: Mode) -> None:
    """Exceeding the memory limit is an error even if the memory is freed before the response."""
    source = "def handler(event, context):\n    data = b'x' * 300_000_000\n    return len(data)"
    result = invoke(make_environment(source, mode=mode, settings=function(memory_mb=128)), b"{}")

    assert result.error is not None
    assert "Runtime.OutOfMemory" == result.error.type


def test_memory_of_children_counts(make_environment: MakeEnvironment, mode: Mode) -> None:
    """The memory of subprocesses counts towards the function's memory."""
    source = (
        "import subprocess, sys\ndef handler(event, context):\n"
        "    code = 'import time; data = b\"x\" * 300_000_000; time.sleep(5)'\n"
        "    return subprocess.run([sys.executable, '-c', code]).returncode"
    )
    result = invoke(make_environment(source, mode=mode, settings=function(memory_mb=128)), b"{}")

    assert result.error is not None
    assert "Runtime.OutOfMemory" == result.error.type


def test_log(make_environment: MakeEnvironment, mode: Mode) -> None:
    """Standard output, standard error and log records appear in order between Lambda's lines, and are passed on at once."""
    source = (
        "import logging, sys\nprint('loading')\ndef handler(event, context):\n    print('out')\n"
        "    print('err', file=sys.stderr)\n    logging.getLogger().warning('careful')\n    return 1"
    )
    shown: list[str] = []
    result = invoke(make_environment(source, mode=mode), b"{}", on_log=shown.append)
    lines = result.logs.splitlines()

    assert result.logs == "".join(shown)
    request = result.request_id
    assert ["loading", f"START RequestId: {request} Version: $LATEST", "out", "err"] == lines[:4]
    assert re.fullmatch(rf"\[WARNING\]\t[\dT:.-]+Z\t{request}\tcareful", lines[4])
    assert f"END RequestId: {request}" == lines[5]
    number = r"\d+\.\d\d ms"
    assert re.fullmatch(
        rf"REPORT RequestId: {request}\tDuration: {number}\tBilled Duration: \d+ ms\tMemory Size: 256 MB\t"
        rf"Max Memory Used: \d+ MB\tInit Duration: {number}",
        lines[6],
    )
    assert 7 == len(lines)


def test_log_of_a_slow_reader(make_environment: MakeEnvironment, mode: Mode) -> None:
    """Output of the initialisation precedes the START line, even if the log's reader is slow."""
    source = (
        "import time\nprint('one', flush=True)\ntime.sleep(0.1)\nprint('two', flush=True)\n"
        "def handler(event, context): ..."
    )
    result = invoke(make_environment(source, mode=mode), b"{}", on_log=lambda _: time.sleep(0.3))

    assert ["one", "two", f"START RequestId: {result.request_id} Version: $LATEST"] == result.logs.splitlines()[:3]


def test_events_share_a_process(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A session handles all events in one process, so the module's state is kept."""
    source = (
        "import os\nseen = []\ndef handler(event, context):\n    seen.append(event)\n    return [os.getpid(), seen]"
    )
    with ExecutionEnvironment(make_environment(source, mode=mode)) as session:
        first, second, third = (session.invoke(str(number).encode()) for number in range(3))

    pid = json.loads(first.payload)[0]
    assert [[pid, [0]], [pid, [0, 1]], [pid, [0, 1, 2]]] == [json.loads(one.payload) for one in (first, second, third)]
    assert [True, False, False] == [one.init_ms is not None for one in (first, second, third)]


def test_failure_starts_anew(make_environment: MakeEnvironment, mode: Mode) -> None:
    """The process continues after an exception, and is restarted after it has ended."""
    source = (
        "import os\ncount = 0\ndef handler(event, context):\n    global count\n    count += 1\n"
        "    if event == 'raise': raise RuntimeError('no')\n    if event == 'exit': os._exit(1)\n    return count"
    )
    with ExecutionEnvironment(make_environment(source, mode=mode)) as session:
        results = [session.invoke(json.dumps(event).encode()) for event in ("", "raise", "", "exit", "")]

    assert [None, "RuntimeError", None, "Runtime.ExitError", None] == [one.error and one.error.type for one in results]
    assert [b"1", b"3", b"1"] == [one.payload for one in results if one.error is None]


def test_unserialisable_response(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A response that is not serialisable is reported as the runtime's error."""
    error = _failure(make_environment, "def handler(event, context): return {1, 2}", mode)

    assert ("Runtime.MarshalError", "Unable to marshal response: Object of type set is not JSON serializable") == (
        error.type,
        error.message,
    )


def test_response_too_large(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A response over Lambda's limit is rejected with Lambda's error message."""
    error = _failure(make_environment, "def handler(event, context): return 'x' * 7_000_000", mode)

    expected = "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
    assert ("Function.ResponseSizeTooLarge", expected) == (error.type, error.message)


def test_event_too_large(make_environment: MakeEnvironment, mode: Mode) -> None:
    """An event over Lambda's limit is rejected before a process starts."""
    environment = make_environment("", mode=mode)
    limit = facts().limits.event_bytes
    with pytest.raises(ConfigError) as caught:
        invoke(environment, b" " * (limit + 1))

    assert f"the event has {limit + 1:,} bytes, which exceeds Lambda's limit of {limit:,} bytes" == str(caught.value)


def test_missing_boto3_is_explained(make_environment: MakeEnvironment, mode: Mode) -> None:
    """If a module of Lambda's own runtime is missing, the hint explains that it is not available."""
    result = invoke(make_environment("import boto3", mode=mode), b"{}")

    expected = (
        "add `boto3` to your dependencies: Lambda's runtime contains it, but it is not available here, "
        "and AWS can change its version at any time"
    )
    assert expected == result.hint


def test_missing_module_is_explained(make_environment: MakeEnvironment, mode: Mode) -> None:
    """For any other missing module, the hint is to check its distribution."""
    result = invoke(make_environment("import numpy.linalg", mode=mode), b"{}")

    expected = (
        "check that the distribution with `numpy` is in the lock file and not excluded: "
        "neither the layers nor the function package contain `numpy`"
    )
    assert expected == result.hint
