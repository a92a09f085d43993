"""Whatever a server, a page, a lock or a proxy variable says is an error of lamina, or is passed over; nothing hangs."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import ConfigError, DownloadError, FetchError
from lamina.core.values import Pin, Sha256
from lamina.fetch import responses
from lamina.fetch.index import PackageIndex
from lamina.fetch.provider import fetch
from lamina.fetch.ranges import fetch_tails
from locking import TARGET
from wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.store import Store
    from loopback import IndexServer

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
RESPONSES = {
    "nothing": b"",
    "HTTP/0.9": b"<html></html>",
    "binary": bytes(range(256)) * 4,
    "end in the status line": b"HTTP/1.1 20",
    "end in the headers": OK + b"Content-Le",
    "end in the body": OK + b"Content-Length: 100\r\n\r\n<a href=x>",
    "no valid status": b"HTTP/1.1 abc OK\r\n\r\n",
    "status out of range": b"HTTP/1.1 99999 OK\r\n\r\n",
    "another version": b"HTTP/9.9 200 OK\r\n\r\n",
    "interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000,
    "interim response with headers": b"HTTP/1.1 100 Continue\r\n" + b"a: b\r\n" * 2_000,
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "many headers": OK + b"a: b\r\n" * 2_000 + b"\r\n",
    "long header": OK + b"a: " + b"b" * 70_000 + b"\r\n\r\n",
    "headers that are none": OK + b"\0\xff\r\n :\r\n\r\n",
    "negative length": OK + b"Content-Length: -5\r\n\r\n",
    "length that is none": OK + b"Content-Length: abc\r\n\r\n",
    "length of many digits": OK + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "chunk without size": CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
    "chunk of negative size": CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n",
    "chunk too short": CHUNKED + b"ffffffffffffffff\r\nabc\r\n",
    "chunk with a long size": CHUNKED + b"0" * 1_000_000,
    "chunk with a long extension": CHUNKED + b"1;" + b"x" * 1_000_000,
    "trailers": CHUNKED + b"0\r\n" + b"a: b\r\n" * 20_000,
    "no last chunk": CHUNKED + b"3\r\nabc\r\n",
    "partial content": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/" + b"9" * 5_000 + b"\r\n\r\nabcde",
    "range that is none": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes \xb2-\xb3/\xb9\r\n\r\nabcde",
    "gzip that is none": OK + b"Content-Encoding: gzip\r\n\r\n<a href=x>",
    "half gzip": OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "unknown encoding": OK + b"Content-Encoding: br, zstd\r\n\r\n<a href=x>",
    "denied without a scheme": b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: \xff\r\n\r\n",
    "redirect to nowhere": b"HTTP/1.1 302 Found\r\nLocation: \r\n\r\n",
    "redirect without a place": b"HTTP/1.1 302 Found\r\n\r\n",
}
URLS = [
    "http://[",
    "http://[::1",
    "http://user:hunter2@[::1/x",
    "http://127.0.0.1:70000/x",
    "http://127.0.0.1:-1/x",
    "http://127.0.0.1:hunter2/x",
    "http://",
    "http://.../x",
    f"http://{'a' * 300}/x",
    "http://\u2100/x",
    "https:x",
    "ftp://127.0.0.1/x",
    "file:///etc/passwd",
    "javascript:x",
]


@pytest.fixture(params=list(RESPONSES.values()), ids=list(RESPONSES))
def response(request: pytest.FixtureRequest) -> bytes:
    content: bytes = request.param
    return content


def page_says(index: PackageIndex, name: str = "a") -> str:
    """Return the error about the page of *name*; empty if the page is read, and lists nothing."""
    try:
        found = index.files(name, "1.0", {"0" * 64}, None, target=TARGET)
    except FetchError as error:
        return str(error)
    return str(found) if found else ""


def test_file(server: IndexServer, store: Store, index: PackageIndex, response: bytes) -> None:
    """A file with an invalid response cannot be downloaded, and nothing is left of it."""
    pin = server.pin(make_wheel(server.directory, "a", "1.0"))
    server.behaviour.raw[pin.filename] = response
    with pytest.raises(FetchError) as caught:
        fetch([pin], store, index=index)

    assert pin.filename in str(caught.value)
    assert None is store.wheel(pin.sha256)


def test_page(server: IndexServer, index: PackageIndex, response: bytes) -> None:
    """A page with an invalid response is an error that names it, or a page without files."""
    server.behaviour.raw["a"] = response
    said = page_says(index)

    assert "" == said or f"`{server.simple}/a/`" in said or f"`{server.simple}/`" in said


def test_end_of_a_file(server: IndexServer, index: PackageIndex, response: bytes) -> None:
    """The end of a file with an invalid response is unknown to the plan, or what the server says it is."""
    pin = server.pin(make_wheel(server.directory, "a", "1.0"))
    server.behaviour.raw[pin.filename] = response
    (tail,) = fetch_tails([pin], index, reach=lambda tail: tail.start)

    assert tail is None or tail.total >= 0


@pytest.mark.parametrize("url", URLS)
def test_redirect(server: IndexServer, store: Store, index: PackageIndex, url: str) -> None:
    """A redirect to an invalid URL is an error for files and pages, without a password in it."""
    pin = server.pin(make_wheel(server.directory, "a", "1.0"))
    location = url.encode("latin-1", "replace")
    server.behaviour.raw[pin.filename] = server.behaviour.raw["a"] = (
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
    )
    with pytest.raises(DownloadError) as caught:
        fetch([pin], store, index=index)
    said = page_says(index)

    assert "" != said
    assert "hunter2" not in said + str(caught.value) + str(caught.value.hint)


def test_endless_redirects(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """The number of redirects is limited."""
    pin = server.pin(make_wheel(server.directory, "a", "1.0"))
    server.behaviour.redirect[pin.filename] = server.file_url(pin.filename)
    with pytest.raises(DownloadError, match="redirects more than 10 times"):
        fetch([pin], store, index=index)


@pytest.mark.parametrize(
    "value",
    ["-5", "", "soon", "Mon, 99 Foo 99999 99:99:99 GMT", "Mon, 01 Jan 99999 00:00:00 GMT", "0x10", "\xb2", "1e9"],
)
def test_retry_after(server: IndexServer, store: Store, index: PackageIndex, value: str) -> None:
    """A header that is not valid does not prevent the next attempt."""
    path = make_wheel(server.directory, "a", "1.0")
    server.behaviour.retry_after = value
    server.behaviour.refuse = {path.name: [503], "a": [503]}
    pin = server.pin(path)
    (found,) = index.files("a", "1.0", {pin.sha256}, None, target=TARGET)
    (wheel,) = fetch([pin], store, index=index)

    assert (path.name, path.read_bytes()) == (found.filename, wheel.path.read_bytes())


@pytest.mark.parametrize("url", [*URLS, "file:///\0", "\0", ""])
@pytest.mark.parametrize("html", [True, False])
def test_url_on_a_page(server: IndexServer, index: PackageIndex, url: str, html: bool) -> None:
    """A file with an invalid URL is left out of a page, and the others are found."""
    path = make_wheel(server.directory, "a", "1.0")
    sha256 = server.pin(path).sha256
    urls = {"0" * 64: url, sha256: server.file_url(path.name)}
    if html:
        page = "".join(f'<a href="{place}#sha256={digest}">x</a>' for digest, place in urls.items())
    else:
        rows = [{"filename": path.name, "url": place, "hashes": {"sha256": digest}} for digest, place in urls.items()]
        page = json.dumps({"files": rows})
    server.behaviour.pages["a"] = page.encode()
    found = index.files("a", "1.0", {sha256}, None, target=TARGET)

    assert [server.file_url(path.name)] == [file.url for file in found]


@pytest.mark.parametrize("url", [*URLS[:-2], "file:///\0", "/x", ""])
def test_url_in_a_lock(store: Store, index: PackageIndex, url: str) -> None:
    """A lock with an invalid URL is an error that names the file, without a password in it."""
    pin = Pin(name="a", version="1.0", filename="a-1.0-py3-none-any.whl", sha256=Sha256("0" * 64), url=url)
    with pytest.raises(FetchError) as caught:
        fetch([pin], store, index=index)

    assert (None,) == fetch_tails([replace(pin, url=url)], index, reach=lambda tail: tail.start) or url[:5] == "file:"
    assert "hunter2" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize(
    "proxy",
    ["http://user:hunter2@[::1", "http://user:hunter2@127.0.0.1:x", "socks5://127.0.0.1:1", "http://", "[", "ftp://x"],
)
@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
def test_invalid_proxy(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str, variable: str
) -> None:
    """An invalid proxy is an error that names the variables, without a password in it."""
    monkeypatch.setenv(variable, proxy)
    monkeypatch.setenv("no_proxy", "")
    index = PackageIndex(tmp_path, store, index_url="http://index.example/simple", backoff=0.0)
    with pytest.raises(ConfigError) as caught:
        index.files("a", "1.0", {"0" * 64}, None, target=TARGET)

    assert "the proxy for http is not a valid `http://` or `https://` URL" == str(caught.value)
    assert "`HTTP_PROXY` and `ALL_PROXY`" in str(caught.value.hint)
    assert "hunter2" not in str(caught.value.hint)


def test_password_of_a_proxy(
    server: IndexServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy's password may have any character."""
    monkeypatch.setenv("http_proxy", server.url.replace("://", "://user:%D0%BF%2F@"))
    monkeypatch.setenv("no_proxy", "")
    path = make_wheel(server.directory, "a", "1.0")
    index = PackageIndex(tmp_path, store, index_url="http://index.example/simple")
    (found,) = index.files("a", "1.0", {server.pin(path).sha256}, None, target=TARGET)
    index.client.close()

    assert path.name == found.filename


def test_response_that_arrives_byte_by_byte(
    server: IndexServer, store: Store, index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response is given up if it arrives too slowly, although each byte arrives in time."""
    monkeypatch.setattr(responses, "_PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(responses, "_SLOWEST_BYTES_PER_SECOND", 1e12)
    path = make_wheel(server.directory, "a", "1.0", {"a/x": os.urandom(200_000)}, stored={"a/x"})
    server.behaviour.seconds_per_chunk = 0.03
    with pytest.raises(DownloadError) as caught:
        fetch([server.pin(path)], store, index=index)

    assert str(caught.value).endswith(f"`{server.file_url(path.name)}`: the server did not respond in time")
