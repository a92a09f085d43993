"""
Read the file lists of package indexes: PEP 691 JSON, PEP 503 HTML, flat HTML pages and local directories.

`lamina.fetch.listings` parses them. Libraries for index pages import requests and beautifulsoup4, which needs more time than
downloading forty wheels from a nearby index.
"""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urldefrag, urljoin, urlsplit

from lamina.core.errors import DownloadError, IndexLookupError
from lamina.core.faults import exhausted
from lamina.core.files import file_sha256, open_regular
from lamina.core.names import path_of
from lamina.core.urls import redacted, split_userinfo
from lamina.fetch.http import BrokenTransferError, Client
from lamina.fetch.listings import LinkRow, PageLimitError, limits, parse
from lamina.fetch.responses import ServerTime
from lamina.fetch.urls import is_remote
from lamina.lock.types import IndexFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from urllib3 import BaseHTTPResponse

    from lamina.fetch.settings import IndexSource

_CHUNK = 1 << 16
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_SUFFIXES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")
# Limits memory use: a page can have many megabytes.
_PAGES_AT_ONCE = 4


class _Page(NamedTuple):
    """The files that one page lists."""

    url: str
    """The URL that the relative URLs on the page are based on; it is remote if the page is."""
    by_hash: dict[str, LinkRow]
    without_hash: tuple[LinkRow, ...]

    @property
    def files_listed(self) -> int:
        """The number of files."""
        return len(self.by_hash) + len(self.without_hash)

    def resolve(self, row: LinkRow) -> str | None:
        """Return the absolute URL of *row*, without credentials; ``None`` if it is invalid, or local on a remote page."""
        try:
            url = split_userinfo(urldefrag(urljoin(self.url, row.url))[0])[0]
            # Invalid ports raise an error only when they are read.
            _ = urlsplit(url).port
        except ValueError:
            return None
        if is_remote(url):
            return url
        return url if not is_remote(self.url) and "\0" not in str(path_of(url)) else None


_NOTHING = _Page("", {}, ())


class Pages:
    """
    A cache of index pages: each page is read once, unless all pages need too much memory.

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

    def wheels(self, source: IndexSource, name: str) -> tuple[tuple[str, str, int | None], ...]:
        """Return the name, URL and size in bytes of every wheel of the project in *source*. The size is ``None`` if it is unknown."""
        page = self._page(_page_url(source, name))
        rows = _of_project((*page.by_hash.values(), *page.without_hash), name)
        found = ((row.filename, page.resolve(row), row.size) for row in rows if row.filename.endswith(".whl"))
        return tuple((filename, url, size) for filename, url, size in found if url is not None)

    def filenames(self, source: IndexSource, name: str) -> tuple[str, ...]:
        """Return the names of all files on the page of *source* for the project *name*; a flat source lists all projects."""
        page = self._page(_page_url(source, name))
        return tuple(row.filename for row in (*page.by_hash.values(), *page.without_hash))

    def _page(self, url: str) -> _Page:
        """Return the page at *url*. The first thread that needs the page reads it, while other threads wait for it."""
        with self._guard:
            future = self._pages.pop(url, None)
            first = future is None
            # The page that was used last is the last one.
            future = self._pages[url] = future or Future()
        if first:
            try:
                future.set_result(self._read(url))
            except BaseException as error:
                future.set_exception(error)
                raise
            with self._guard:
                self._forget()
        return future.result()

    def _forget(self) -> None:
        """Forget the pages that were not used for the longest time, if all pages have more files than one page may have."""
        done = [
            (url, future.result()) for url, future in self._pages.items() if future.done() and not future.exception()
        ]
        total = sum(page.files_listed for _, page in done)
        for url, page in done[:-1]:
            if total <= limits().most_files:
                break
            del self._pages[url]
            total -= page.files_listed

    def _read(self, url: str) -> _Page:
        if url.startswith("file:"):
            return _local(path_of(url))
        client = self._client()
        attempts = client.attempts(url)
        waited = ServerTime()
        while True:
            try:
                # Requesting a page that cannot be read yet would make the server wait for lamina.
                with self._reading, ExitStack() as stack:
                    with waited:
                        headers = {"Accept": _ACCEPT, "Accept-Encoding": "gzip"}
                        response, final = stack.enter_context(client.get(url, headers))
                    if response.status == 200:
                        return _parse_response(response, final, waited)
                    # The index does not have the project; another index may.
                    if response.status in {404, 410}:
                        return _NOTHING
                    if not Client.worth_another(response):
                        raise IndexLookupError(
                            f"cannot read `{redacted(url)}`: the server returned HTTP {response.status}"
                        )
                    pause = attempts.pause(response)
            except BrokenTransferError as error:
                pause = attempts.pause(error)
            if waited.seconds + pause > limits().most_seconds:
                raise _too_slow(url)
            with waited:
                time.sleep(pause)


def _parse_response(response: BaseHTTPResponse, url: str, waited: ServerTime) -> _Page:
    """Parse the page at *url*. Raises `IndexLookupError` if the server needs too long, including the time *waited* already."""

    def chunks() -> Iterator[bytes]:
        stream = response.stream(_CHUNK, decode_content=False)
        while True:
            with waited:
                chunk = next(stream, None)
            if waited.seconds > limits().most_seconds:
                raise _too_slow(url)
            if chunk is None:
                return
            yield chunk

    headers = response.headers
    return _parse(chunks(), headers.get("Content-Type", ""), url, encoding=headers.get("Content-Encoding", ""))


def _too_slow(url: str) -> IndexLookupError:
    return IndexLookupError(f"cannot read `{redacted(url)}`: it takes more than {limits().most_seconds} seconds")


def _page_url(source: IndexSource, name: str) -> str:
    return source.url if source.flat else f"{source.url.rstrip('/')}/{name}/"


def _parse(chunks: Iterable[bytes], media_type: str, url: str, *, encoding: str = "") -> _Page:
    try:
        listing = parse(chunks, media_type, encoding=encoding)
        base = _base(url, listing.base)
    except PageLimitError as error:
        raise IndexLookupError(f"`{redacted(url)}` exceeds the limits of an index page: {error}") from None
    except ValueError as error:
        raise IndexLookupError(
            f"`{redacted(url)}` is not a valid package index page (PEP 503 or PEP 691)",
            hint="check the URL of the index: the server may have returned a sign-in page",
        ) from error
    return _Page(base, listing.by_hash, listing.without_hash)


def _base(url: str, tag: str | None) -> str:
    """
    Return the base URL of the page at *url* with the ``base`` tag *tag*. Raises `ValueError` if it is invalid.

    The tag of a remote page cannot make its links local, because a server must not choose files of this machine.
    """
    base = urljoin(url, tag) if tag else url
    return base if is_remote(base) or not is_remote(url) else url


def _local(path: Path) -> _Page:
    """
    Read the links of a local HTML page or of a directory's ``index.html``, else list the files in the directory.

    The page is empty if *path* does not exist.
    """
    page = path / "index.html" if path.is_dir() else path
    try:
        if page.is_file():
            with open_regular(page) as stream:
                return _parse(iter(lambda: stream.read(_CHUNK), b""), "text/html", page.as_uri())
        if path.is_dir():
            rows = tuple(LinkRow(file.name, file.as_uri(), None) for file in sorted(path.iterdir()))
            return _Page(path.as_uri(), {}, rows)
    except OSError as error:
        raise exhausted(error) or DownloadError(f"cannot read `{path}`: {error.strerror}") from error
    return _NOTHING


def _of_project(rows: Iterable[LinkRow], name: str) -> Iterator[LinkRow]:
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
