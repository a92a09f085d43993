"""
Find the files with locked hashes in package indexes (PEP 503, PEP 691), on single pages of links, and in directories.

Results are cached in the store, because a hash always identifies the same file. Not cached are empty results, and results with
a query in a URL, which may be a secret that expires.
"""

from __future__ import annotations

import hashlib
import json
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.core.errors import IndexLookupError, OfflineError
from lamina.core.frozen import as_dict
from lamina.core.names import path_of
from lamina.lock.types import IndexFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from lamina.core.store import Store
    from lamina.fetch.credentials import Credentials
    from lamina.fetch.http import Client
    from lamina.fetch.pages import Pages
    from lamina.fetch.settings import IndexSettings, IndexSource

_AREA = "index"
_FORMAT = 1


class PackageIndex:
    """
    The indexes and credentials of one project; implements `lamina.lock.types.IndexFiles`.

    The configuration is read, and the network used, only when a method first needs it. All methods are thread-safe.
    """

    def __init__(
        self,
        project: Path,
        store: Store,
        *,
        index_url: str | None = None,
        extra_index_urls: Sequence[str] = (),
        find_links: Sequence[str] = (),
        offline: bool = False,
        backoff: float = 0.2,
    ) -> None:
        """
        Use the index settings of the directory *project*.

        *index_url* replaces the default index in those settings. *extra_index_urls* and *find_links* are queried in
        addition. *offline* limits lookups to local files and directories. *backoff*, in seconds, scales the pauses between
        attempts.
        """
        self.project = project
        self._store = store
        self._arguments = (index_url, tuple(extra_index_urls), tuple(find_links))
        self.offline = offline
        self._backoff = backoff
        self._guard = threading.RLock()

    def files(self, name: str, version: str, hashes: Collection[str], index_url: str | None) -> Sequence[IndexFile]:
        """
        Return the files of *name* *version* with a SHA-256 among *hashes*; empty if no index has such a file.

        The sources are queried in order, until every hash is found. *index_url* replaces the configured indexes, but not the
        configured ``--find-links`` sources. Raises `OfflineError` if lamina is offline and no local source has such a file,
        `IndexLookupError` if the indexes list the version only without SHA-256 hashes, `FetchError` or a subclass if a
        request fails, and `ConfigError` if the index settings are invalid.
        """
        sources = self._sources(index_url)
        place = self._store.entry(_AREA, _key(sources, name, version, hashes), ".json")
        if (kept := _load(place)) is not None:
            return kept
        # Stop at the first source with all files: the hashes identify the files, so the source does not matter.
        wanted = set(hashes)
        found: dict[str, IndexFile] = {}
        unreadable: list[str] = []
        for source in sources:
            if self.offline and not source.url.startswith("file:"):
                continue
            found = {file.sha256: file for file in self._pages.files(source, name, wanted)} | found
            if not found:
                unreadable += [f"`{each}`" for each in self._pages.without_hash(source, name) if f"-{version}" in each]
            if found.keys() == wanted:
                break
        if not found and self.offline:
            raise OfflineError(
                f"`--offline` prevents looking up the files of `{name}=={version}` in an index",
                hint="run the command once without `--offline`",
            )
        if not found and unreadable:
            raise IndexLookupError(
                f"the index has no SHA-256 for these files of `{name}=={version}`: {', '.join(unreadable)}",
                hint="use a lock format that contains file URLs, such as uv.lock or pylock.toml",
            )
        answer = tuple(sorted(found.values(), key=lambda file: file.filename))
        self._keep(place, answer)
        return answer

    def filenames(self, name: str) -> frozenset[str]:
        """
        Return the names of all files on the configured indexes' pages for the project *name*, for suggestions.

        A source given as ``--find-links`` adds all its files, those of other projects too. Raises `FetchError` if a request
        to an index fails.
        """
        return frozenset(each for source in self._sources(None) for each in self._pages.filenames(source, name))

    @property
    def client(self) -> Client:
        """The HTTP client with this project's certificates and credentials, created when first needed."""
        with self._guard:
            return self._client

    @property
    def credentials(self) -> Credentials:
        """The credentials for this project's indexes."""
        return self._settings.credentials

    def _sources(self, index_url: str | None) -> tuple[IndexSource, ...]:
        settings = self._settings
        if index_url is None:
            return settings.sources
        from lamina.fetch.settings import IndexSource  # imported already

        clean = settings.credentials.learn(index_url, index=True)
        return (*(source for source in settings.sources if source.flat), IndexSource(url=clean))

    @property
    def _settings(self) -> IndexSettings:
        with self._guard:
            return self._settings_once

    @cached_property
    def _settings_once(self) -> IndexSettings:
        from lamina.fetch.settings import read_settings  # not needed for a lock with file URLs

        index_url, extra, find_links = self._arguments
        return read_settings(self.project, index_url=index_url, extra_index_urls=extra, find_links=find_links)

    @cached_property
    def _client(self) -> Client:
        from lamina.fetch.http import Client  # imports the network modules

        return Client(
            self.credentials,
            certificates=self._settings.certificates,
            backoff=self._backoff,
        )

    @property
    def _pages(self) -> Pages:
        with self._guard:
            return self._pages_once

    @cached_property
    def _pages_once(self) -> Pages:
        from lamina.fetch.pages import Pages  # imports the network modules

        return Pages(lambda: self.client)

    def _keep(self, place: Path, files: tuple[IndexFile, ...]) -> None:
        # A URL with a query is not cached, because the query may be a signature, which is secret and expires. An empty
        # result is not cached, because the index may receive the files later.
        if files and not any("?" in file.url for file in files):
            with self._store.writing(place) as stream:
                stream.write(json.dumps([as_dict(file) for file in files]).encode())


def _key(sources: Iterable[IndexSource], name: str, version: str, hashes: Collection[str]) -> str:
    parts = [_FORMAT, [source.url for source in sources], name, version, sorted(hashes)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _load(place: Path) -> tuple[IndexFile, ...] | None:
    try:
        files = tuple(IndexFile(**row) for row in json.loads(place.read_bytes()))
    except (OSError, RecursionError, ValueError, TypeError):
        # A missing or damaged cache entry only means another lookup.
        return None
    # A local file may have been deleted since it was cached.
    return files if files and all(_is_there(file.url) for file in files) else None


def _is_there(url: str) -> bool:
    return not url.startswith("file:") or path_of(url).exists()
