"""
A proxy that simulates a slow line to a server on this machine: it limits the rate, and counts bytes and requests.

The proxy parses HTTP only to find the end of each request. So persistent connections, chunked bodies and ``Expect: 100-continue`` work
unchanged. It limits the bandwidth only and adds no latency.
"""

from __future__ import annotations

import re
import socket
import socketserver
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from benchmarks.values import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Link", "RequestCounter", "Throttle"]

_HOST = "127.0.0.1"
_CHUNK_BYTES = 1 << 14
_BURST_BYTES = 1 << 16
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d+)[ \t]*\r$")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding:.*\bchunked[ \t]*\r$")
# The paths of Lambda's API begin with the date of a version.
_LAMBDA = re.compile(rb"\s*[A-Z]+ /20[0-9]{2}-[0-9]{2}-[0-9]{2}/")


class Link:
    """One direction of a line, shared by all connections: a token bucket that limits the rate."""

    def __init__(
        self,
        *,
        bytes_per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start with a full bucket."""
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._paid_until = clock() - _BURST_BYTES / bytes_per_second
        self.carried_bytes = 0

    def carry(self, size: int) -> None:
        """Block until *size* more bytes have passed the line."""
        with self._lock:
            now = self._clock()
            # Unused bandwidth is kept only up to one bucket.
            self._paid_until = max(self._paid_until, now - _BURST_BYTES / self._rate) + size / self._rate
            wait = self._paid_until - now
            self.carried_bytes += size
        if wait > 0:
            self._sleep(wait)


class RequestCounter:
    """Counts the requests of one connection in its bytes, which may be split at any point."""

    def __init__(self) -> None:
        """Start before the first request."""
        self.requests = 0
        self.lambda_requests = 0
        """The requests to the API of Lambda, whose rate AWS limits."""
        self._buffer = bytearray()
        self._body_bytes = 0
        self._read: Callable[[], bool] = self._head

    def feed(self, data: bytes) -> None:
        """Process the next bytes from the client."""
        self._buffer += data
        while self._skip() and self._read():
            pass

    def _skip(self) -> bool:
        """Skip the current body's bytes in the buffer, and return whether the buffer has bytes after them."""
        skipped = min(self._body_bytes, len(self._buffer))
        del self._buffer[:skipped]
        self._body_bytes -= skipped
        return bool(self._buffer)

    def _head(self) -> bool:
        head = self._upto(b"\r\n\r\n")
        if head is None:
            return False
        self.requests += 1
        self.lambda_requests += _LAMBDA.match(head) is not None
        if _CHUNKED.search(head):
            self._read = self._chunk
        elif length := _LENGTH.search(head):
            self._body_bytes = int(length[1])
        return True

    def _chunk(self) -> bool:
        line = self._upto(b"\r\n")
        if line is None:
            return False
        size = int(line.partition(b";")[0], 16)
        if size:
            self._body_bytes = size + len(b"\r\n")
        else:
            self._read = self._trailer
        return True

    def _trailer(self) -> bool:
        line = self._upto(b"\r\n")
        if line == b"\r\n":
            self._read = self._head
        return line is not None

    def _upto(self, end: bytes) -> bytes | None:
        """Remove and return the buffer's bytes up to and including *end*, or return ``None`` if *end* has not arrived yet."""
        found = self._buffer.find(end)
        if found < 0:
            return None
        taken = bytes(self._buffer[: found + len(end)])
        del self._buffer[: len(taken)]
        return taken


class Throttle:
    """
    The slow line: a proxy on a free port of loopback.

    Use it as a context manager; on exit, it closes all connections.
    """

    def __init__(self, upstream_port: int, *, bits_per_second: float) -> None:
        """Forward to *upstream_port* of loopback, with *bits_per_second* in each direction."""
        self.upstream_port = upstream_port
        """The server's port. A change applies to new connections only."""
        self.up = Link(bytes_per_second=bits_per_second / 8)
        self.down = Link(bytes_per_second=bits_per_second / 8)
        self._lock = threading.Lock()
        self._requests = self._lambda_requests = 0
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return int(self._server.server_address[1])

    def reading(self) -> Traffic:
        """Return the traffic since the start of the proxy."""
        with self._lock:
            return Traffic(
                sent_bytes=self.up.carried_bytes,
                received_bytes=self.down.carried_bytes,
                requests=self._requests,
                lambda_requests=self._lambda_requests,
            )

    def serve(self, client: socket.socket) -> None:
        """Forward bytes between *client* and the server until both have closed the connection."""
        try:
            server = socket.create_connection((_HOST, self.upstream_port))
        except OSError:
            return  # The client sees its connection closed, as it would if no server were listening.
        with server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            counter = RequestCounter()
            back = threading.Thread(target=_pump, args=(server, client, self.down, lambda _: None))
            back.start()
            _pump(client, server, self.up, lambda data: self._count(counter, data))
            back.join()

    def _count(self, counter: RequestCounter, data: bytes) -> None:
        before, lambda_before = counter.requests, counter.lambda_requests
        counter.feed(data)
        with self._lock:
            self._requests += counter.requests - before
            self._lambda_requests += counter.lambda_requests - lambda_before

    def __enter__(self) -> Self:
        """Start the proxy in a thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections, and stop the proxy."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _pump(source: socket.socket, sink: socket.socket, link: Link, look: Callable[[bytes], None]) -> None:
    try:
        while data := source.recv(_CHUNK_BYTES):
            look(data)
            link.carry(len(data))
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # If one side has closed the connection, close it in both directions.
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, throttle: Throttle) -> None:
        super().__init__((_HOST, 0), _Handler)
        self.throttle = throttle
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()

    def serve_client(self, client: socket.socket) -> None:
        with self._guard:
            self._open.add(client)
        try:
            self.throttle.serve(client)
        finally:
            with self._guard:
                self._open.discard(client)

    def server_close(self) -> None:
        with self._guard:
            for client in self._open:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
        super().server_close()


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.server.serve_client(self.request)
