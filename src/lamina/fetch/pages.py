"""
Read what an index lists: PEP 691 JSON, PEP 503 HTML, flat HTML pages, local directories. Knows no lock and no store.

The two documents are parsed here, in sixty lines, rather than with pypi-simple: that loads requests and
beautifulsoup4, and importing those takes longer than fetching forty wheels from an index that is near.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from lamina.errors import DownloadError, IndexLookupError
from lamina.fetch import path_of
from lamina.fetch.client import BrokenTransferError, Client
from lamina.fetch.urls import is_remote, redacted, split_userinfo
from lamina.lock.index import IndexFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from urllib3 import BaseHTTPResponse

    from lamina.fetch.settings import Source

__all__ = ["Pages"]

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_SUFFIXES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """One file as a page lists it."""

    filename: str
    url: str
    sha256: str | None
    size: int | None


class Pages:
    """The pages of one run, each read once; *client* makes the HTTP client when the first is needed."""

    def __init__(self, client: Callable[[], Client]) -> None:
        self._client = client
        self._pages: dict[str, Future[tuple[_Row, ...]]] = {}
        self._guard = threading.Lock()

    def files(self, source: Source, name: str) -> tuple[tuple[IndexFile, ...], tuple[str, ...]]:
        """
        Return the files of the project *name* that *source* lists, and the names of those without a known hash.

        A local file without a hash is hashed. Raises `FetchError` if *source* cannot be asked.
        """
        url = source.url if source.flat else f"{source.url.rstrip('/')}/{name}/"
        rows = [_hashed(row) for row in self._page(url) if _project(row.filename) == name]
        files = tuple(
            IndexFile(filename=row.filename, url=row.url, sha256=row.sha256, size=row.size)
            for row in rows
            if row.sha256 is not None
        )
        return files, tuple(row.filename for row in rows if row.sha256 is None)

    def _page(self, url: str) -> tuple[_Row, ...]:
        """Return the rows of the page at *url*, read by the first thread that asks for it."""
        with self._guard:
            future = self._pages.get(url)
            first = future is None
            if future is None:
                future = self._pages[url] = Future()
        if first:
            try:
                future.set_result(tuple(self._read(url)))
            except BaseException as error:
                future.set_exception(error)
                raise
        return future.result()

    def _read(self, url: str) -> Iterable[_Row]:
        if url.startswith("file:"):
            return _local(path_of(url))
        client = self._client()
        attempts = client.attempts(url)
        while True:
            cause: BaseHTTPResponse | BaseException
            try:
                with client.get(url, {"Accept": _ACCEPT, "Accept-Encoding": "gzip"}) as (response, final):
                    if response.status == 200:
                        rows = _parse(response.data, response.headers.get("Content-Type", ""), final)
                        # A page from elsewhere has no business with the files of this machine.
                        return tuple(row for row in rows if is_remote(row.url))
                    # An index that does not know a project says so, and another one may.
                    if response.status in {404, 410}:
                        return ()
                    if not Client.worth_another(response):
                        raise IndexLookupError(
                            f"`{redacted(url)}` cannot be read: the server answers {response.status}"
                        )
                    cause = response
            except BrokenTransferError as error:
                cause = error
            time.sleep(attempts.pause(cause))


def _parse(content: bytes, media_type: str, url: str) -> Iterator[_Row]:
    try:
        if media_type.partition(";")[0].strip().lower().endswith("json"):
            yield from _from_json(json.loads(content), url)
        else:
            yield from _from_html(content.decode("utf-8"), url)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IndexLookupError(f"`{redacted(url)}` is not a page of the simple API") from error


def _from_json(document: dict[str, Any], url: str) -> Iterator[_Row]:
    for file in document["files"]:
        yield _Row(
            filename=file["filename"],
            url=_clean(urljoin(url, file["url"])),
            sha256=_digest(file.get("hashes", {}).get("sha256")),
            size=size if isinstance(size := file.get("size"), int) and size >= 0 else None,
        )


def _from_html(text: str, url: str) -> Iterator[_Row]:
    parser = _Links()
    parser.feed(text)
    parser.close()
    base = urljoin(url, parser.base) if parser.base else url
    for link in parser.links:
        target, fragment = urldefrag(urljoin(base, link))
        algorithm, _, digest = fragment.partition("=")
        filename = unquote(urlsplit(target).path.rsplit("/", 1)[-1])
        yield _Row(
            filename=filename, url=_clean(target), sha256=_digest(digest if algorithm == "sha256" else None), size=None
        )


class _Links(HTMLParser):
    """Collects the targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.base: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember *tag* if it is a link, or the base of the links."""
        target = dict(attrs).get("href")
        if tag == "a" and target:
            self.links.append(target)
        elif tag == "base" and self.base is None:
            self.base = target


def _local(path: Path) -> Iterator[_Row]:
    """Yield the files of a directory, or of the HTML page that stands there in its place."""
    page = path / "index.html" if path.is_dir() else path
    try:
        if page.is_file():
            yield from _from_html(page.read_text(encoding="utf-8"), page.as_uri())
        elif path.is_dir():
            for file in sorted(path.iterdir()):
                yield _Row(filename=file.name, url=file.as_uri(), sha256=None, size=None)
    except OSError as error:
        raise DownloadError(f"`{path}` cannot be read: {error.strerror}") from error


def _hashed(row: _Row) -> _Row:
    """Return *row* with size and hash, if it is a local file."""
    if row.sha256 is not None or not row.url.startswith("file:"):
        return row
    path = path_of(row.url)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return replace(row, sha256=digest, size=path.stat().st_size)
    except OSError:
        # A page may list what is not there; what is missing has no hash.
        return row


def _project(filename: str) -> str | None:
    """Return the normalised project of *filename*, or None for what is no distribution."""
    if not filename.endswith(_SUFFIXES):
        return None
    # The version of a source distribution has no hyphen since PEP 625; older ones are told apart by the first digit.
    stem = filename.split("-", 1)[0] if filename.endswith(".whl") else re.split(r"-(?=\d)", filename, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", stem).lower()


def _clean(url: str) -> str:
    return split_userinfo(url)[0]


def _digest(value: object) -> str | None:
    return value.lower() if isinstance(value, str) and re.fullmatch(r"[0-9A-Fa-f]{64}", value) else None
