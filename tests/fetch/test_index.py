from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import (
    AccessDeniedError,
    DownloadError,
    IndexLookupError,
    NoCompatibleWheelError,
    OfflineError,
)
from lamina.core.reporter import Silent
from lamina.core.values import Sha256
from lamina.fetch.index import PackageIndex
from lamina.fetch.pages import _parse
from lamina.lock.types import IndexFile, IndexFiles
from locking import TARGET
from loopback import IndexServer
from wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.store import Store


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def row(server: IndexServer, path: Path, *, size: bool = True) -> IndexFile:
    return IndexFile(
        filename=path.name,
        url=server.file_url(path.name),
        sha256=sha256(path),
        size=path.stat().st_size if size else None,
    )


def test_is_what_the_locks_ask_for(index: PackageIndex) -> None:
    """`PackageIndex` implements the protocol in `lamina.lock.types`."""
    asked: IndexFiles = index

    assert asked is index


@pytest.mark.parametrize("html", [True, False])
def test_both_forms_of_the_simple_api(server: IndexServer, index: PackageIndex, html: bool) -> None:
    """JSON and HTML pages give the same files, but HTML has no sizes."""
    first = make_wheel(server.directory, "Some.Name", "1.0")
    second = make_wheel(server.directory, "some-name", "1.0", tag="cp313-cp313-manylinux_2_28_aarch64")
    make_wheel(server.directory, "some-name", "2.0")
    server.behaviour.html_only = html
    found = index.files("some-name", "1.0", {sha256(first), sha256(second)}, None, target=TARGET)

    assert sorted(
        [row(server, first, size=not html), row(server, second, size=not html)], key=lambda file: file.filename
    ) == list(found)


def test_one_request_for_a_project(server: IndexServer, index: PackageIndex) -> None:
    """Many threads that look up versions of one project cause one request."""
    paths = [make_wheel(server.directory, "a", f"1.{number}") for number in range(8)]
    server.behaviour.seconds_per_chunk = 0.05
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda path: index.files("a", path.name.split("-")[1], {sha256(path)}, None, target=TARGET), paths)
        )

    assert [(row(server, path),) for path in paths] == found
    assert len(server.requests) == 1


def test_answers_are_kept(server: IndexServer, index: PackageIndex, store: Store, tmp_path: Path) -> None:
    """A second run sends no request, because the result for a hash never changes."""
    path = make_wheel(server.directory, "a", "1.0")
    question = ("a", "1.0", {sha256(path)}, None)
    first = index.files(*question, target=TARGET)
    again = PackageIndex(tmp_path / "project", store, index_url=server.simple).files(*question, target=TARGET)
    offline = PackageIndex(tmp_path / "project", store, index_url=server.simple, offline=True).files(
        *question, target=TARGET
    )

    assert [first, first] == [again, offline]
    assert len(server.requests) == 1


def test_damaged_answers_are_asked_for_again(
    server: IndexServer, index: PackageIndex, store: Store, tmp_path: Path
) -> None:
    """A damaged cache entry in the store is replaced by another lookup."""
    path = make_wheel(server.directory, "a", "1.0")
    question = ("a", "1.0", {sha256(path)}, None)
    first = index.files(*question, target=TARGET)
    (kept,) = store.root.glob("index/*/*.json")
    kept.write_bytes(b'[{"filename": 1')
    other = PackageIndex(tmp_path / "project", store, index_url=server.simple)
    again = other.files(*question, target=TARGET)
    other.client.close()

    assert first == again
    assert len(server.requests) == 2


def test_many_threads_ask_at_once(server: IndexServer, index: PackageIndex) -> None:
    """Lookups in several threads run in parallel, and each page is requested once."""
    paths = {name: make_wheel(server.directory, name, "1.0") for name in "abcdefgh"}
    questions = [(name, "1.0", {sha256(path)}, None) for name, path in paths.items()] * 2
    server.behaviour.seconds_per_chunk = 0.05
    with ThreadPoolExecutor(max_workers=len(questions)) as pool:
        answers = list(pool.map(lambda question: index.files(*question, target=TARGET), questions))

    assert [(row(server, path),) for path in paths.values()] * 2 == answers
    assert len(server.requests) == 8


def test_unknown_project(server: IndexServer, index: PackageIndex, store: Store) -> None:
    """An empty result is not cached, because the index may receive the files later."""
    found = index.files("unknown", "1.0", {"0" * 64}, None, target=TARGET)

    assert found == ()
    assert list(store.root.glob("index/*/*")) == []


def test_indexes_in_their_order(server: IndexServer, store: Store, tmp_path: Path) -> None:
    """Local sources are queried first, then additional indexes, then the default, until all hashes are found."""
    (tmp_path / "other").mkdir()
    (tmp_path / "links").mkdir()
    local = make_wheel(tmp_path / "links", "a", "1.0")
    shared = make_wheel(tmp_path / "other", "b", "1.0")
    make_wheel(server.directory, "b", "1.0", tag="py3-none-linux_x86_64")
    only_default = make_wheel(server.directory, "c", "1.0")
    with IndexServer(tmp_path / "other") as other:
        index = PackageIndex(
            tmp_path,
            store,
            index_url=server.simple,
            extra_index_urls=[other.simple],
            find_links=[str(tmp_path / "links")],
        )
        found = [
            index.files(path.name.split("-")[0], "1.0", {sha256(path)}, None, target=TARGET)
            for path in (local, shared, only_default)
        ]
        index.client.close()
        paths = [request.path for request in other.requests]

    assert found == [
        (IndexFile(filename=local.name, url=local.as_uri(), sha256=sha256(local), size=local.stat().st_size),),
        (row(other, shared),),
        (row(server, only_default),),
    ]
    assert paths == ["/simple/b/", "/simple/c/"]
    assert [request.path for request in server.requests] == ["/simple/c/"]


def test_index_of_the_lock(server: IndexServer, store: Store, tmp_path: Path) -> None:
    """The index in a lock is queried instead of the configured ones."""
    path = make_wheel(server.directory, "a", "1.0")
    (tmp_path / "other").mkdir()
    with IndexServer(tmp_path / "other") as other:
        index = PackageIndex(tmp_path, store, index_url=other.simple)
        found = index.files("a", "1.0", {sha256(path)}, server.simple, target=TARGET)
        index.client.close()
        requests = list(other.requests)

    assert (row(server, path),) == found
    assert requests == []


@pytest.mark.parametrize("fragment", ["", "#sha256={sha256}"])
@pytest.mark.parametrize("is_base", [True, False])
def test_local_files_on_a_remote_page(
    server: IndexServer, index: PackageIndex, tmp_path: Path, is_base: bool, fragment: str
) -> None:
    """A page on a server cannot name a file of this machine, neither in a link nor in its ``base`` tag."""
    (tmp_path / "links").mkdir()
    wheel = make_wheel(tmp_path / "links", "a", "1.0")
    link = f"{wheel.name if is_base else wheel.as_uri()}{fragment.format(sha256=sha256(wheel))}"
    base = f"<base href='{wheel.parent.as_uri()}/'>" if is_base else ""
    server.behaviour.pages["a"] = f"{base}<a href='{link}'>a</a>".encode()
    # Without the tag, the link is relative to the page, where there is another file.
    server.behaviour.raw[wheel.name] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"
    found = [] if not (is_base and fragment) else [f"{server.simple}/a/{wheel.name}"]

    assert found == [file.url for file in index.files("a", "1.0", {sha256(wheel)}, None, target=TARGET)]


@pytest.mark.parametrize("fragment", ["", "#sha256={sha256}"])
@pytest.mark.parametrize("link", ["%00/{name}", "file:///%00{name}", "//[/{name}", "file://[/{name}"])
def test_invalid_path_on_a_local_page(store: Store, tmp_path: Path, link: str, fragment: str) -> None:
    """A link of a local page that cannot be a path is left out, and the others are found."""
    links = tmp_path / "links"
    links.mkdir()
    wheel = make_wheel(links, "a", "1.0")
    invalid = link.format(name=wheel.name) + fragment.format(sha256="0" * 64)
    (links / "index.html").write_text(f"<a href='{invalid}'>a</a><a href='{wheel.name}'>a</a>")
    index = PackageIndex(tmp_path, store, find_links=[str(links)], offline=True)

    assert [wheel.name] == [
        file.filename for file in index.files("a", "1.0", {sha256(wheel), "0" * 64}, None, target=TARGET)
    ]


@pytest.mark.parametrize("flat", [True, False])
def test_pages_on_disk(server: IndexServer, store: Store, tmp_path: Path, flat: bool) -> None:
    """An index can be a directory of pages, and a flat source can be a page."""
    wheel = make_wheel(tmp_path / "mirror" / "files", "a", "1.0")
    link = f'<a href="{"" if flat else "../../"}files/{wheel.name}#sha256={sha256(wheel)}">a</a>'
    page = tmp_path / "mirror" / ("links.html" if flat else "simple/a/index.html")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(link)
    places = {"find_links": [page.as_uri()]} if flat else {"extra_index_urls": [(tmp_path / "mirror/simple").as_uri()]}
    index = PackageIndex(tmp_path, store, index_url=server.simple, offline=True, **places)  # type: ignore[arg-type]
    found = index.files("a", "1.0", {sha256(wheel)}, None, target=TARGET)

    assert found == (IndexFile(filename=wheel.name, url=wheel.as_uri(), sha256=sha256(wheel), size=None),)


def test_local_file_that_has_gone(server: IndexServer, store: Store, tmp_path: Path) -> None:
    """A cached result with a deleted local file is ignored."""
    wheel = make_wheel(tmp_path / "links", "a", "1.0")
    make_wheel(server.directory, "a", "1.0").write_bytes(wheel.read_bytes())
    question = ("a", "1.0", {sha256(wheel)}, None)
    index = PackageIndex(tmp_path, store, index_url=server.simple, find_links=[str(tmp_path / "links")])
    before = index.files(*question, target=TARGET)
    wheel.unlink()
    other = PackageIndex(tmp_path, store, index_url=server.simple, find_links=[str(tmp_path / "links")])
    after = other.files(*question, target=TARGET)
    other.client.close()

    assert [wheel.as_uri(), server.file_url(wheel.name)] == [before[0].url, after[0].url]


def test_page_of_links(server: IndexServer, store: Store, tmp_path: Path) -> None:
    """A flat page on a server is requested once for all projects, and its base URL applies to its links."""
    paths = [make_wheel(server.directory, name, "1.0") for name in "ab"]
    links = "".join(f'<A HREF="{path.name}#sha256={sha256(path)}">x</A>' for path in paths)
    server.behaviour.pages["links"] = f'<base href="/files/"><a>none</a>{links}'.encode()
    index = PackageIndex(tmp_path, store, index_url=server.simple, find_links=[f"{server.simple}/links"])
    found = [
        index.files(name, "1.0", {sha256(path)}, None, target=TARGET) for name, path in zip("ab", paths, strict=True)
    ]
    index.client.close()

    assert [(row(server, path, size=False),) for path in paths] == found
    assert len(server.requests) == 1


def test_source_distributions(server: IndexServer, index: PackageIndex) -> None:
    """Source distributions are found, including those with old file names."""
    path = server.directory / "zope.interface-5.0-beta.tar.gz"
    path.write_bytes(b"sdist")
    server.behaviour.pages["zope-interface"] = f'<a href="../../files/{path.name}#sha256={sha256(path)}">x</a>'.encode()
    found = index.files("zope-interface", "5.0b0", {sha256(path)}, None, target=TARGET)

    assert (row(server, path, size=False),) == found


def test_files_of_this_machine_are_not_for_others(server: IndexServer, index: PackageIndex, tmp_path: Path) -> None:
    """A local file listed in a remote page is ignored."""
    path = make_wheel(tmp_path, "a", "1.0")
    server.behaviour.pages["a"] = f'<a href="{path.as_uri()}#sha256={sha256(path)}">a</a>'.encode()

    assert index.files("a", "1.0", {sha256(path)}, None, target=TARGET) == ()


def test_signed_urls_are_not_kept(server: IndexServer, index: PackageIndex, store: Store) -> None:
    """A URL with a query is not cached, because it may contain a secret that expires."""
    path = make_wheel(server.directory, "a", "1.0")
    link = f"../../files/{path.name}?signature=secret#sha256={sha256(path)}"
    server.behaviour.pages["a"] = f'<a href="{link}">a</a>'.encode()
    (found,) = index.files("a", "1.0", {sha256(path)}, None, target=TARGET)

    assert f"{server.file_url(path.name)}?signature=secret" == found.url
    assert list(store.root.glob("index/*/*")) == []


def other_hash(path: Path, algorithm: str) -> str:
    return f"#{algorithm}={hashlib.new(algorithm, path.read_bytes()).hexdigest()}" if algorithm else ""


@pytest.mark.parametrize("algorithm", ["", "md5", "sha1", "sha512"])
def test_page_without_sha256(server: IndexServer, index: PackageIndex, store: Store, algorithm: str) -> None:
    """The file that suits the target best is downloaded and compared with the lock, once, and then is in the store."""
    other = make_wheel(server.directory, "a", "1.0", tag="cp313-cp313-manylinux_2_28_x86_64")
    path = make_wheel(server.directory, "a", "1.0", tag="cp313-cp313-manylinux_2_28_aarch64")
    pure, newer = make_wheel(server.directory, "a", "1.0"), make_wheel(server.directory, "a", "1.1")
    files = (newer, other, pure, path, make_wheel(server.directory, "b", "1.0"))
    links = (f'<a href="../../files/{file.name}{algorithm and other_hash(file, algorithm)}">x</a>' for file in files)
    server.behaviour.pages["a"] = f'<a href="../">up</a>{"".join(links)}'.encode()
    question = ("a", "1.0", {sha256(path), sha256(pure), sha256(other)}, None)
    found = index.files(*question, target=TARGET)
    again = index.files(*question, target=TARGET)

    assert ((row(server, path),), (row(server, path),)) == (found, again)
    assert ["/simple/a/", f"/files/{path.name}"] == [request.path for request in server.requests]
    assert path.read_bytes() == store.wheel(Sha256(sha256(path)), path.name).read_bytes()  # type: ignore[union-attr]
    assert [] == list(store.directory("partial").iterdir())


def test_other_file_with_the_name(server: IndexServer, index: PackageIndex, store: Store, tmp_path: Path) -> None:
    """A file without a locked hash is not kept. The next best file is tried, then the next index."""
    make_wheel(server.directory, "a", "1.0", {"a.py": "x = 1"}, tag="cp313-cp313-manylinux_2_28_aarch64")
    path = make_wheel(server.directory, "a", "1.0")
    (tmp_path / "other").mkdir()
    make_wheel(tmp_path / "other", "a", "1.0", {"a.py": "x = 2"})
    server.behaviour.hashes = False
    with IndexServer(tmp_path / "other") as extra:
        extra.behaviour.hashes = False
        both = PackageIndex(tmp_path, store, index_url=server.simple, extra_index_urls=[extra.simple])
        found = both.files("a", "1.0", {sha256(path)}, None, target=TARGET)
        none = both.files("a", "1.0", {"0" * 64}, None, target=TARGET)
        both.client.close()

    assert ((row(server, path),), ()) == (found, none)
    assert [path.name] == [file.name for file in store.root.glob("wheels/**/*.whl")]


def test_archive_without_sha256(server: IndexServer, index: PackageIndex) -> None:
    """A source archive is downloaded only if the index has no wheel of the version."""
    path = server.directory / "a-1.0.tar.gz"
    path.write_bytes(b"sdist")
    make_wheel(server.directory, "a", "1.1")
    server.behaviour.hashes = False
    found = index.files("a", "1.0", {sha256(path)}, None, target=TARGET)
    make_wheel(server.directory, "b", "1.0", tag="cp27-cp27m-win32")
    (server.directory / "b-1.0.tar.gz").write_bytes(b"sdist")
    with pytest.raises(NoCompatibleWheelError) as caught:
        index.files("b", "1.0", {"0" * 64}, None, target=TARGET)

    assert (row(server, path),) == found
    assert "the index has no wheel of `b` 1.0 for python3.13 on arm64: `b-1.0-cp27-cp27m-win32.whl`" == str(
        caught.value
    )


def test_wheel_without_sha256_beside_others(server: IndexServer, store: Store, tmp_path: Path) -> None:
    """
    The wheel for the target is found in an index without SHA-256, although other indexes have the source archive or wheels for
    other targets.
    """
    archive = server.directory / "a-1.0.tar.gz"
    archive.write_bytes(b"sdist")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "listing").mkdir()
    foreign = make_wheel(tmp_path / "foreign", "a", "1.0", tag="cp313-cp313-win_amd64")
    path = make_wheel(tmp_path / "listing", "a", "1.0")
    with IndexServer(tmp_path / "foreign") as first, IndexServer(tmp_path / "listing") as second:
        first.behaviour.hashes = second.behaviour.hashes = False
        index = PackageIndex(tmp_path, store, index_url=server.simple, extra_index_urls=[first.simple, second.simple])
        found = index.files("a", "1.0", {sha256(each) for each in (archive, foreign, path)}, None, target=TARGET)
        again = index.files("a", "1.0", {sha256(each) for each in (archive, foreign, path)}, None, target=TARGET)
        only = index.files("a", "1.0", {sha256(path)}, None, target=TARGET)
        expected = row(second, path)
        index.client.close()

    assert (row(server, archive), expected) == found == again
    assert (expected,) == only


@pytest.mark.parametrize(
    ("link", "is_found"),
    [
        ("{url}#sha256={sha256}&egg=a", True),
        ("{url}#md5=00&SHA256={sha256}", True),
        ("{url}#sha256=", True),
        (" \n{url}\t", True),
        ("http://[broken/{name}#sha256={sha256}", False),
        ("http://127.0.0.1:99999999/{name}#sha256={sha256}", False),
        ("http://127.0.0.1:99999999/{name}", False),
        ("file:///{name}", False),
    ],
)
def test_odd_links(server: IndexServer, index: PackageIndex, link: str, is_found: bool) -> None:
    """A hash is found at any position of a fragment, and invalid links are skipped."""
    path = make_wheel(server.directory, "a", "1.0")
    text = link.format(url=server.file_url(path.name), name=path.name, sha256=sha256(path))
    server.behaviour.pages["a"] = f'<a href="{text}">x</a>'.encode()
    found = index.files("a", "1.0", {sha256(path)}, None, target=TARGET)

    assert ((path.name,) if is_found else ()) == tuple(file.filename for file in found)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"[" * 100_000, "application/json"),
        (b"<html>Sign in</html>", "application/json"),
        (b"<base href='http://[' >", "text/html"),
        (b"{}", "text/html"),
    ],
)
def test_invalid_pages(content: bytes, media_type: str) -> None:
    """Every page that is not valid gives the same error."""
    with pytest.raises(IndexLookupError, match="`https://index/a/` is not a valid package index page"):
        _parse([content], media_type, "https://index/a/")


def test_few_files_are_downloaded(server: IndexServer, index: PackageIndex) -> None:
    """The number of downloads without a hash is bounded, and the highest builds come first."""
    for build in range(20):
        make_wheel(server.directory, "a", "1.0", build=str(build))
    server.behaviour.hashes = False

    assert () == index.files("a", "1.0", {"0" * 64}, None, target=TARGET)
    assert [f"/files/a-1.0-{build}-py3-none-any.whl" for build in range(19, 11, -1)] == [
        request.path for request in server.requests[1:]
    ]


def test_note_about_missing_hashes(server: IndexServer, store: Store, tmp_path: Path) -> None:
    """One note names each index that lists no SHA-256, without credentials."""
    notes: list[str] = []

    class Notes(Silent):
        def note(self, message: str) -> None:
            notes.append(message)

    paths = [make_wheel(server.directory, name, "1.0") for name in "ab"]
    server.behaviour.hashes = False
    address = server.simple.replace("://", "://user:secret@")
    index = PackageIndex(tmp_path, store, index_url=address, reporter=Notes())
    for path in paths:
        index.files(path.name[0], "1.0", {sha256(path)}, None, target=TARGET)
    index.client.close()

    assert [f"`{server.simple}` lists no SHA-256, so lamina downloads files to compare them with the lock"] == notes


def test_busy_index(server: IndexServer, index: PackageIndex) -> None:
    """A request to a temporarily busy index is retried."""
    path = make_wheel(server.directory, "a", "1.0")
    server.behaviour.refuse["a"] = [503, 502]
    found = index.files("a", "1.0", {sha256(path)}, None, target=TARGET)

    assert (row(server, path),) == found


def test_broken_index(server: IndexServer, index: PackageIndex) -> None:
    """A persistent server error raises an error instead of returning an empty result."""
    server.behaviour.refuse["a"] = [500] * 20
    server.behaviour.refuse["b"] = [400]
    with pytest.raises(DownloadError) as after_attempts:
        index.files("a", "1.0", {"0" * 64}, None, target=TARGET)
    with pytest.raises(IndexLookupError) as at_once:
        index.files("b", "1.0", {"0" * 64}, None, target=TARGET)

    assert str(after_attempts.value) == f"could not download `{server.simple}/a/`: the server returned HTTP 500"
    assert str(at_once.value) == f"cannot read `{server.simple}/b/`: the server returned HTTP 400"


def test_page_that_is_none(server: IndexServer, index: PackageIndex) -> None:
    """The error names a page that is not valid."""
    server.behaviour.pages["a"] = b"{}"
    with pytest.raises(IndexLookupError) as caught:
        index.files("a", "1.0", {"0" * 64}, None, target=TARGET)

    assert str(caught.value) == f"`{server.simple}/a/` is not a valid package index page (PEP 503 or PEP 691)"
    assert caught.value.hint == "check the URL of the index: the server may have returned a sign-in page"


def test_offline(server: IndexServer, store: Store, tmp_path: Path) -> None:
    """With ``--offline``, no index is queried, and a result that is not cached raises an error."""
    index = PackageIndex(tmp_path, store, index_url=server.simple, offline=True)
    with pytest.raises(OfflineError) as caught:
        index.files("a", "1.0", {"0" * 64}, None, target=TARGET)

    assert str(caught.value) == "`--offline` prevents looking up the files of `a==1.0` in an index"
    assert server.requests == []


def test_denied(server: IndexServer, store: Store, tmp_path: Path) -> None:
    """The error names an index that requires credentials."""
    with IndexServer(server.directory, users={"user": "secret"}) as private:
        index = PackageIndex(tmp_path, store, index_url=private.simple)
        with pytest.raises(AccessDeniedError) as caught:
            index.files("a", "1.0", {"0" * 64}, None, target=TARGET)
        index.client.close()

    assert (
        str(caught.value)
        == f"access to `{private.simple}/a/` was denied (HTTP 401): lamina found no credentials for it"
    )


def gone(tmp_path: Path) -> str:
    """Return the URL of an index whose server has stopped."""
    with IndexServer(tmp_path) as server:
        return server.simple


@pytest.mark.parametrize("kind", ["gone", "denied", "broken", "sign-in"])
@pytest.mark.parametrize("gone_first", [True, False])
def test_index_that_cannot_be_read(
    server: IndexServer, store: Store, tmp_path: Path, kind: str, gone_first: bool
) -> None:
    """An index that cannot be read does not matter if another has a wheel for the target, and a note says so."""
    notes: list[str] = []

    class Notes(Silent):
        def note(self, message: str) -> None:
            notes.append(message)

    path, other = make_wheel(server.directory, "a", "1.0"), "0" * 64
    with IndexServer(tmp_path, users={"a": "b"} if kind == "denied" else None) as lacking:
        lacking.behaviour.refuse["a"] = [500] * 20 if kind == "broken" else []
        lacking.behaviour.pages["a"] = b"{}"
        urls = [gone(tmp_path) if kind == "gone" else lacking.simple, server.simple]
        first, second = urls if gone_first else reversed(urls)
        index = PackageIndex(tmp_path, store, index_url=second, extra_index_urls=[first], backoff=0.0, reporter=Notes())
        found = index.files("a", "1.0", {sha256(path), other}, None, target=TARGET)
        index.client.close()

    assert (row(server, path),) == found
    assert [f"`{urls[0]}` cannot be read: lamina uses the files of the other indexes"] == notes
    assert [] == list(store.root.glob("index/*/*"))


def test_index_that_may_have_the_wheel(server: IndexServer, store: Store, tmp_path: Path) -> None:
    """If the other indexes have no wheel for the target, the index that cannot be read is an error."""
    make_wheel(server.directory, "a", "1.0", tag="cp27-cp27m-win32")
    archive = server.directory / "a-1.0.tar.gz"
    archive.write_bytes(b"sdist")
    place = gone(tmp_path)
    index = PackageIndex(tmp_path, store, index_url=server.simple, extra_index_urls=[place], backoff=0.0)
    with pytest.raises(DownloadError) as caught:
        index.files("a", "1.0", {sha256(archive), "0" * 64}, None, target=TARGET)
    alone = index.files("a", "1.0", {sha256(archive)}, None, target=TARGET)
    index.client.close()

    assert f"could not download `{place}/a/`: could not connect to the server" == str(caught.value)
    assert (row(server, archive),) == alone


def test_pages_that_need_too_much_memory(server: IndexServer, index: PackageIndex) -> None:
    """Pages with more files than one page may have, all together, are not kept. The page that is used most stays."""
    for name in "abcd":
        links = "".join(f"<a href={name}-{number}.whl>" for number in range(40_000 if name != "d" else 1))
        server.behaviour.pages[name] = links.encode()
    (source,) = index._sources(None)
    for name in "abacadaba":
        index._pages.filenames(source, name)

    assert ["a", "b", "c", "d", "b"] == [request.path.split("/")[2] for request in server.requests]
