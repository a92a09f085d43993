"""The time limits of index pages count what the server needs, not what lamina does meanwhile."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from lamina.fetch.credentials import Credentials
from lamina.fetch.http import Client
from lamina.fetch.pages import Pages
from lamina.fetch.responses import PacedReader, ServerTime
from lamina.fetch.settings import IndexSource

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = b'<a href="demo-1.0-py3-none-any.whl">demo-1.0-py3-none-any.whl</a>'
PROJECTS = 12


class _Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class _Source(io.RawIOBase):
    """A source of which each read needs *seconds* of *clock* and returns *size* bytes."""

    def __init__(self, clock: _Clock, *, seconds: float, size: int) -> None:
        self.clock, self.seconds, self.size = clock, seconds, size

    def readinto(self, buffer: object, /) -> int:
        self.clock.now += self.seconds
        return self.size


def test_reader_does_not_count_the_time_between_its_reads() -> None:
    """A server is not too slow because lamina reads its response late."""
    clock = _Clock()
    reader = PacedReader(_Source(clock, seconds=0.1, size=10), ServerTime(clock))
    for _ in range(20):
        assert reader.readinto(bytearray(10)) == 10
        clock.now += 100


def test_reader_counts_the_time_of_its_reads() -> None:
    clock = _Clock()
    reader = PacedReader(_Source(clock, seconds=10, size=10), ServerTime(clock))
    for _ in range(7):
        reader.readinto(bytearray(10))
    with pytest.raises(TimeoutError, match="too slowly"):
        reader.readinto(bytearray(10))


class _Server(ThreadingHTTPServer):
    """A server that answers only when as many requests have come as it may see at once, or no more come."""

    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.guard = threading.Lock()
        self.open, self.most = 0, 0
        self.too_many = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        with self.server.guard:
            self.server.open += 1
            self.server.most = max(self.server.most, self.server.open)
            if self.server.most > 4:
                self.server.too_many.set()
        self.server.too_many.wait(0.1)
        with self.server.guard:
            self.server.open -= 1
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_pages_are_requested_only_when_they_can_be_read(server: _Server) -> None:
    """A response that waits unread looks like a slow server, so no more pages are requested than are read at once."""
    client = Client(Credentials())
    pages = Pages(lambda: client)
    source = IndexSource(url=f"http://127.0.0.1:{server.server_port}/simple")
    with ThreadPoolExecutor(PROJECTS) as pool:
        found = list(pool.map(lambda number: pages.filenames(source, f"project{number}"), range(PROJECTS)))
    client.close()
    assert found == [("demo-1.0-py3-none-any.whl",)] * PROJECTS
    assert server.most <= 4
