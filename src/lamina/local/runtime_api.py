"""
Serve the Lambda Runtime API to one runtime process, on loopback.

Routes, headers and responses follow version 2018-06-01 of the API.
Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html and its OpenAPI description (2026-11-23).
"""

from __future__ import annotations

import base64
import secrets
import socket
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Self

from lamina.core.supervised.process import wait_for
from lamina.local.response import (
    Failure,
    MalformedRequestError,
    Response,
    error_document,
    read_body,
    too_large,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.core.supervised.process import Ended

_ROOT = "/2018-06-01/runtime/"
_ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
_ERROR_BODY = "Lambda-Runtime-Function-Error-Body"
# The runtime uses one connection, or two if its initialisation fails. Each one costs lamina a thread, a response and header lines.
_CONNECTIONS = 8


def _unsampled() -> str:
    """Return an X-Ray trace header for a request that is not sampled."""
    return f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """An invocation event, with the metadata that the runtime receives in headers."""

    payload: bytes
    deadline: float
    """When the invocation times out, in seconds since the epoch."""
    arn: str
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    trace_id: str = field(default_factory=_unsampled)
    client_context: str | None = None


class RuntimeApi:
    """
    An HTTP server for one runtime process, which handles one event at a time.

    Use it as a context manager; the port is released on exit. All methods are thread-safe.
    """

    def __init__(self, *, response_bytes: int) -> None:
        """Create a server that accepts responses of at most *response_bytes*; a larger one results in an error."""
        self.response_bytes = response_bytes
        self.ready_at: int | None = None
        """When the runtime first requested an event, in nanoseconds of the monotonic clock; ``None`` if it has not yet."""
        self.init_failure: Failure | None = None
        self._changed = threading.Condition()
        self._event: Event | None = None
        self._taken = False
        self._outcome: Response | Failure | None = None
        self._ended: Ended | None = None
        self._closed = False
        self._server = _Server(self)

    @property
    def address(self) -> str:
        """The server's address in the form ``HOST:PORT``, for the variable ``AWS_LAMBDA_RUNTIME_API``."""
        host, port = self._server.socket.getsockname()[:2]
        return f"{host}:{port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.stop()

    def end(self, ended: Ended) -> None:
        """Record that the runtime's process has ended, and release all threads that wait for it."""
        with self._changed:
            self._ended = ended
            self._changed.notify_all()

    def wait_ready(self, timeout: float | None) -> bool:
        """Wait until the runtime requests its first event or ends; return ``False`` if neither happens within *timeout* seconds."""
        with self._changed:
            return wait_for(self._changed, lambda: self.ready_at is not None or self._ended is not None, timeout)

    def exchange(self, event: Event, timeout: float) -> Response | Failure | Ended | None:
        """
        Send *event* to the runtime, and return its response, its failure, or how its process ended.

        Return ``None`` if none of these happens within *timeout* seconds.
        """
        with self._changed:
            self._event, self._taken, self._outcome = event, False, None
            self._changed.notify_all()
            wait_for(self._changed, lambda: self._result() is not None, timeout)
            self._event = None
            return self._result()

    def _result(self) -> Response | Failure | Ended | None:
        return self._outcome or self._ended

    def take(self) -> Event | None:
        """Wait for the next event on behalf of the runtime, and return it; return ``None`` if the server stops."""
        with self._changed:
            if self.ready_at is None:
                self.ready_at = time.monotonic_ns()
                self._changed.notify_all()
            self._changed.wait_for(lambda: (self._event is not None and not self._taken) or self._closed)
            if self._closed:
                return None
            self._taken = True
            return self._event

    def expects(self, request_id: str) -> bool:
        """Return whether *request_id* identifies the event that the runtime is processing."""
        with self._changed:
            event = self._event if self._taken and self._outcome is None else None
            return event is not None and event.request_id == request_id

    @contextmanager
    def settling(self, outcome: Response | Failure) -> Iterator[None]:
        """
        Record the *outcome* of the current event, and notify the thread that waits for it after the block has run.

        The block answers the runtime's request. The waiting thread may end the runtime, so it is notified only afterwards.
        If the runtime ends by itself during the block, the recorded outcome still counts.
        """
        with self._changed:
            self._outcome = outcome
        try:
            yield
        finally:
            with self._changed:
                self._changed.notify_all()

    def fail_init(self, failure: Failure) -> bool:
        """Record that initialisation failed; return ``False`` if the runtime has already reported success or failure."""
        with self._changed:
            if self.ready_at is not None or self.init_failure is not None:
                return False
            self.init_failure = failure
            return True


class _Server(ThreadingMixIn, TCPServer):
    """An HTTP server on a free loopback port, with one thread for each connection. It closes further connections at once."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, api: RuntimeApi) -> None:
        self.api = api
        self._stopping = False
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._accept, name="lamina-runtime-api", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting connections. The server connects to itself, to wake the thread that waits for a connection."""
        self._stopping = True
        with suppress(OSError), socket.create_connection(self.socket.getsockname()[:2], timeout=1):
            pass
        self._thread.join()
        self.server_close()

    def _accept(self) -> None:
        while True:
            try:
                request, address = self.get_request()
            except OSError:
                return
            if self._stopping:
                self.shutdown_request(request)
                return
            if self._free.acquire(blocking=False):
                self.process_request(request, address)
            else:
                self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection until it ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Suppress the traceback: a killed runtime breaks its connection, and `RuntimeApi.end` reports that it ended."""


class _Handler(BaseHTTPRequestHandler):
    """Handles the requests on one connection from the runtime."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Answer ``GET invocation/next`` as soon as there is an event."""
        if self.path != f"{_ROOT}invocation/next":
            self._refuse(404, "InvalidRoute", f"No such route: GET {self.path}")
            return
        event = self.server.api.take()
        if event is None:
            self.close_connection = True
            return
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": event.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(event.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": event.arn,
            "Lambda-Runtime-Trace-Id": event.trace_id,
        }
        if event.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = event.client_context
        self._answer(200, event.payload, headers)

    def do_POST(self) -> None:
        """Receive a response, an error of the handler or an error of initialisation."""
        api = self.server.api
        parts = self.path.removeprefix(_ROOT).split("/")
        expected = parts == ["init", "error"] or api.expects("".join(parts[1:2]))
        try:
            # Only a body that is expected is kept; any other is only read, so that the connection can be used again.
            body, trailers = read_body(self.headers, self.rfile, api.response_bytes if expected else -1)
        except MalformedRequestError as error:
            self.close_connection = True
            self._refuse(400, "InvalidRequest", str(error))
            return
        error_type = trailers.get(_ERROR_TYPE.lower()) or self.headers.get(_ERROR_TYPE)
        if parts == ["init", "error"]:
            taken = api.fail_init(Failure(payload=_as_utf8(body or b""), error_type=error_type))
            self._accepted() if taken else self._refuse(
                403, "InvalidStateTransition", "Initialisation has already finished"
            )
            return
        if len(parts) != 3 or parts[0] != "invocation" or parts[2] not in {"response", "error"}:
            self._refuse(404, "InvalidRoute", f"No such route: POST {self.path}")
            return
        if not api.expects(parts[1]):
            self._refuse(400, "InvalidRequestID", "Invalid request ID")
            return
        outcome: Response | Failure
        if body is None:
            outcome = too_large(api.response_bytes)
            with api.settling(outcome):
                message = f"Exceeded maximum allowed payload size ({api.response_bytes} bytes)."
                self._refuse(413, "RequestEntityTooLarge", message)
            return
        broken_off = trailers.get(_ERROR_BODY.lower())
        if broken_off is not None:
            outcome = Failure(payload=_decoded(broken_off), error_type=error_type)
        elif parts[2] == "error":
            outcome = Failure(payload=body, error_type=error_type)
        else:
            outcome = Response(payload=body)
        with api.settling(outcome):
            self._accepted()

    def _accepted(self) -> None:
        self._answer(202, b'{"status":"OK"}\n', {"Content-Type": "application/json"})

    def _refuse(self, status: int, error_type: str, message: str) -> None:
        self._answer(status, error_document(error_type, message), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Discard the server's access log, because standard error shows the function's output."""


def _decoded(text: str) -> bytes:
    """Return the Base64 *text* decoded, or nothing if it is not Base64: the error then has only the type in the header."""
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""


def _as_utf8(body: bytes) -> bytes:
    """
    Return *body* encoded in UTF-8; a body that is not valid UTF-8 is decoded as Latin-1.

    The runtime client reports initialisation errors through `http.client`, which encodes text as Latin-1 (awslambdaric 4.2.2, read 2026-11-23).
    """
    try:
        body.decode()
    except UnicodeDecodeError:
        return body.decode("latin-1").encode()
    return body
