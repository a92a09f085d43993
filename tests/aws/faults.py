"""

An unreliable connection on loopback: a proxy between botocore and an emulator that disturbs a chosen request.

The proxy can also hold a request until the test has killed the client.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message

KINDS = (
    "500",  # before the service did anything
    "throttled",
    "dropped",  # before the service received the request
    "lost",  # after the service performed the request
    "late 500",  # after the service performed the request
    "twice",  # delivered twice; the first response is returned
    "twice, second",  # delivered twice; the second response is returned
    "truncated",  # half of the response's body
    "trickling",  # the response's body in small pieces
)
LASTING = ("500", "throttled", "dropped", "lost", "late 500", "twice", "twice, second", "truncated")

OPERATIONS = {
    ("PUT", "copied part"): "UploadPartCopy",
    ("PUT", "part"): "UploadPart",
    ("PUT", ""): "PutObject",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", ""): "GetObject",
    ("DELETE", ""): "DeleteObject",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("HEAD", ""): "HeadObject",
}
LAYER_OPERATIONS = {
    ("POST", "versions", 5): "PublishLayerVersion",
    ("GET", "versions", 5): "ListLayerVersions",
    ("GET", "versions", 6): "GetLayerVersion",
    ("DELETE", "versions", 6): "DeleteLayerVersion",
    ("POST", "policy", 7): "AddLayerVersionPermission",
    ("GET", "policy", 7): "GetLayerVersionPolicy",
}
FUNCTION_OPERATIONS = {
    ("POST", "", 3): "CreateFunction",
    ("GET", "", 4): "GetFunction",
    ("DELETE", "", 4): "DeleteFunction",
    ("GET", "configuration", 5): "GetFunctionConfiguration",
    ("PUT", "code", 5): "UpdateFunctionCode",
    ("PUT", "configuration", 5): "UpdateFunctionConfiguration",
    ("POST", "versions", 5): "PublishVersion",
    ("POST", "aliases", 5): "CreateAlias",
    ("PUT", "aliases", 6): "UpdateAlias",
    ("GET", "aliases", 6): "GetAlias",
    ("DELETE", "aliases", 6): "DeleteAlias",
}
"""Maps the method, the subresource of a function or layer, and the number of path segments to an operation."""

_KEY = re.compile(rb"<AccessKeyId>[^<]*<")
_PIECES = 12
_PAUSE_SECONDS = 0.01
_HELD_SECONDS = 30


def operation_of(method: str, path: str, headers: Message) -> str:
    """Return the AWS operation of a request. Only operations of publishing and deploying are recognised."""
    parts = urlsplit(path)
    pieces = parts.path.rstrip("/").split("/")
    if parts.path.startswith("/2018-10-31/layers"):
        # The path is /2018-10-31/layers/NAME/versions/NUMBER/policy, or a prefix of it.
        return LAYER_OPERATIONS.get((method, "".join(pieces[6:] or pieces[4:5]), len(pieces)), method)
    if parts.path.startswith("/2015-03-31/functions"):
        # The path is /2015-03-31/functions/NAME/SUBRESOURCE/ITEM, or a prefix of it.
        return FUNCTION_OPERATIONS.get((method, "".join(pieces[4:5]), len(pieces)), method)
    if "/_ministack/" in parts.path:
        return "download"
    if target := headers.get("X-Amz-Target"):
        return target.split(".")[-1]
    return _bucket_operation(method, pieces, parse_qs(parts.query, keep_blank_values=True), headers)


def _bucket_operation(method: str, pieces: list[str], query: dict[str, list[str]], headers: Message) -> str:
    if method == "POST" and len(pieces) == 1:
        return "GetCallerIdentity"
    if method == "HEAD" and len(pieces) == 2:
        return "HeadBucket"
    if "partNumber" in query:
        kind = "copied part" if "x-amz-copy-source" in headers else "part"
    else:
        kind = next((name for name in ("uploads", "uploadId") if name in query), "")
    return OPERATIONS.get((method, kind), f"{method} {kind}")


def refusal(operation: str, path: str, *, throttled: bool) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return an error response in the format of the service that *operation* belongs to."""
    if path.startswith("/20"):
        status, code = (429, "TooManyRequestsException") if throttled else (500, "ServiceException")
        return status, [("x-amzn-ErrorType", code), ("Content-Type", "application/json")], b'{"Message": "no"}'
    if operation in {"GetParameter", "PutParameter"}:
        status, code = (400, "ThrottlingException") if throttled else (500, "InternalServerError")
        return (
            status,
            [("Content-Type", "application/x-amz-json-1.1")],
            f'{{"__type": "{code}", "message": "no"}}'.encode(),
        )
    if operation == "GetCallerIdentity":
        status, code = (400, "Throttling") if throttled else (500, "InternalFailure")
        body = f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
        return status, [("Content-Type", "text/xml")], body.encode()
    status, code = (503, "SlowDown") if throttled else (500, "InternalError")
    return (
        status,
        [("Content-Type", "application/xml")],
        f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode(),
    )


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One request: request *number*, counted from 1, among those for its operation."""

    operation: str
    number: int = 1

    def __str__(self) -> str:
        return f"{self.operation} {self.number}"


@dataclass
class Line:
    """The configuration of the unreliable connection, and a record of the requests."""

    url: str = ""
    """The proxy's URL."""
    kind: str = ""
    at: Moment | None = None
    """The request to disturb."""
    lasting: bool = False
    """Whether all later requests are disturbed, too."""
    denied: tuple[str, str] | None = None
    """An operation, and the region in which it is denied."""
    hold: Moment | None = None
    """The request to hold until it is released."""
    hold_after: bool = False
    """Whether the service receives the held request before it is held."""
    goes_on: bool = False
    """Whether the held request is forwarded or answered after its release."""
    later: float = 0.0
    """The number of seconds that the service's clock is ahead."""
    other: tuple[str, str] | None = None
    """The ARN of a layer in the emulator, where functions have layers of their own account only, and the one that clients see; as long."""
    look: Callable[[str], None] = lambda _: None
    """A callback that runs after the service has handled a request, before the response is returned."""
    calls: list[Moment] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    struck: bool = False
    holding: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def clear(self) -> None:
        """Forward every request, and restart all counts."""
        fresh = Line()
        for name in fresh.__dataclass_fields__:
            if name not in {"url", "lock"}:
                setattr(self, name, getattr(fresh, name))

    def count(self, operation: str) -> tuple[Moment, str]:
        """Count a request, and return its identity and the fault to apply to it."""
        with self.lock:
            self.counted[operation] += 1
            moment = Moment(operation=operation, number=self.counted[operation])
            self.calls.append(moment)
            hit = moment == self.at
            self.struck = self.struck or hit
            return moment, self.kind if hit or (self.lasting and self.struck) else ""

    def keep(self) -> None:
        """Hold a request until it is released."""
        self.holding.set()
        self.release.wait(_HELD_SECONDS)


class Proxy(ThreadingHTTPServer):
    """A server that forwards requests to one host."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, line: Line) -> None:
        super().__init__(("127.0.0.1", 0), Forward)
        self.host = host
        self.own = f"127.0.0.1:{self.server_address[1]}"
        self.line = line

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore the error: the tests kill clients on purpose."""


class Forward(BaseHTTPRequestHandler):
    """Forwards requests one after another, or applies a fault."""

    server: Proxy
    protocol_version = "HTTP/1.1"
    # Headers and body leave in one packet. Otherwise the client's delayed acknowledgement would slow down the second.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle_expect_100(self) -> bool:
        """Send the status 100 immediately, not when the response is flushed."""
        self.send_response_only(HTTPStatus.CONTINUE)
        self.end_headers()
        self.wfile.flush()
        return True

    def _serve(self) -> None:
        line = self.server.line
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation = operation_of(self.command, self.path, self.headers)
        moment, kind = line.count(operation)
        if moment == line.hold and not line.hold_after:
            line.keep()
            if not line.goes_on:
                self.close_connection = True
                return
        if line.denied == (operation, self._region):
            self._answer(403, [("x-amzn-ErrorType", "AccessDeniedException")], b"")
            return
        if kind in {"500", "throttled"}:
            self._answer(*refusal(operation, self.path, throttled=kind == "throttled"))
            return
        if kind == "dropped":
            self.close_connection = True
            return
        answer = self._forward(body)
        if kind.startswith("twice"):
            second = self._forward(body)
            answer = second if kind == "twice, second" else answer
        line.look(operation)
        if moment == line.hold and line.hold_after:
            line.keep()
            kind = "" if line.goes_on else "lost"
        if kind == "lost":
            self.close_connection = True
        elif kind == "late 500":
            self._answer(*refusal(operation, self.path, throttled=False))
        else:
            self._answer(*answer, kind=kind)

    @property
    def _region(self) -> str:
        """The region for which the request is signed, or an empty string."""
        scope = re.search(r"Credential=[^/]+/[0-9]+/([^/]+)/", self.headers.get("Authorization", ""))
        return "" if scope is None else scope[1]

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.host, timeout=30)
        there, here = (each.encode() for each in self.server.line.other or ("", ""))
        body = body.replace(here, there)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read().replace(there, here)
            if b'"Location"' in content[:20_000]:
                # Code is also downloaded through this proxy.
                content = content.replace(self.server.host.encode(), self.server.own.encode())
            if b"Action=AssumeRole" in body:
                # The emulator treats a twelve-digit access key as the account ID.
                (role,) = parse_qs(body.decode())["RoleArn"]
                content = _KEY.sub(f"<AccessKeyId>{role.split(':')[4]}<".encode(), content)
            return response.status, response.getheaders(), content
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, *, kind: str = "") -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() == "date":
                self.send_header(name, self._date(value))
            elif name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", length)
        self.end_headers()
        if kind == "truncated":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif kind == "trickling":
            self._trickle(content)
        elif self.command != "HEAD":
            self.wfile.write(content)

    def _trickle(self, content: bytes) -> None:
        size = max(1, -(-len(content) // _PIECES))
        for start in range(0, len(content), size):
            self.wfile.write(content[start : start + size])
            self.wfile.flush()
            time.sleep(_PAUSE_SECONDS)

    def _date(self, said: str) -> str:
        return format_datetime(parsedate_to_datetime(said) + timedelta(seconds=self.server.line.later), usegmt=True)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 - named by the base class

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
        """Suppress the request log."""


@contextmanager
def bad_line(url: str) -> Iterator[Line]:
    """Serve *url* through a proxy, which initially forwards everything."""
    line = Line()
    server = Proxy(urlsplit(url).netloc, line)
    line.url = f"http://{server.own}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield line
    finally:
        line.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
