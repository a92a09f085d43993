"""
Replace the runtime client's compiled module ``runtime_client`` with Python code that sends HTTP requests to the Runtime API.

``awslambdaric`` consists of Python modules and this one C++ extension, which is built for one Python version and platform. With a
replacement in Python, the client that is installed next to lamina works for all targets.

This module uses sockets directly, because lamina measures the initialisation: it must not import modules that Lambda would not load.
"""

from __future__ import annotations

import _socket
import os

_TOKEN = "/2018-06-01/runtime"  # noqa: S105  # a path, not a secret
_CHUNK = 1 << 16

_agent = ""
_connection: _socket.socket | None = None


def initialize_client(user_agent: str) -> None:
    """Set the value of the ``User-Agent`` header."""
    global _agent  # noqa: PLW0603  # the interface is a module
    _agent = user_agent


def next() -> tuple[bytes, dict[str, str | int | None]]:  # noqa: A001  # the interface's own name
    """
    Wait for an event, and return its payload and the headers that the client reads.

    Raises `RuntimeError` if the Runtime API answers with a status other than 200.
    """
    status, headers, body = _exchange("GET", f"{_TOKEN}/invocation/next")
    if status != 200:
        raise RuntimeError("Failed to get next")
    found: dict[str, str | int | None] = {
        name: headers.get(name.lower()) or None
        for name in (
            "Lambda-Runtime-Aws-Request-Id",
            "Lambda-Runtime-Trace-Id",
            "Lambda-Runtime-Invoked-Function-Arn",
            "Lambda-Runtime-Client-Context",
            "Lambda-Runtime-Cognito-Identity",
            "Lambda-Runtime-Aws-Tenant-Id",
            "Lambda-Runtime-Invocation-Id",
            "Content-Type",
        )
    }
    found["Lambda-Runtime-Deadline-Ms"] = int(headers.get("lambda-runtime-deadline-ms", "0"))
    return body, found


def post_invocation_result(
    invoke_id: str, result_data: bytes, content_type: str, _invocation_id: str | None = None
) -> None:
    """Send the response to the event *invoke_id*. Raises `RuntimeError` if the Runtime API rejects it."""
    status, _, _ = _exchange(
        "POST", f"{_TOKEN}/invocation/{invoke_id}/response", result_data, {"Content-Type": content_type}
    )
    if status != 202:
        raise RuntimeError("Failed to post invocation response")


def post_error(invoke_id: str, error: str, _xray: str, _invocation_id: str | None = None) -> None:
    """Report that the event *invoke_id* failed. Raises `RuntimeError` if the Runtime API rejects the report."""
    headers = {"Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": "Unhandled"}
    status, _, _ = _exchange("POST", f"{_TOKEN}/invocation/{invoke_id}/error", error.encode(), headers)
    if status != 202:
        raise RuntimeError("Failed to post invocation error")


def _exchange(
    method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Send one request over the persistent connection, and return the response; reconnect once if the connection has been closed."""
    global _connection  # noqa: PLW0603  # one connection for the process's life, as libcurl keeps it
    lines = [f"{method} {path} HTTP/1.1", f"Host: {os.environ['AWS_LAMBDA_RUNTIME_API']}", f"User-Agent: {_agent}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    request = "\r\n".join(lines).encode("latin-1") + body
    if _connection is not None:
        try:
            _connection.sendall(request)
            return _receive(_connection)
        except OSError:
            _connection.close()
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].rpartition(":")
    _connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    _connection.connect((host, int(port)))
    _connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    _connection.sendall(request)
    return _receive(_connection)


def _receive(connection: _socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one response with a ``Content-Length`` header, and return its status, headers and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(_CHUNK)
        if not piece:
            raise OSError("the Runtime API closed the connection before the response was complete")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rows = head.decode("latin-1").split("\r\n")
    headers = {}
    for row in rows:
        name, _, value = row.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    pieces = [body]
    missing = length - len(body)
    while missing > 0:
        piece = connection.recv(_CHUNK)
        if not piece:
            raise OSError("the Runtime API closed the connection before the response was complete")
        pieces.append(piece)
        missing -= len(piece)
    return int(first.split(" ")[1]), headers, b"".join(pieces)
