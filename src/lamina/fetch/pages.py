"""
Read the file lists of package indexes: PEP 691 JSON, PEP 503 HTML, flat HTML pages and local directories.

lamina parses JSON and HTML itself. Libraries for index pages import requests and beautifulsoup4, which needs more time than
downloading forty wheels from a nearby index.
"""

from __future__ import annotations

import json
import re
import threading
import time
from concurrent.futures import Future
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from lamina.core.errors import DownloadError, IndexLookupError
from lamina.core.files import file_sha256, read_file
from lamina.core.names import path_of
from lamina.fetch.http import BrokenTransferError, Client
from lamina.fetch.urls import is_remote, redacted, split_userinfo
from lamina.lock.types import IndexFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from urllib3 import BaseHTTPResponse

    from lamina.fetch.settings import IndexSource

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_SUFFIXES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")
# pip accepts a hash at any position of the fragment, such as `#egg=name&sha256=…`.
_SHA256 = re.compile(r"(?:^|&)sha256=([0-9a-f]{64})(?:&|$)", re.IGNORECASE)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)

# Limits memory use: a page can have many megabytes.
_PAGES_AT_ONCE = 4


class _LinkRow(NamedTuple):
    """One file that a page lists. Its URL is resolved only on demand, because a page lists thousands of files."""

    filename: str
    url: str
    """The URL as written on the page; it may be relative, and may contain credentials."""
    size: int | None


class _Page(NamedTuple):
    """The files that one page lists."""

    url: str
    """The URL that the relative URLs on the page are based on."""
    by_hash: dict[str, _LinkRow]
    without_hash: tuple[_LinkRow, ...]

    def resolve(self, row: _LinkRow) -> str | None:
        """Return the absolute URL of *row*, without credentials; ``None`` if it is invalid, or local on a remote page."""
        try:
            url = split_userinfo(urldefrag(urljoin(self.url, row.url))[0])[0]
            # Invalid ports raise an error only when they are read.
            _ = urlsplit(url).port
        except ValueError:
            return None
        return url if is_remote(url) or not is_remote(self.url) else None


_NOTHING = _Page("", {}, ())


class Pages:
    """
    A cache of index pages: each page is read once.

    *client* is a function that returns the HTTP client; it is called only when a remote page is read.
    """

    def __init__(self, client: Callable[[], Client]) -> None:
        self._client = client
        self._pages: dict[str, Future[_Page]] = {}
        self._guard = threading.Lock()
        self._reading = threading.BoundedSemaphore(_PAGES_AT_ONCE)

    def files(self, source: IndexSource, name: str, hashes: Collection[str]) -> tuple[IndexFile, ...]:
        """
        Return the files of the project *name* in *source* that have one of *hashes*.

        If *source* is local, lamina computes the hashes that it does not list. Raises `FetchError` or a subclass if *source*
        cannot be read.
        """
        page = self._page(_page_url(source, name))
        found = [
            IndexFile(filename=row.filename, url=url, sha256=sha256, size=row.size)
            for sha256 in hashes
            if (row := page.by_hash.get(sha256)) is not None and (url := page.resolve(row)) is not None
        ]
        if not is_remote(page.url):
            local = (_hashed(row.filename, page.resolve(row)) for row in _of_project(page.without_hash, name))
            found += [file for file in local if file is not None and file.sha256 in hashes]
        return tuple(found)

    def unhashed(self, source: IndexSource, name: str) -> tuple[tuple[str, str], ...]:
        """Return the names and URLs of the project's remote files for which *source* has no SHA-256."""
        page = self._page(_page_url(source, name))
        rows = ((row.filename, page.resolve(row)) for row in _of_project(page.without_hash, name))
        return tuple((filename, url) for filename, url in rows if url is not None and is_remote(url))

    def filenames(self, source: IndexSource, name: str) -> tuple[str, ...]:
        """Return the names of all files on the page of *source* for the project *name*; a flat source lists all projects."""
        page = self._page(_page_url(source, name))
        return tuple(row.filename for row in (*page.by_hash.values(), *page.without_hash))

    def _page(self, url: str) -> _Page:
        """Return the page at *url*. The first thread that needs the page reads it, while other threads wait for it."""
        with self._guard:
            future = self._pages.get(url)
            first = future is None
            if future is None:
                future = self._pages[url] = Future()
        if first:
            try:
                future.set_result(self._read(url))
            except BaseException as error:
                future.set_exception(error)
                raise
        return future.result()

    def _read(self, url: str) -> _Page:
        if url.startswith("file:"):
            return _local(path_of(url))
        client = self._client()
        attempts = client.attempts(url)
        while True:
            cause: BaseHTTPResponse | BaseException
            try:
                with client.get(url, {"Accept": _ACCEPT, "Accept-Encoding": "gzip"}) as (response, final):
                    if response.status == 200:
                        media_type = response.headers.get("Content-Type", "")
                        with self._reading:
                            return _parse(response.read(), media_type, final)
                    # The index does not have the project; another index may.
                    if response.status in {404, 410}:
                        return _NOTHING
                    if not Client.worth_another(response):
                        raise IndexLookupError(
                            f"cannot read `{redacted(url)}`: the server returned HTTP {response.status}"
                        )
                    cause = response
            except BrokenTransferError as error:
                cause = error
            time.sleep(attempts.pause(cause))


def _page_url(source: IndexSource, name: str) -> str:
    return source.url if source.flat else f"{source.url.rstrip('/')}/{name}/"


def _parse(content: bytes, media_type: str, url: str) -> _Page:
    try:
        if media_type.partition(";")[0].strip().lower().endswith("json"):
            return _from_json(content, url)
        charset = _CHARSET.search(media_type)
        return _from_html(content.decode(charset[1] if charset else "utf-8"), url)
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, LookupError, RecursionError) as error:
        # `html.parser` raises AssertionError for some invalid declarations.
        raise IndexLookupError(
            f"`{redacted(url)}` is not a valid package index page (PEP 503 or PEP 691)",
            hint="check the URL of the index: the server may have returned a sign-in page",
        ) from error


def _from_json(content: bytes, url: str) -> _Page:
    by_hash: dict[str, _LinkRow] = {}
    without: list[_LinkRow] = []
    for file in json.loads(content, object_hook=_compact)["files"]:
        if file.sha256 is None:
            without.append(file.row)
        else:
            by_hash[file.sha256] = file.row
    return _Page(url, by_hash, tuple(without))


class _File(NamedTuple):
    sha256: str | None
    row: _LinkRow


def _compact(document: dict[str, Any]) -> _File | dict[str, Any]:
    """
    Convert a JSON object that describes a file to a row, and return other objects unchanged.

    The JSON decoder calls this for each object, because keeping the whole page as objects would need ten times the memory.
    """
    if "filename" not in document:
        return document
    size, sha256 = document.get("size"), document["hashes"].get("sha256")
    row = _LinkRow(
        str(document["filename"]), str(document["url"]), size if isinstance(size, int) and size >= 0 else None
    )
    return _File(str(sha256).lower() if sha256 else None, row)


def _from_html(text: str, url: str) -> _Page:
    parser = _Links()
    parser.feed(text)
    parser.close()
    by_hash: dict[str, _LinkRow] = {}
    without: list[_LinkRow] = []
    for link in parser.links:
        target, _, fragment = link.strip().partition("#")
        row = _LinkRow(unquote(target.partition("?")[0].rsplit("/", 1)[-1]), target, None)
        if found := _SHA256.search(fragment):
            by_hash[found[1].lower()] = row
        else:
            without.append(row)
    return _Page(urljoin(url, parser.base) if parser.base else url, by_hash, tuple(without))


class _Links(HTMLParser):
    """An HTML parser that collects the URLs of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.base: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the URL of a link, or the base URL of the page."""
        target = dict(attrs).get("href")
        if tag == "a" and target:
            self.links.append(target)
        elif tag == "base" and self.base is None:
            self.base = target


def _local(path: Path) -> _Page:
    """
    Read the links of a local HTML page or of a directory's ``index.html``, else list the files in the directory.

    The page is empty if *path* does not exist.
    """
    page = path / "index.html" if path.is_dir() else path
    try:
        if page.is_file():
            return _parse(read_file(page), "text/html", page.as_uri())
        if path.is_dir():
            rows = tuple(_LinkRow(file.name, file.as_uri(), None) for file in sorted(path.iterdir()))
            return _Page(path.as_uri(), {}, rows)
    except OSError as error:
        raise DownloadError(f"cannot read `{path}`: {error.strerror}") from error
    return _NOTHING


def _of_project(rows: Iterable[_LinkRow], name: str) -> Iterator[_LinkRow]:
    return (row for row in rows if _project(row.filename) == name)


def _hashed(filename: str, url: str | None) -> IndexFile | None:
    """Return the local file at *url* with its size and hash, or ``None`` if it is remote, invalid or does not exist."""
    if url is None or is_remote(url):
        return None
    path = path_of(url)
    try:
        return IndexFile(filename=filename, url=url, sha256=file_sha256(path), size=path.stat().st_size)
    except OSError:
        return None


def _project(filename: str) -> str | None:
    """Return the normalised project name in *filename*, or ``None`` if it is not a distribution file name."""
    if not filename.endswith(_SUFFIXES):
        return None
    # Since PEP 625, the name of a source distribution has one hyphen. In older ones, the version starts at the first digit.
    stem = filename.split("-", 1)[0] if filename.endswith(".whl") else re.split(r"-(?=\d)", filename, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", stem).lower()
