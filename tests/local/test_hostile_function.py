"""Tests that a function cannot stop lamina, or use lamina's memory, through the Runtime API, its log or its report."""

from __future__ import annotations

import json
import socket
import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from built import configure, function, make_build
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from lamina.coldstart import trace
from lamina.core.errors import InvokeError
from lamina.local.facts import facts
from lamina.local.invoke import invoke
from lamina.local.output import MOST, RecentOutput
from lamina.local.response import Failure, FunctionError, Response
from lamina.local.runtime_api import Event, RuntimeApi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from built import MakeEnvironment

_RESPONSE = b"POST /2018-06-01/runtime/invocation/one/response HTTP/1.1\r\n"
_ERROR = b"POST /2018-06-01/runtime/invocation/one/error HTTP/1.1\r\n"
_CHUNKED = _RESPONSE + b"Transfer-Encoding: chunked\r\n\r\n"
_NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n"


def _ask(address: str, request: bytes) -> bytes:
    """Send *request* over a connection of its own, and return what the server answers before it waits or closes the connection."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(request)
        return connection.recv(1 << 16)


@contextmanager
def _working(response_bytes: int = 1000) -> Iterator[tuple[str, list[object]]]:
    """Provide the address of an API whose event ``one`` was taken, and the list that the outcome is added to."""
    with RuntimeApi(response_bytes=response_bytes) as api:
        outcomes: list[object] = []
        event = Event(request_id="one", payload=b"{}", deadline=1, arn="arn:x")
        thread = threading.Thread(target=lambda: outcomes.append(api.exchange(event, 20)))
        thread.start()
        assert b"200 OK" in _ask(api.address, _NEXT)
        yield api.address, outcomes
        thread.join()


@pytest.mark.parametrize(
    "request_",
    [
        _CHUNKED + b"1" * 65_537,
        _CHUNKED + b"-5\r\n",
        _CHUNKED + b"1_0\r\n",
        _CHUNKED + b"f" * 17 + b"\r\n",
        _CHUNKED + b"x\r\n",
        _CHUNKED + b"0\r\n" + b"name: value\r\n" * 100,
        _CHUNKED + b"0\r\n" + b"n" * 65_537,
        _CHUNKED + b"1\r\na" + b"n" * 65_537,
        _RESPONSE + b"Content-Length: -1\r\n\r\n",
        _RESPONSE + b"Content-Length: 1e3\r\n\r\n",
        _RESPONSE + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        _RESPONSE + b"name: value\r\n" * 101 + b"\r\n",
        _RESPONSE + b"name: " + b"v" * 65_536,
    ],
    ids=lambda request: request.partition(b"\r\n\r\n")[2][:12].decode() or request[57:80].decode(),
)
def test_requests_out_of_bounds(request_: bytes) -> None:
    """Lines, lengths and trailers without end are rejected before they are read to their end, and the event can still be answered."""
    with _working() as (address, outcomes):
        answer = _ask(address, request_)
        _ask(address, _RESPONSE + b"Content-Length: 1\r\n\r\n1")

    assert b" 4" == answer[8:10]
    assert [Response(payload=b"1")] == outcomes


def test_request_that_breaks_off() -> None:
    """A body that ends too early is not a response."""
    with _working() as (address, outcomes):
        host, _, port = address.partition(":")
        for start in (_RESPONSE + b"Content-Length: 9\r\n\r\n1", _CHUNKED + b"9\r\n1", _CHUNKED + b"1\r\n1\r\n"):
            with socket.create_connection((host, int(port)), timeout=5) as connection:
                connection.sendall(start)
                connection.shutdown(socket.SHUT_WR)
                assert b"400" in connection.recv(1 << 16)
        _ask(address, _RESPONSE + b"Content-Length: 1\r\n\r\n1")

    assert [Response(payload=b"1")] == outcomes


def test_answers_that_nobody_expects() -> None:
    """An answer to another event is read but not kept, before the event and after its answer."""
    with _working() as (address, outcomes):
        other = _RESPONSE.replace(b"/one/", b"/two/") + b"Content-Length: 1\r\n\r\n2"
        statuses = [_ask(address, other)[9:12]]
        statuses += [_ask(address, _RESPONSE + b"Content-Length: 1\r\n\r\n" + digit)[9:12] for digit in (b"1", b"3")]

    assert ([b"400", b"202", b"400"], [Response(payload=b"1")]) == (statuses, outcomes)


def test_silent_connections() -> None:
    """Connections that say nothing keep neither the event nor the end of the server waiting, and there cannot be many."""
    with ExitStack() as stack, _working() as (address, outcomes):
        host, _, port = address.partition(":")
        silent = [stack.enter_context(socket.create_connection((host, int(port)), timeout=5)) for _ in range(20)]
        closed = 0
        for connection in silent[8:]:
            closed += connection.recv(1) == b""
        for connection in silent:
            connection.close()
        while outcomes == []:
            try:
                _ask(address, _RESPONSE + b"Content-Length: 1\r\n\r\n1")
            except ConnectionError:
                continue

    assert (12, [Response(payload=b"1")]) == (closed, outcomes)


def test_error_that_is_not_base64() -> None:
    """A streamed response that breaks off with an unreadable error is an error with the type in the header."""
    with _working() as (address, outcomes):
        trailers = b"Lambda-Runtime-Function-Error-Type: Late\r\nLambda-Runtime-Function-Error-Body: %%%a\r\n\r\n"
        _ask(address, _CHUNKED + b"0\r\n" + trailers)

    [outcome] = outcomes
    assert isinstance(outcome, Failure)
    assert FunctionError(type="Late", message="") == outcome.error


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"stackTrace": 5}', FunctionError(type="T", message="")),
        (
            b'{"stackTrace": ["a", 5, null], "errorMessage": "m"}',
            FunctionError(type="T", message="m", stack_trace=("a",)),
        ),
        (b'{"errorType": {"a": []}, "errorMessage": 5, "stackTrace": "abc"}', FunctionError(type="T", message="")),
        (b"[" * 200_000, FunctionError(type="T", message="")),
        (b'{"errorType":' * 50_000 + b"1" + b"}" * 50_000, FunctionError(type="T", message="")),
        (b"1" * 5000, FunctionError(type="T", message="")),
        (b"\xff\xfe", FunctionError(type="T", message="")),
        (b"", FunctionError(type="T", message="")),
    ],
    ids=lambda value: value[:24].decode(errors="replace") if isinstance(value, bytes) else "",
)
def test_error_documents(payload: bytes, expected: FunctionError) -> None:
    """Fields of an error that are missing, of another type or unreadable are replaced by defaults."""
    assert expected == Failure(payload=payload, error_type="T").error


_POSTS = """
import os, socket
def post(path, body):
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /2018-06-01/runtime/{path} HTTP/1.1\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
        connection.sendall(head.encode() + body)
        connection.recv(1000)
def handler(event, context):
    post(f"invocation/{context.aws_request_id}/error", b'{"stackTrace": 5}')
def deep(event, context):
    post(f"invocation/{context.aws_request_id}/response", b"[" * 900 + b"]" * 900)
"""


def test_function_that_answers_by_itself(make_environment: MakeEnvironment) -> None:
    """A function that reports an error of its own making has failed, and its own answer comes too late."""
    result = invoke(make_environment(_POSTS), b"{}")

    assert (FunctionError(type="Unhandled", message=""), b'{"stackTrace": 5}') == (result.error, result.payload)


def test_deep_response_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A response that is nested too deeply for the JSON report is in it as text."""
    make_build(tmp_path, {"app.py": _POSTS}, handlers={"orders": "app.deep"})
    configure(tmp_path, functions='orders = "app.deep"')
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    code = main(["invoke", "orders", "--project", str(tmp_path), "--json", "-q"])

    payload = json.loads(capsys.readouterr().out)["payload"]
    assert (0, "[" * 900 + "]" * 900) == (code, payload if isinstance(payload, str) else json.dumps(payload))


def test_log_without_end(make_environment: MakeEnvironment) -> None:
    """The log in the result is the end of a log that is too long; the log that is shown is complete."""
    source = f"def handler(event, context):\n    for _ in range({MOST // 1_000_000 + 4}): print('x' * 1_000_000)\n"
    shown = 0

    def count(text: str) -> None:
        nonlocal shown
        shown += len(text)

    result = invoke(make_environment(source, settings=function(memory_mb=512)), b"{}", on_log=count)

    assert shown > MOST + 3_000_000
    assert MOST // 2 < len(result.logs) <= MOST
    assert result.logs.splitlines()[-1].startswith("REPORT ")


def test_log_of_single_characters() -> None:
    """Small pieces of output count with what Python needs for them."""
    recent: RecentOutput[str] = RecentOutput()
    for _ in range(200_000):
        recent.add("x")

    assert 79_207 == len(recent.joined(""))


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b"5",
        b"\xff",
        b"[" * 5000,
        b"-" * 20_000 + b"1",
        b"{'imports': 5, 'compiled': [], 'files': {}, 'failed': []}",
        b"{'imports': [(1, 2)], 'compiled': [], 'files': {}, 'failed': []}",
        b"{'imports': [], 'compiled': [[]], 'files': {}, 'failed': []}",
        b"{'imports': [], 'compiled': [5], 'files': {}, 'failed': []}",
        b"{'imports': [], 'compiled': [], 'files': {}, 'failed': [1]}",
    ],
    ids=lambda line: line[:60].decode(errors="replace"),
)
def test_reports_of_imports(line: bytes) -> None:
    """A line that the function wrote among the recorded imports is an error."""
    with pytest.raises(InvokeError, match="the function also wrote to the file descriptor"):
        trace.read(line + b"\n", facts().directories)
