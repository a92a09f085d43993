"""Tests of the Runtime API over HTTP."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from lamina.core.supervised.process import Ended
from lamina.local.response import Failure, Response
from lamina.local.runtime_api import Event, RuntimeApi

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NEXT = "/2018-06-01/runtime/invocation/next"


def _event(request_id: str = "one") -> Event:
    return Event(request_id=request_id, payload=b'{"a":1}', deadline=1_700_000_000.5, arn="arn:x", trace_id="Root=1")


class _Runtime:
    """A minimal runtime with one persistent connection."""

    def __init__(self, address: str) -> None:
        self.connection = http.client.HTTPConnection(address)

    def ask(
        self, method: str, path: str, body: bytes | Iterable[bytes] = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        chunked = not isinstance(body, bytes)
        self.connection.request(method, path, body=body or None, headers=headers or {}, encode_chunked=chunked)
        response = self.connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


@contextmanager
def _serving(response_bytes: int = 1000) -> Iterator[tuple[RuntimeApi, _Runtime]]:
    with RuntimeApi(response_bytes=response_bytes) as api:
        runtime = _Runtime(api.address)
        try:
            yield api, runtime
        finally:
            runtime.connection.close()


def test_event_and_response() -> None:
    """The runtime receives the event with its headers, and its response is the outcome."""
    with _serving() as (api, runtime), ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(runtime.ask, "GET", _NEXT)
        assert api.wait_ready(5)
        outcome = pool.submit(api.exchange, _event(), 5)
        status, headers, body = waiting.result(5)
        accepted = runtime.ask("POST", "/2018-06-01/runtime/invocation/one/response", b'"done"')

        assert Response(payload=b'"done"') == outcome.result(5)

    assert (200, b'{"a":1}') == (status, body)
    expected = {
        "Content-Type": "application/json",
        "Content-Length": "7",
        "Lambda-Runtime-Aws-Request-Id": "one",
        "Lambda-Runtime-Deadline-Ms": "1700000000500",
        "Lambda-Runtime-Invoked-Function-Arn": "arn:x",
        "Lambda-Runtime-Trace-Id": "Root=1",
    }
    assert expected == headers
    assert (202, b'{"status":"OK"}\n') == (accepted[0], accepted[2])


@contextmanager
def _working(response_bytes: int = 1000) -> Iterator[tuple[_Runtime, list[object]]]:
    """Provide a runtime that has received the event ``one``, and the list that its outcome is added to."""
    with _serving(response_bytes) as (api, runtime):
        outcomes: list[object] = []
        thread = threading.Thread(target=lambda: outcomes.append(api.exchange(_event(), 5)))
        thread.start()
        runtime.ask("GET", _NEXT)
        yield runtime, outcomes
        thread.join()


def test_error() -> None:
    """An error that the runtime posts is the outcome, with the error type from its header."""
    with _working() as (runtime, outcomes):
        headers = {"Lambda-Runtime-Function-Error-Type": "Unhandled"}
        runtime.ask("POST", "/2018-06-01/runtime/invocation/one/error", b"{}", headers)

    assert [Failure(payload=b"{}", error_type="Unhandled")] == outcomes


def test_chunked_response() -> None:
    """A chunked body, as the C++ client sends it, is joined."""
    with _working() as (runtime, outcomes):
        headers = {"Transfer-Encoding": "chunked"}
        runtime.ask("POST", "/2018-06-01/runtime/invocation/one/response", iter([b'"a', b'b"']), headers)

    assert [Response(payload=b'"ab"')] == outcomes


def test_streamed_response_that_breaks_off() -> None:
    """A streamed response that ends with an error in its trailers is an error."""
    with _working() as (runtime, outcomes):
        told = base64.b64encode(b'{"errorMessage":"late"}')
        runtime.connection.putrequest("POST", "/2018-06-01/runtime/invocation/one/response")
        runtime.connection.putheader("Transfer-Encoding", "chunked")
        runtime.connection.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
        runtime.connection.endheaders()
        runtime.connection.send(
            b"3\r\nabc\r\n0\r\nLambda-Runtime-Function-Error-Type: Late\r\n"
            b"Lambda-Runtime-Function-Error-Body: " + told + b"\r\n\r\n"
        )
        assert 202 == runtime.connection.getresponse().status

    assert [Failure(payload=b'{"errorMessage":"late"}', error_type="Late")] == outcomes


@pytest.mark.parametrize("chunked", [False, True])
def test_response_too_large(chunked: bool) -> None:
    """A response over the limit is answered with status 413, and the outcome is an error."""
    with _working(response_bytes=10) as (runtime, outcomes):
        body: bytes | Iterable[bytes] = iter([b"x" * 6, b"x" * 6]) if chunked else b"x" * 11
        headers = {"Transfer-Encoding": "chunked"} if chunked else {}
        status, _, answer = runtime.ask("POST", "/2018-06-01/runtime/invocation/one/response", body, headers)

    assert (413, "RequestEntityTooLarge") == (status, json.loads(answer)["errorType"])
    message = "Response payload size exceeded maximum allowed payload size (10 bytes)."
    expected = {"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"}
    [outcome] = outcomes
    assert isinstance(outcome, Failure)
    assert expected == json.loads(outcome.payload)


def test_wrong_request() -> None:
    """The runtime can answer only the current event, and only once."""
    with _working() as (runtime, _):
        wrong = runtime.ask("POST", "/2018-06-01/runtime/invocation/two/response", b"1")
        right = runtime.ask("POST", "/2018-06-01/runtime/invocation/one/response", b"1")
        again = runtime.ask("POST", "/2018-06-01/runtime/invocation/one/response", b"1")

    assert [400, 202, 400] == [wrong[0], right[0], again[0]]
    assert {"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID"} == json.loads(wrong[2])


def test_unknown_routes() -> None:
    """Unknown routes are answered with status 404."""
    with _serving() as (_, runtime):
        answers = [
            runtime.ask("GET", "/2018-06-01/runtime/restore/next"),
            runtime.ask("POST", "/2018-06-01/runtime/x", b"1"),
        ]

    assert [404, 404] == [status for status, _, _ in answers]


def test_init_error() -> None:
    """An initialisation error is recorded, and a second one is rejected."""
    with _serving() as (api, runtime):
        headers = {"Lambda-Runtime-Function-Error-Type": "Runtime.ImportModuleError"}
        first = runtime.ask("POST", "/2018-06-01/runtime/init/error", b"{}", headers)
        second = runtime.ask("POST", "/2018-06-01/runtime/init/error", b"{}", headers)

    assert (202, 403) == (first[0], second[0])
    assert Failure(payload=b"{}", error_type="Runtime.ImportModuleError") == api.init_failure


def test_end_of_the_process() -> None:
    """Waiting for a response stops when the runtime's process ends."""
    ended = Ended(status=9, memory_bytes=1, killed_for_memory=False)
    with _serving() as (api, _):
        threading.Timer(0.05, api.end, [ended]).start()
        began = time.monotonic()
        outcome = api.exchange(_event(), 600)

    assert ended == outcome
    assert time.monotonic() - began < 60


def test_end_of_the_process_after_its_answer() -> None:
    """A recorded response counts, even if the process ends before the waiting thread is notified."""
    reply = Response(payload=b"1")
    with _serving() as (api, _), ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(api.exchange, _event(), 5)
        assert api.take() is not None
        with api.settling(reply):
            api.end(Ended(status=256, memory_bytes=1, killed_for_memory=False))

            assert reply == outcome.result(5)


def test_nothing_in_time() -> None:
    """If the runtime does not respond in time, there is no outcome."""
    with _serving() as (api, _):
        assert api.exchange(_event(), 0.01) is None


def test_two_servers_have_two_ports() -> None:
    """Two servers listen on different ports."""
    with _serving() as (first, _), _serving() as (second, _):
        assert first.address != second.address
