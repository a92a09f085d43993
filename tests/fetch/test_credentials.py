from __future__ import annotations

import base64
import traceback
from typing import TYPE_CHECKING

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.credentials import SimpleCredential

from lamina.core.errors import AccessDeniedError, ConfigError, DownloadError, LaminaError
from lamina.fetch.credentials import Credentials, Login
from lamina.fetch.index import PackageIndex
from lamina.fetch.provider import fetch
from locking import TARGET
from loopback import IndexServer
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.core.store import Store

TOKEN = "t0ken/with:odd@letters"
USERS = {"user": TOKEN, "other": "another"}


@pytest.fixture
def private(server: IndexServer) -> Iterator[IndexServer]:
    """Start a server with the same files that requires a login."""
    with IndexServer(server.directory, users=USERS) as private:
        yield private


class FakeKeyring(KeyringBackend):
    """A keyring with one login, which records its queries."""

    priority = 1

    def __init__(self, service: str, username: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = (service, username)
        self.asked: list[tuple[str, str | None]] = []

    def get_credential(self, service: str, username: str | None) -> SimpleCredential | None:
        self.asked.append((service, username))
        return SimpleCredential(self.known[1], TOKEN) if service == self.known[0] else None

    def get_password(self, service: str, username: str) -> None:
        raise AssertionError(service, username)

    def set_password(self, service: str, username: str, password: str) -> None:
        raise AssertionError(service, username)


@pytest.fixture
def keyrings() -> Iterator[None]:
    before = keyring.get_keyring()
    yield
    keyring.set_keyring(before)


def get(path: Path, server: IndexServer, index: PackageIndex, store: Store) -> None:
    """Look up *path* in the index, and download it."""
    pin = server.pin(path)
    index.files(pin.name, pin.version, {pin.sha256}, None, target=TARGET)
    fetch([pin], store, index=index)
    index.client.close()


def users(server: IndexServer) -> list[str | None]:
    return [request.user for request in server.requests]


def test_from_the_url(private: IndexServer, store: Store, tmp_path: Path) -> None:
    """The userinfo of an index URL is sent to the index and for its files, without a denied request first."""
    url = f"http://user:t0ken%2Fwith%3Aodd%40letters@127.0.0.1:{private.port}/simple"
    get(make_wheel(private.directory, "a", "1.0"), private, PackageIndex(tmp_path, store, index_url=url), store)

    assert users(private) == ["user", "user"]


def test_from_the_environment(
    private: IndexServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named index uses the login in the variables with its name."""
    monkeypatch.setenv("UV_INDEX", f"my-own.index={private.simple}")
    monkeypatch.setenv("UV_DEFAULT_INDEX", private.simple)
    monkeypatch.setenv("UV_INDEX_MY_OWN_INDEX_USERNAME", "user")
    monkeypatch.setenv("UV_INDEX_MY_OWN_INDEX_PASSWORD", TOKEN)
    get(make_wheel(private.directory, "a", "1.0"), private, PackageIndex(tmp_path, store), store)

    assert users(private) == ["user", "user"]


@pytest.mark.parametrize("name", ["home/.netrc", "elsewhere"])
def test_from_netrc(
    private: IndexServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Logins are read by host from a netrc file, in the home directory or named by ``NETRC``."""
    (tmp_path / name).write_text(f"machine 127.0.0.1 login user password {TOKEN}\n")
    if name == "elsewhere":
        monkeypatch.setenv("NETRC", str(tmp_path / name))
    get(
        make_wheel(private.directory, "a", "1.0"),
        private,
        PackageIndex(tmp_path, store, index_url=private.simple),
        store,
    )

    assert users(private) == ["user", "user"]


@pytest.mark.usefixtures("keyrings")
@pytest.mark.parametrize("service", ["{simple}", "{url}", "127.0.0.1:{port}"])
def test_from_keyring(private: IndexServer, store: Store, tmp_path: Path, service: str) -> None:
    """After a denied request, keyring is queried once, for the index's URL and then for its host."""
    backend = FakeKeyring(service.format(simple=private.simple, url=private.url, port=private.port), "user")
    keyring.set_keyring(backend)
    index = PackageIndex(tmp_path, store, index_url=private.simple)
    get(make_wheel(private.directory, "a", "1.0"), private, index, store)
    services = [asked for asked, _ in backend.asked]

    assert len(services) == len(set(services))
    assert users(private) == [None, "user", "user"]


@pytest.mark.usefixtures("keyrings")
def test_user_name_in_the_url_and_password_in_keyring(private: IndexServer, store: Store, tmp_path: Path) -> None:
    """A user name in the URL selects the password in keyring."""
    backend = FakeKeyring(private.simple, "user")
    keyring.set_keyring(backend)
    index = PackageIndex(tmp_path, store, index_url=private.simple.replace("://", "://user@"))
    get(make_wheel(private.directory, "a", "1.0"), private, index, store)

    assert backend.asked == [(private.simple, "user")]
    assert users(private) == [None, "user", "user"]


def test_order(home: Path) -> None:
    """Userinfo in the URL wins over variables, and variables win over netrc."""
    (home / ".netrc").write_text("machine index.example login netrc password x\n")
    named = [Login(url="https://index.example/named/simple", user="named", password="x")]
    credentials = Credentials(named)
    before = credentials.known("https://index.example/simple/a")
    without = Credentials().known("https://index.example/simple/a")
    credentials.learn("https://in-url:x@index.example/simple", index=True)
    after = credentials.known("https://index.example/simple/a")

    assert ["named", "netrc", "in-url"] == [login and login.user for login in (before, without, after)]


def test_closest_index_of_a_host() -> None:
    """Two indexes on one host each use their own login, and files elsewhere on the host use the first."""
    credentials = Credentials()
    credentials.learn("https://one:x@index.example/first/simple")
    credentials.learn("https://two:x@index.example/second/simple")
    urls = ("first/simple/a/", "second/simple/a/", "second/files/a.whl", "files/a.whl")
    found = [credentials.known(f"https://index.example/{url}") for url in urls]

    assert ["one", "two", "two", "one"] == [login and login.user for login in found]


@pytest.mark.parametrize(
    "url",
    [
        "http://index.example/simple",
        "https://index.example:8443/simple",
        "https://files.index.example/simple",
        "https://index.example.evil.example/simple",
    ],
)
def test_belongs_to_scheme_host_and_port(url: str) -> None:
    """A login is sent only to the exact scheme, host and port that it is configured for."""
    credentials = Credentials()
    credentials.learn("https://user:password@index.example/simple")

    assert credentials.known(url) is None


def test_default_entry_of_netrc(home: Path) -> None:
    """The default entry of netrc is never sent, because a redirect can lead to any host."""
    (home / ".netrc").write_text("default login user password secret\n")

    assert Credentials().known("https://index.example/simple") is None


def test_damaged_netrc(home: Path) -> None:
    """The error names an invalid netrc file, but does not quote it."""
    (home / ".netrc").write_text(f"machine index.example login user passwd {TOKEN}\n")
    with pytest.raises(ConfigError) as caught:
        Credentials().known("https://index.example/simple")

    assert str(caught.value) == f"`{home / '.netrc'}` is not a valid netrc file: error in line 1"
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_netrc_that_is_not_utf_8(home: Path) -> None:
    """The error says that a netrc file is not UTF-8, but does not quote it."""
    (home / ".netrc").write_bytes(f"machine index.example login us\xe9r password {TOKEN}\n".encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        Credentials().known("https://index.example/simple")

    assert str(caught.value) == f"`{home / '.netrc'}` is not valid UTF-8 at byte 30: save it as UTF-8"
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_each_host_gets_its_own(server: IndexServer, private: IndexServer, store: Store, tmp_path: Path) -> None:
    """Each of two indexes receives its own login, and the public one receives none."""
    path = make_wheel(server.directory, "a", "1.0")
    with IndexServer(server.directory, users={"third": "x"}) as third:
        urls = [private.simple.replace("://", "://other:another@"), third.with_credentials(third.simple, "third")]
        index = PackageIndex(tmp_path, store, index_url=server.simple, extra_index_urls=urls)
        index.files("unknown", "1.0", {"0" * 64}, None, target=TARGET)
        for each in (private, third, server):
            fetch([each.pin(path)], store, index=index)
            admitted = store.wheel(each.pin(path).sha256)
            assert admitted is not None
            admitted.unlink()
        index.client.close()

        assert [["other"] * 2, ["third"] * 2, [None] * 2] == [users(each) for each in (private, third, server)]


def test_redirect_to_another_host(server: IndexServer, private: IndexServer, store: Store, tmp_path: Path) -> None:
    """A redirect to another host is followed without the first host's credentials."""
    path = make_wheel(server.directory, "a", "1.0")
    private.behaviour.redirect[path.name] = server.file_url(path.name)
    index = PackageIndex(tmp_path, store, index_url=private.simple.replace("://", "://other:another@"))
    get(path, private, index, store)

    assert users(private) == ["other", "other"]
    assert [(request.path, request.user) for request in server.requests] == [(f"/files/{path.name}", None)]


def test_redirect_to_a_host_with_a_login(
    server: IndexServer, private: IndexServer, store: Store, tmp_path: Path
) -> None:
    """A redirect to a host with its own login uses that login, not the userinfo in the redirect."""
    path = make_wheel(server.directory, "a", "1.0")
    server.behaviour.redirect[path.name] = private.file_url(path.name).replace("://", "://evil:evil@")
    urls = [private.simple.replace("://", "://other:another@")]
    index = PackageIndex(tmp_path, store, index_url=server.simple, extra_index_urls=urls)
    fetch([server.pin(path)], store, index=index)
    index.client.close()

    assert [users(server), users(private)] == [[None], ["other"]]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_redirect_to_another_kind_of_place(server: IndexServer, store: Store, index: PackageIndex, target: str) -> None:
    """A redirect to a URL that is not HTTP or HTTPS raises an error."""
    path = make_wheel(server.directory, "a", "1.0")
    server.behaviour.redirect[path.name] = target
    with pytest.raises(DownloadError) as caught:
        fetch([server.pin(path)], store, index=index)

    assert str(caught.value) == f"the server redirects to `{target}`, but lamina supports only HTTP and HTTPS"


def test_redirect_without_end(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """An endless redirect raises an error."""
    path = make_wheel(server.directory, "a", "1.0")
    server.behaviour.redirect[path.name] = server.file_url(path.name)
    with pytest.raises(DownloadError) as caught:
        fetch([server.pin(path)], store, index=index)

    assert str(caught.value) == f"the server redirects more than 10 times, last to `{server.file_url(path.name)}`"


def test_no_secret_gets_out(
    private: IndexServer,
    store: Store,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No password appears in the store, the output, a log, an error or a ``repr``, whether requests succeed or fail."""
    caplog.set_level(0)
    good, wrong, gone, busy = (make_wheel(private.directory, name, "1.0") for name in ("a", "b", "c", "d"))
    pins = [private.pin(path) for path in (good, wrong, gone, busy)]
    gone.unlink()
    private.behaviour.replace[wrong.name] = b"wrong"
    private.behaviour.refuse[busy.name] = [503] * 20
    private.behaviour.refuse["d"] = [403]
    url = f"http://user:t0ken%2Fwith%3Aodd%40letters@127.0.0.1:{private.port}/simple"
    index = PackageIndex(tmp_path, store, index_url=url, backoff=0.0)
    found = index.files("a", "1.0", {pins[0].sha256}, None, target=TARGET)
    errors: list[LaminaError] = []
    for pin in pins:
        try:
            fetch([pin], store, index=index)
        except LaminaError as error:
            errors.append(error)
    with pytest.raises(LaminaError) as together:
        fetch(pins, store, index=index)
    with pytest.raises(AccessDeniedError) as denied:
        index.files("d", "1.0", {pins[3].sha256}, url, target=TARGET)
    index.client.close()
    login = index.credentials.known(private.simple)
    assert login is not None
    captured = capfd.readouterr()
    said = [
        *(f"{error}{error.hint}" for error in (*errors, together.value, denied.value)),
        *("".join(traceback.format_exception(error)) for error in (*errors, together.value, denied.value)),
        repr((index, index.client, index.credentials, index._settings, login, found, pins)),
        captured.out,
        captured.err,
        caplog.text,
        *(path.read_bytes().decode("latin-1") for path in store.root.rglob("*") if path.is_file()),
        *(str(path) for path in store.root.rglob("*")),
    ]
    secrets = [TOKEN, "t0ken", base64.b64encode(f"user:{TOKEN}".encode()).decode(), "t0ken%2Fwith"]

    assert len(errors) == 3
    assert [] == [(secret, text) for secret in secrets for text in said if secret in text]
    assert users(private)[0] == "user"
