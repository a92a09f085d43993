"""
Find the files that belong to locked hashes: the simple API (PEP 503, PEP 691), flat pages and directories.

An answer is kept in the store, because what a hash stands for never changes: a second build asks nobody.
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
    The indexes of one project, asked with its credentials: an implementation of `lamina.lock.types.IndexFiles`.

    Making one costs nothing: configuration is read, and a network used, when the first question needs it.
    Methods may be called from several threads at once.
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
        Ask on behalf of the directory *project*; URLs given here come before all configuration.

        *backoff* is the unit of the pauses between attempts, in seconds.
        """
        self.project = project
        self._store = store
        self._arguments = (index_url, tuple(extra_index_urls), tuple(find_links))
        self.offline = offline
        self._backoff = backoff
        self._guard = threading.RLock()

    def files(self, name: str, version: str, hashes: Collection[str], index_url: str | None) -> Sequence[IndexFile]:
        """
        Return every file of *name* *version* whose SHA-256 is among *hashes*; none if no index knows such a file.

        *index_url* replaces the configured indexes, but not the configured places of local files.
        Raises `FetchError` if an index cannot be asked.
        """
        sources = self._sources(index_url)
        place = self._store.entry(_AREA, _key(sources, name, version, hashes), ".json")
        if (kept := _load(place)) is not None:
            return kept
        # Distances matter more than ranks: the hash decides, so the first place that has all of them ends the search.
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
                f"The files of `{name}=={version}` are not known yet, and `--offline` forbids to ask an index",
                hint="build once online",
            )
        if not found and unreadable:
            raise IndexLookupError(
                f"The index tells no SHA-256 of the files of `{name}=={version}`: {', '.join(unreadable)}",
                hint="lock in a format that names files, such as uv.lock or pylock.toml",
            )
        answer = tuple(sorted(found.values(), key=lambda file: file.filename))
        self._keep(place, answer)
        return answer

    def filenames(self, name: str) -> frozenset[str]:
        """
        Return the names of all files that the configured indexes offer for the project *name*, for suggestions.

        Raises `FetchError` if an index cannot be asked.
        """
        return frozenset(each for source in self._sources(None) for each in self._pages.filenames(source, name))

    @property
    def client(self) -> Client:
        """The HTTP client with this project's trust and credentials."""
        with self._guard:
            return self._client

    @property
    def credentials(self) -> Credentials:
        """The logins of this project's indexes."""
        return self._settings.credentials

    def _sources(self, index_url: str | None) -> tuple[IndexSource, ...]:
        settings = self._settings
        if index_url is None:
            return settings.sources
        from lamina.fetch.settings import IndexSource  # loaded by now

        clean = settings.credentials.learn(index_url, index=True)
        return (*(source for source in settings.sources if source.flat), IndexSource(url=clean))

    @property
    def _settings(self) -> IndexSettings:
        with self._guard:
            return self._settings_once

    @cached_property
    def _settings_once(self) -> IndexSettings:
        from lamina.fetch.settings import read_settings  # not needed by a lock that names its files

        index_url, extra, find_links = self._arguments
        return read_settings(self.project, index_url=index_url, extra_index_urls=extra, find_links=find_links)

    @cached_property
    def _client(self) -> Client:
        from lamina.fetch.http import Client  # loads the network's modules

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
        from lamina.fetch.pages import Pages  # loads the network's modules

        return Pages(lambda: self.client)

    def _keep(self, place: Path, files: tuple[IndexFile, ...]) -> None:
        # A query may be a signature: it expires, and it is a secret. An empty answer may be another one tomorrow.
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
        # A damaged answer is as good as none: it is asked for again.
        return None
    # What a hash stands for never changes, but a file of this machine may have gone.
    return files if files and all(_is_there(file.url) for file in files) else None


def _is_there(url: str) -> bool:
    return not url.startswith("file:") or path_of(url).exists()
