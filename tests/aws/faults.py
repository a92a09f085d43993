"""A proxy on loopback between botocore and an emulator: it fails one kind of request, once, before or after it has worked."""

from __future__ import annotations

import http.client
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

OPERATIONS = {
    ("PUT", "copied part"): "UploadPartCopy",
    ("PUT", "part"): "UploadPart",
    ("PUT", ""): "PutObject",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("GET", "uploads"): "ListMultipartUploads",
    ("DELETE", ""): "DeleteObject",
    ("HEAD", ""): "HeadObject",
}

FUNCTION_OPERATIONS = {
    ("POST", "", 2): "CreateFunction",
    ("GET", "", 3): "GetFunction",
    ("GET", "configuration", 4): "GetFunctionConfiguration",
    ("PUT", "code", 4): "UpdateFunctionCode",
    ("PUT", "configuration", 4): "UpdateFunctionConfiguration",
    ("POST", "versions", 4): "PublishVersion",
    ("POST", "aliases", 4): "CreateAlias",
    ("PUT", "aliases", 5): "UpdateAlias",
    ("GET", "aliases", 5): "GetAlias",
}
"""By method, what of a function is meant, and how many slashes the path has."""


@dataclass
class Fault:
    """Which request fails, and how; and how often it has."""

    operation: str = ""
    kind: str = ""
    """``500``, ``503``, ``dropped`` (before the service sees it) or ``unanswered`` (after it has done it)."""
    hits: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def strikes(self, operation: str) -> bool:
        with self.lock:
            if operation != self.operation or self.hits:
                return False
            self.hits += 1
            return True


def operation_of(method: str, path: str, headers: Message) -> str:
    """Return the operation that a request is, as far as publishing needs them."""
    parts = urlsplit(path)
    query = parse_qs(parts.query, keep_blank_values=True)
    if parts.path.startswith("/2018-10-31/layers"):
        if method == "POST":
            return "AddLayerVersionPermission" if parts.path.endswith("/policy") else "PublishLayerVersion"
        return "ListLayerVersions" if parts.path.endswith("/versions") else "GetLayerVersion"
    if parts.path.startswith("/2015-03-31/functions"):
        # /2015-03-31/functions, then NAME, then what of it, then which.
        return FUNCTION_OPERATIONS.get((method, "/".join(parts.path.split("/")[4:5]), parts.path.count("/")), method)
    if target := headers.get("X-Amz-Target"):
        return target.split(".")[-1]
    if "partNumber" in query:
        kind = "copied part" if "x-amz-copy-source" in headers else "part"
    else:
        kind = next((name for name in ("uploads", "uploadId") if name in query), "")
    return OPERATIONS.get((method, kind), f"{method} {kind}")


class Proxy(ThreadingHTTPServer):
    """Forwards to one host."""

    daemon_threads = True

    def __init__(self, host: str, fault: Fault) -> None:
        super().__init__(("127.0.0.1", 0), Forward)
        self.host = host
        self.fault = fault


class Forward(BaseHTTPRequestHandler):
    """Forwards one request after the other, or fails it."""

    server: Proxy
    protocol_version = "HTTP/1.1"
    # Headers and body leave in one packet, or the client's delayed acknowledgement holds up the second.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle_expect_100(self) -> bool:
        """Tell the client to go on now, not when the answer is flushed."""
        self.send_response_only(HTTPStatus.CONTINUE)
        self.end_headers()
        self.wfile.flush()
        return True

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation = operation_of(self.command, self.path, self.headers)
        kind = self.server.fault.kind if self.server.fault.strikes(operation) else ""
        if kind in {"500", "503"}:
            self._answer(int(kind), [], b"")
            return
        self.close_connection = kind in {"dropped", "unanswered"} or self.close_connection
        if kind == "dropped":
            return
        status, headers, content = self._forward(body)
        if kind != "unanswered":
            self._answer(status, headers, content)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.host, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 - named by the base class

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
        """Say nothing."""


@contextmanager
def faulty(url: str) -> Iterator[tuple[str, Fault]]:
    """Serve *url* through a proxy; give the proxy's address and its fault, which is none at first."""
    fault = Fault()
    server = Proxy(urlsplit(url).netloc, fault)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", fault
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
