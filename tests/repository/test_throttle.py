"""Test the slow network line for measuring deployments: its rate and its counters."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from benchmarks.throttle import Link, RequestCounter, Throttle
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

BURST_BYTES = 1 << 16
REQUESTS = (
    b"PUT /2015-03-31/functions/orders/code HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nGET / HTTP\r\n",
    b"POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4;x=y\r\n\r\n\r\n\r\n1\r\na\r\n0\r\nTrailer: t\r\n\r\n",
    b"PUT /d HTTP/1.1\r\nCONTENT-LENGTH: 0\r\nX-Content-Length: 7\r\n\r\n",
    b"HEAD /e HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
)


class Clock:
    """A clock that advances only by calls of `sleep`."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Server(ThreadingHTTPServer):
    """Respond with the number of received bytes, on persistent connections."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Discard errors of closed connections."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        body = str(size).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Discard the access log."""


@pytest.fixture
def server_port() -> Iterator[int]:
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()
    thread.join()


def link(clock: Clock, rate: float) -> Link:
    return Link(bytes_per_second=rate, clock=clock, sleep=clock.sleep)


@settings(max_examples=50)
@given(st.lists(st.integers(min_value=1, max_value=1 << 18), min_size=1), st.integers(min_value=1_000, max_value=10**8))
def test_a_link_carries_no_more_than_its_rate(sizes: list[int], rate: int) -> None:
    """Bytes beyond one bucket need the time that the rate implies, in pieces of any size."""
    clock = Clock()
    line = link(clock, rate)
    for size in sizes:
        line.carry(size)

    assert max(0, sum(sizes) - BURST_BYTES) / rate == pytest.approx(clock.now - 100, abs=1e-6)
    assert sum(sizes) == line.carried_bytes


def test_a_link_does_not_save_up_what_nobody_used() -> None:
    """After a pause, one bucket of bytes passes at once, not more."""
    clock = Clock()
    line = link(clock, 1_000)
    clock.now += 3_600
    line.carry(BURST_BYTES + 5_000)

    assert 5 == pytest.approx(clock.now - 3_700)


@settings(max_examples=50)
@given(st.lists(st.sampled_from(REQUESTS), max_size=6), st.lists(st.integers(min_value=1, max_value=90), min_size=1))
def test_requests_are_counted_in_whatever_pieces_they_come(sent: list[bytes], sizes: list[int]) -> None:
    """Requests are counted without parsing their bodies, with a length or chunked."""
    counter, data = RequestCounter(), b"".join(sent)
    while data:
        size = sizes[len(data) % len(sizes)]
        counter.feed(data[:size])
        data = data[size:]

    assert len(sent) == counter.requests
    assert sent.count(REQUESTS[0]) == counter.lambda_requests


def test_a_line_passes_everything_and_counts_it(server_port: int) -> None:
    """A client notices only the slower rate; connections persist, and both directions are counted."""
    bodies = [b"x" * size for size in (0, 1, 150_000)]
    with Throttle(server_port, bits_per_second=4_000_000) as line:
        connection = http.client.HTTPConnection("127.0.0.1", line.port, timeout=30)
        begun = time.monotonic()
        answers = []
        for body in bodies:
            connection.request("PUT", "/", body=body)
            answers.append(connection.getresponse().read())
        seconds = time.monotonic() - begun
        reading = line.reading()
        connection.close()

    assert [b"0", b"1", b"150000"] == answers
    assert 3 == reading.requests
    assert 150_001 < reading.sent_bytes < 151_000
    assert 7 < reading.received_bytes < 1_000
    # The transfer is never faster than the line; how much slower depends on the machine.
    assert seconds > (reading.sent_bytes - BURST_BYTES) / 500_000


def test_a_line_waits_for_the_servers_word(server_port: int) -> None:
    """A client that sends `Expect: 100-continue` receives the response before it sends the body."""
    head = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    with (
        Throttle(server_port, bits_per_second=20_000_000) as line,
        socket.create_connection(("127.0.0.1", line.port), timeout=30) as client,
    ):
        client.sendall(head)
        first = client.recv(1_000)
        client.sendall(b"12345")
        rest = b"".join(iter(lambda: client.recv(1_000), b""))
        reading = line.reading()

    assert b"HTTP/1.1 100 Continue\r\n\r\n" == first
    assert rest.endswith(b"\r\n\r\n5")
    assert (len(head) + 5, len(first) + len(rest), 1) == (
        reading.sent_bytes,
        reading.received_bytes,
        reading.requests,
    )


def test_a_line_to_nowhere_is_closed() -> None:
    """If no server listens, the client's connection is closed, and the line stops without an error."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = int(unused.getsockname()[1])
        with (
            Throttle(port, bits_per_second=8_000) as line,
            socket.create_connection(("127.0.0.1", line.port), timeout=30) as client,
        ):
            answer = client.recv(10)

    assert b"" == answer


def test_a_line_ends_with_connections_open(server_port: int) -> None:
    """Open connections do not prevent the line from stopping."""
    with Throttle(server_port, bits_per_second=20_000_000) as line:
        client = socket.create_connection(("127.0.0.1", line.port), timeout=30)
        client.sendall(b"PUT / HTTP/1.1\r\nContent-Length: 1\r\n\r\n1")
        client.recv(1_000)
    with client:
        rest = b"".join(iter(lambda: client.recv(1_000), b""))

    assert rest in (b"", b"1")
