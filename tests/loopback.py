"""
A package index on 127.0.0.1 that serves a directory, and fails on purpose when a test configures it to.

::

    with IndexServer(directory) as server:
        server.behaviour.refuse["a-1.0-py3-none-any.whl"] = [503, 503]
        ...
        assert 1 == len(server.requests_for("a-1.0-py3-none-any.whl"))

``<url>/simple/<project>/`` is the simple API (PEP 503 HTML, PEP 691 JSON), ``<url>/files/<name>`` are the files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

from lamina.core.values import Pin, Sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = ["Behaviour", "IndexServer", "Request"]

_JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request to the server."""

    method: str
    path: str
    range: str | None
    user: str | None
    """The user name in the request, with any password, or None without an ``Authorization`` header."""
    status: int


@dataclass(kw_only=True)
class Behaviour:
    """The server's failures, by file name or project. Counts decrease with every use."""

    drop_after: dict[str, list[int]] = field(default_factory=dict)
    """By file name: for each of the next responses, the number of body bytes before the connection closes."""
    refuse: dict[str, list[int]] = field(default_factory=dict)
    """By file or project name: the statuses of the next responses, such as ``[503, 503]``."""
    retry_after: str | None = None
    """The value of the ``Retry-After`` header of error responses."""
    replace: dict[str, bytes] = field(default_factory=dict)
    """By file name: other content to serve instead of the file."""
    append: dict[str, bytes] = field(default_factory=dict)
    """By file name: bytes to append to the file's content, included in the length header."""
    chunked: bool = False
    """Whether to send bodies in chunks, without a length header."""
    ranges: bool = True
    """Whether to support ``Range``. If false, the header is ignored, as HTTP allows."""
    range_status: int | None = None
    """The status of every response to a request with ``Range``; 206 comes with another range than requested."""
    pages: dict[str, bytes] = field(default_factory=dict)
    """By project: the HTML page to serve."""
    raw: dict[str, bytes] = field(default_factory=dict)
    """By file or project name: the bytes to send as the whole response, after which the connection closes."""
    redirect: dict[str, str] = field(default_factory=dict)
    """By file name: an absolute URL to redirect to."""
    seconds_per_chunk: float = 0.0
    """The delay before each 64 KiB of a body, in seconds."""
    html_only: bool = False
    """Whether the simple API serves no JSON."""
    hashes: bool = True
    """Whether the simple API includes hashes (and, in JSON, sizes)."""


class IndexServer:
    """Serve the files of *directory* on a free port. *users* maps names to passwords; if it is empty, no login is required."""

    def __init__(self, directory: Path, *, users: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.users = users or {}
        self.behaviour = Behaviour()
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.index = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The server's root URL, without credentials and without a final slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def simple(self) -> str:
        """The URL of the index."""
        return f"{self.url}/simple"

    def with_credentials(self, url: str, user: str) -> str:
        """Return *url* with the name and password of *user*."""
        return url.replace("://", f"://{user}:{self.users[user]}@", 1)

    def file_url(self, filename: str) -> str:
        return f"{self.url}/files/{filename}"

    def pin(self, path: Path, *, size: bool = True) -> Pin:
        """Return the pin of the file at *path*, as in a lock file with URLs. Without *size*, the pin has no size."""
        return Pin(
            name=_normalised(path.name),
            version=path.name.split("-")[1],
            filename=path.name,
            sha256=Sha256(_sha256(path)),
            url=self.file_url(path.name),
            size=path.stat().st_size if size else None,
        )

    def requests_for(self, name: str) -> list[Request]:
        """Return all requests so far with *name* as the last part of the path."""
        with self.lock:
            return [request for request in self.requests if request.path.rstrip("/").rsplit("/", 1)[-1] == name]

    def files(self, project: str | None = None) -> Iterator[Path]:
        for path in sorted(self.directory.iterdir()):
            if path.suffix in {".whl", ".gz", ".zip"} and (project is None or _normalised(path.name) == project):
                yield path

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    index: IndexServer
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        with self._guard:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        # Threads of kept-alive connections would otherwise never end.
        with self._guard:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
        super().server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing, because tests close connections and kill clients on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        index = self.server.index
        path = unquote(urlsplit(self.path).path)
        user = self._user()
        match path.strip("/").split("/"):
            case _ if index.users and not self._authorized():
                status, headers, body = HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": 'Basic realm="index"'}, b""
            case [*_, name] if statuses := index.behaviour.refuse.get(name):
                with index.lock:
                    status, headers, body = HTTPStatus(statuses.pop(0)), {}, b""
                if index.behaviour.retry_after is not None:
                    headers["Retry-After"] = index.behaviour.retry_after
            case [*_, name] if (response := index.behaviour.raw.get(name)) is not None:
                return self._send_raw(path, user, response)
            case [*_, name] if target := index.behaviour.redirect.get(name):
                status, headers, body = HTTPStatus.FOUND, {"Location": target}, b""
            case ["simple", project]:
                status, headers, body = self._project(project)
            case ["files", name]:
                status, headers, body = self._file(name)
            case _:
                status, headers, body = HTTPStatus.NOT_FOUND, {}, b""
        self._record(path, user, status.value)
        self._send(path.rsplit("/", 1)[-1], status, headers, body)
        return None

    def _record(self, path: str, user: str | None, status: int) -> None:
        entry = Request(method=self.command, path=path, range=self.headers.get("Range"), user=user, status=status)
        with self.server.index.lock:
            self.server.index.requests.append(entry)

    def _send_raw(self, path: str, user: str | None, response: bytes) -> None:
        self._record(path, user, 0)
        self.close_connection = True
        self.wfile.write(response)

    def _user(self) -> str | None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        return base64.b64decode(token).decode().partition(":")[0]

    def _authorized(self) -> bool:
        user = self._user()
        if user is None or user not in self.server.index.users:
            return False
        expected = base64.b64encode(f"{user}:{self.server.index.users[user]}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {expected}"

    def _project(self, project: str) -> tuple[HTTPStatus, dict[str, str], bytes]:
        index = self.server.index
        if (page := index.behaviour.pages.get(project)) is not None:
            return HTTPStatus.OK, {"Content-Type": "text/html"}, page
        files = list(index.files(project))
        if not files:
            return HTTPStatus.NOT_FOUND, {}, b""
        if _JSON in self.headers.get("Accept", "") and not index.behaviour.html_only:
            rows = []
            for path in files:
                row: dict[str, object] = {"filename": path.name, "url": f"../../files/{path.name}", "hashes": {}}
                if index.behaviour.hashes:
                    row |= {"hashes": {"sha256": _sha256(path)}, "size": path.stat().st_size}
                rows.append(row)
            document = {"meta": {"api-version": "1.1"}, "name": project, "files": rows, "versions": []}
            return HTTPStatus.OK, {"Content-Type": _JSON}, json.dumps(document).encode()
        lines = ["<!DOCTYPE html><html><body>"]
        for path in files:
            fragment = f"#sha256={_sha256(path)}" if index.behaviour.hashes else ""
            lines.append(f'<a href="../../files/{path.name}{fragment}">{path.name}</a><br/>')
        return HTTPStatus.OK, {"Content-Type": "text/html; charset=utf-8"}, "\n".join(lines).encode()

    def _file(self, name: str) -> tuple[HTTPStatus, dict[str, str], bytes]:
        behaviour = self.server.index.behaviour
        path = self.server.index.directory / name
        if not path.is_file():
            return HTTPStatus.NOT_FOUND, {}, b""
        body = behaviour.replace.get(name, path.read_bytes()) + behaviour.append.get(name, b"")
        headers = {"Content-Type": "application/octet-stream"}
        if not behaviour.ranges:
            return HTTPStatus.OK, headers, body
        headers["Accept-Ranges"] = "bytes"
        matched = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not matched or matched.groups() == ("", ""):
            return HTTPStatus.OK, headers, body
        first, last = matched.groups()
        start = int(first) if first else max(0, len(body) - int(last))
        if (status := behaviour.range_status) is not None:
            sent = {"Content-Range": f"bytes 1-{len(body) - 1}/{len(body)}"} if status == 206 else {}
            return HTTPStatus(status), headers | sent, body[1:] if sent else body
        stop = min(len(body), int(last) + 1) if first and last else len(body)
        if start >= stop:
            return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{len(body)}"}, b""
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
        return HTTPStatus.PARTIAL_CONTENT, headers, body[start:stop]

    def _send(self, name: str, status: HTTPStatus, headers: dict[str, str], body: bytes) -> None:
        behaviour = self.server.index.behaviour
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if behaviour.chunked and body:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        with self.server.index.lock:
            drops = behaviour.drop_after.get(name) if body else None
            limit = drops.pop(0) if drops else None
        for start in range(0, len(body), 1 << 16):
            if behaviour.seconds_per_chunk:
                time.sleep(behaviour.seconds_per_chunk)
            chunk = body[start : min(start + (1 << 16), len(body) if limit is None else limit)]
            if behaviour.chunked and chunk:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            else:
                self.wfile.write(chunk)
            self.wfile.flush()
            if limit is not None and start + (1 << 16) >= limit:
                self.close_connection = True
                return
        if behaviour.chunked and body:
            self.wfile.write(b"0\r\n\r\n")


def _normalised(filename: str) -> str:
    return re.sub(r"[-_.]+", "-", filename.split("-", maxsplit=1)[0]).lower()


def _sha256(path: Path) -> str:
    status = path.stat()
    return _sha256_of(path, status.st_mtime_ns, status.st_size)


@cache
def _sha256_of(path: Path, modified: int, size: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
