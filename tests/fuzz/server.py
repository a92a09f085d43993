"""
Serve files as raw HTTP responses on loopback: an index and a bucket that can say anything.

The response to a request is the file that is named like its path, with ``!`` in place of ``/``. What is put is served from then on.
Run as a program with a directory as its argument; it prints its port.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit


def response(content: bytes, kind: str = "application/octet-stream") -> bytes:
    """Return a response with *content* of the media type *kind*."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    return head.encode() + content


def name_of(path: str) -> str:
    """Return the name of the file with the response for the URL path *path*."""
    return unquote(urlsplit(path).path).strip("/").replace("/", "!")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    directory: ClassVar[Path]

    def do_GET(self) -> None:
        self.close_connection = True
        path = self.directory / name_of(self.path)
        missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self.wfile.write(path.read_bytes() if path.is_file() else missing)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / name_of(self.path)).write_bytes(response(content))
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def do_HEAD(self) -> None:
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that breaks off."""


if __name__ == "__main__":
    _Handler.directory = Path(sys.argv[1])
    with _Server(("127.0.0.1", 0), _Handler) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()
