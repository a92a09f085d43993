from __future__ import annotations

import os
import ssl
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar

import pytest

from lamina.core.errors import DownloadError
from lamina.fetch import http
from lamina.fetch.credentials import Credentials, Login
from lamina.fetch.http import Client
from lamina.fetch.index import PackageIndex
from lamina.fetch.provider import fetch
from locking import TARGET
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.core.store import Store
    from loopback import IndexServer


def test_proxy_from_the_environment(
    server: IndexServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests use the proxy in the environment, except those to excluded hosts."""
    monkeypatch.setenv("http_proxy", server.url.replace("://", "://user:secret@"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    path = make_wheel(server.directory, "a", "1.0")
    index = PackageIndex(tmp_path, store, index_url="http://index.example/simple")
    (found,) = index.files("a", "1.0", {server.pin(path).sha256}, None, target=TARGET)
    (direct,) = fetch([server.pin(path)], store, index=index)
    index.client.close()

    assert found.url == f"http://index.example/files/{path.name}"
    assert path.read_bytes() == direct.path.read_bytes()
    assert [request.path for request in server.requests] == ["/simple/a/", f"/files/{path.name}"]


def test_proxy_that_is_not_there(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error states that the proxy connection failed, without the proxy's password."""
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    index = PackageIndex(tmp_path, store, index_url="http://index.example/simple", backoff=0.0)
    with pytest.raises(DownloadError) as caught:
        index.files("a", "1.0", {"0" * 64}, None, target=TARGET)

    assert str(caught.value) == (
        "could not download `http://index.example/simple/a/`: the connection through the proxy failed"
    )


def test_bundle_that_is_none(tmp_path: Path) -> None:
    """An unreadable certificate bundle raises an error, and no other bundle is used."""
    client = Client(Credentials(), certificates=tmp_path / "missing.pem")
    with pytest.raises(DownloadError) as caught, client.get("https://127.0.0.1:1/"):
        pass

    assert (
        str(caught.value)
        == f"cannot load the certificate bundle `{tmp_path / 'missing.pem'}`: No such file or directory"
    )


def test_certificate_that_is_not_trusted() -> None:
    """A server with an untrusted certificate raises an error at once, without a retry."""
    client = Client(Credentials(), backoff=0.0)
    from urllib3.exceptions import SSLError

    with pytest.raises(DownloadError) as caught:
        client.attempts("https://index.example/a?signature=x").pause(SSLError(ssl.SSLCertVerificationError()))

    assert str(caught.value) == "could not download `https://index.example/a`: the server's certificate is not trusted"
    assert (
        caught.value.hint
        == "set `SSL_CERT_FILE` to a certificate bundle that includes the server's certificate authority"
    )


def test_certificates_are_verified() -> None:
    """Connections verify the server's host name and certificate."""
    context = Client(Credentials())._trust()

    assert (True, ssl.CERT_REQUIRED) == (context.check_hostname, context.verify_mode)


def test_pauses_grow(server: IndexServer) -> None:
    """Each pause is longer than the one before, and the sixth failure is the last."""
    attempts = Client(Credentials(), backoff=0.5).attempts(server.url)
    pauses = [attempts.pause(OSError()) for _ in range(5)]
    with pytest.raises(DownloadError) as caught:
        attempts.pause(OSError())

    assert pauses == [0, 1.0, 2.0, 4.0, 8.0]
    assert str(caught.value) == f"could not download `{server.url}`: the connection was interrupted"


def test_credentials_do_not_leave_a_secure_place_for_an_insecure_one(home: Path) -> None:
    """A redirect from HTTPS to HTTP is followed without a login, even if netrc has one for that host."""
    (home / ".netrc").write_text("machine 127.0.0.1 login user password secret\n")
    sent: list[tuple[str, str | None]] = []

    class Recording(Client):
        def _request(self, url, headers, login):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            from urllib3 import HTTPResponse

            sent.append((url.partition(":")[0], login and login.user))
            moved = url.startswith("https")
            return HTTPResponse(
                status=302 if moved else 200,
                headers={"Location": "http://127.0.0.1:1/"} if moved else {},
                body=b"",
                preload_content=False,
            )

    with Recording(Credentials()).get("https://127.0.0.1:1/") as (response, url):
        status = response.status

    assert (200, "http://127.0.0.1:1/") == (status, url)
    assert sent == [("https", "user"), ("http", None)]


def test_large_bodies_are_not_held_in_memory(server: IndexServer, index: PackageIndex, store: Store) -> None:
    """A download needs memory for its chunks, not for the whole file."""
    import tracemalloc

    path = make_wheel(server.directory, "a", "1.0", {"a/x": os.urandom(20_000_000)}, stored={"a/x"})
    pin = server.pin(path)
    server.behaviour.chunked = True
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    fetch([pin], store, index=index)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # The server runs in this process, and has the file in memory once.
    assert peak - before < path.stat().st_size + 6_000_000


MOST_SENT_BYTES = 64_000_000


class _Keyring(Credentials):
    """Credentials with a login that is known only after a denied request."""

    def asked(self, url: str) -> Login:
        return Login(url=url, user="user", password="password")


class _Flood(BaseHTTPRequestHandler):
    """Answer the first request with a response of the test's and a body that ends only when the client leaves."""

    protocol_version = "HTTP/1.1"
    first: ClassVar[bytes]
    sent: ClassVar[list[int]]

    def do_GET(self) -> None:
        if self.path == "/end" or self.headers["Authorization"]:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend")
            return
        self.close_connection = True
        self.sent.append(0)
        self.wfile.write(self.first)
        with suppress(OSError):
            while self.sent[-1] < MOST_SENT_BYTES:
                self.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                self.sent[-1] += 0x10000

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Print nothing."""


@contextmanager
def flood(first: bytes) -> Iterator[tuple[str, list[int]]]:
    """Yield the URL of a server whose first response has the status and headers *first*, and the bytes sent of each endless body."""
    _Flood.first, _Flood.sent = first, []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Flood) as endless:
        thread = threading.Thread(target=endless.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{endless.server_address[1]}", _Flood.sent
        finally:
            endless.shutdown()
            thread.join()


@pytest.mark.parametrize("body", ["Content-Length: 999999999999", "Transfer-Encoding: chunked", "Connection: close"])
@pytest.mark.parametrize("status", ["302 Found", "401 Unauthorized", "403 Forbidden"])
def test_an_endless_body_without_use_is_not_read(status: str, body: str) -> None:
    """The body of a redirect, and of a response before the login, is not read if it may be long."""
    with flood(f"HTTP/1.1 {status}\r\nLocation: /end\r\n{body}\r\n\r\n".encode()) as (url, sent):
        client = Client(_Keyring(), backoff=0.0)
        with client.get(f"{url}/start") as (response, _):
            assert b"end" == response.read()
        client.close()

    assert 1 == len(sent)
    assert sent[0] < MOST_SENT_BYTES


def test_a_short_body_keeps_the_connection(server: IndexServer) -> None:
    """After a redirect with a short body, the connection is used again."""
    path = make_wheel(server.directory, "a", "1.0")
    server.behaviour.redirect["start"] = server.file_url(path.name)
    client = Client(Credentials(), backoff=0.0)
    with client.get(server.file_url("start")) as (response, url):
        assert (path.read_bytes(), server.file_url(path.name)) == (response.read(), url)
    pool = client._pool(url).connection_from_url(url)
    client.close()

    assert (1, 2) == (pool.num_connections, pool.num_requests)


def test_slow_redirects(server: IndexServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of all redirects together is limited."""
    monkeypatch.setattr(http, "_REDIRECT_SECONDS", 0.0)
    server.behaviour.redirect["start"] = server.file_url("end")
    client = Client(Credentials())
    with pytest.raises(DownloadError) as caught, client.get(server.file_url("start")):
        pass
    client.close()

    assert f"the server redirects for more than 0 seconds, last to `{server.file_url('end')}`" == str(caught.value)
