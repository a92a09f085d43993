"""
Find the files with locked hashes in package indexes (PEP 503, PEP 691), on single pages of links, and in directories.

An index may list files without a SHA-256: a plain directory listing, or an index with another hash. lamina then downloads the
files that suit the target, the best first, until one has a locked hash.

Results are cached in the store, because a hash always identifies the same file. Not cached are empty results, and results with
a query in a URL, which may be a secret that expires.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.core.errors import FetchError, NoCompatibleWheelError, OfflineError, together
from lamina.core.frozen import as_dict
from lamina.core.names import path_of
from lamina.core.reporter import SILENT
from lamina.core.store import key_of
from lamina.core.urls import may_be_stored, redacted
from lamina.core.values import Pin, Sha256
from lamina.fetch.urls import is_remote, origin
from lamina.lock.types import IndexFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.fetch.credentials import Credentials
    from lamina.fetch.http import Client
    from lamina.fetch.pages import Pages
    from lamina.fetch.settings import IndexSettings, IndexSource

_AREA = "index"
_FORMAT = 1
# Several wheels of one version suit a target, but seldom more than three: one per ABI, and those with a build number.
_MOST_CANDIDATES = 8


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
        reporter: Reporter = SILENT,
    ) -> None:
        """
        Use the index settings of the directory *project*.

        *index_url* replaces the default index in those settings. *extra_index_urls* and *find_links* are queried in
        addition. *offline* limits lookups to local files and directories. *backoff*, in seconds, scales the pauses between
        attempts. *reporter* receives a note about each index that lists no SHA-256.
        """
        self.project = project
        self._store = store
        self._arguments = (index_url, tuple(extra_index_urls), tuple(find_links))
        self.offline = offline
        self._backoff = backoff
        self._reporter = reporter
        self._noted: set[str] = set()
        self._asked: dict[str, dict[str | None, None]] = {}
        self._unread: set[str] = set()
        self._guard = threading.RLock()

    def files(
        self, name: str, version: str, hashes: Collection[str], index_url: str | None, *, target: Target
    ) -> Sequence[IndexFile]:
        """
        Return the files of *name* *version* with a SHA-256 among *hashes*; empty if no index has such a file.

        The sources are queried in order, until every hash is found. *index_url* replaces the configured indexes, but not the
        configured ``--find-links`` sources. If no source lists a locked wheel for *target*, files without a SHA-256 are
        downloaded and hashed. A source that cannot be read is passed over if another has a wheel for *target*.
        Raises `OfflineError` if lamina is offline and no local source has such a file, `FetchError` or a subclass if a source
        that may have the files cannot be read, and `ConfigError` if the index settings are invalid.
        """
        sources = self._sources(index_url)
        place = self._store.entry(_AREA, _key(sources, name, version, hashes), ".json")
        own_place = self._store.entry(_AREA, _key(sources, name, version, hashes, target), ".json")
        if (kept := self._load(place) or self._load(own_place)) is not None:
            return kept
        with self._guard:
            self._asked.setdefault(name, {})[index_url] = None
        # Stop at the first source with all files: the hashes identify the files, so the source does not matter.
        wanted = set(hashes)
        found: dict[str, IndexFile] = {}
        read: list[IndexSource] = []
        failed: dict[str, FetchError] = {}
        for source in self._allowed(sources):
            try:
                found = {file.sha256: file for file in self._pages.files(source, name, wanted)} | found
            except FetchError as error:
                failed[source.url] = error
                continue
            read.append(source)
            if found.keys() == wanted:
                break
        if not found and self.offline:
            raise OfflineError(
                f"`--offline` prevents looking up the files of `{name}=={version}` in an index",
                hint="run the command once without `--offline`",
            )
        answer = tuple(sorted(found.values(), key=lambda file: file.filename))
        # The wheel for the target may be in an index without SHA-256, although another index lists the source archive.
        if not self.offline and found.keys() != wanted and not _fits(answer, name, version, target):
            is_needed = not answer and not failed
            file = self._identified(read, name, version, wanted - found.keys(), target, is_needed=is_needed)
            if file is not None:
                answer, place = (*answer, file), own_place
        if failed and found.keys() != wanted:
            # An index that is not available does not matter if another has a file for the target, because any file is locked.
            if not _fits(answer, name, version, target):
                raise together(list(failed.values()), "could not read any index that may have the locked files")
            self._note_unread(failed)
            return answer
        self._keep(place, answer)
        return answer

    def elsewhere(self, pin: Pin) -> Iterator[str]:
        """
        Yield the URLs at which the indexes list the file of *pin*, except its own; the file must have its SHA-256 there, too.

        Only those indexes are asked that the file may be from, because others must not learn the names of private packages. Those
        that cannot be read are skipped.
        """
        asked = self._asked.get(pin.name) or ((pin.index,) if pin.index or self._is_from_settings(pin) else ())
        sources = dict.fromkeys(source for index_url in asked for source in self._sources(index_url))
        seen = {pin.url}
        for source in self._allowed(sources):
            try:
                files = () if source.url in self._unread else self._pages.files(source, pin.name, {pin.sha256})
            except FetchError:
                self._unread.add(source.url)
                continue
            for file in files:
                if file.url not in seen:
                    seen.add(file.url)
                    yield file.url

    def _is_from_settings(self, pin: Pin) -> bool:
        """Return whether *pin*, which the lock assigns to no index, has no place of its own, or one on a configured index."""
        if pin.url is None:
            return pin.path is None
        return is_remote(pin.url) and origin(pin.url) in {origin(source.url) for source in self._sources(None)}

    def _allowed(self, sources: Iterable[IndexSource]) -> Iterator[IndexSource]:
        return (source for source in sources if not self.offline or source.url.startswith("file:"))

    def _note_unread(self, urls: Iterable[str]) -> None:
        for url in urls:
            if self._is_first(f"unread {url}"):
                self._reporter.note(f"`{redacted(url)}` cannot be read: lamina uses the files of the other indexes")

    def _is_first(self, subject: str) -> bool:
        """Return whether there was no note about *subject* before."""
        with self._guard:
            first = subject not in self._noted
            self._noted.add(subject)
        return first

    def _identified(
        self,
        sources: Iterable[IndexSource],
        name: str,
        version: str,
        hashes: Collection[str],
        target: Target,
        *,
        is_needed: bool,
    ) -> IndexFile | None:
        """
        Return the file of *version* with a hash in *hashes* of the first of *sources* that lists it without a SHA-256.

        If *is_needed* and there are only wheels for other targets, raises `NoCompatibleWheelError` listing those of one source.
        """
        reason: NoCompatibleWheelError | None = None
        for source in sources:
            try:
                file = self._downloaded(source, name, version, hashes, target)
            except NoCompatibleWheelError as error:
                reason = reason or error
                continue
            if file is not None:
                return file
        if is_needed and reason is not None:
            raise reason
        return None

    def _downloaded(
        self, source: IndexSource, name: str, version: str, hashes: Collection[str], target: Target
    ) -> IndexFile | None:
        """
        Download the files of *version* that *source* lists without a SHA-256 until one has a hash in *hashes*.

        The best for *target* comes first. Raises `NoCompatibleWheelError` if *target* supports none.
        """
        candidates = self._pages.unhashed(source, name)
        if not candidates:
            return None
        from lamina.fetch.candidates import ordered
        from lamina.fetch.download import download_candidate

        for filename, url in ordered(candidates, name, version, target)[:_MOST_CANDIDATES]:
            if self._is_first(source.url):
                self._reporter.note(
                    f"`{redacted(source.url)}` lists no SHA-256, so lamina downloads files to compare them with the lock"
                )
            # The hash is what the download finds out.
            candidate = Pin(name=name, version=version, filename=filename, sha256=Sha256(""), url=url)
            if (file := download_candidate(candidate, hashes, self._store, index=self)) is not None:
                return file
        return None

    def filenames(self, name: str) -> frozenset[str]:
        """
        Return the names of all files on the configured indexes' pages for the project *name*, for suggestions.

        A source given as ``--find-links`` adds all its files, those of other projects too. Raises `FetchError` if a request
        to an index fails.
        """
        return frozenset(each for source in self._sources(None) for each in self._pages.filenames(source, name))

    def wheels(self, name: str) -> tuple[tuple[str, str, int | None], ...]:
        """
        Return the name, URL and size in bytes of every wheel of the project *name* in the configured sources.

        The size is ``None`` if the source does not state it. Offline, only local sources are read. Raises `FetchError` if no source has
        wheels of the project and a request failed, and `ConfigError` if the index settings are invalid.
        """
        found: dict[str, tuple[str, str, int | None]] = {}
        failed: list[FetchError] = []
        for source in self._allowed(self._sources(None)):
            try:
                rows = self._pages.wheels(source, name)
            except FetchError as error:
                failed.append(error)
            else:
                found = {row[0]: row for row in rows} | found
        if failed and not found:
            raise together(failed, f"could not read any index that may have wheels of `{name}`")
        return tuple(found.values())

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
        if files and all(may_be_stored(file.url) for file in files):
            self._store.write_document(place, {"files": [as_dict(file) for file in files]})

    def _load(self, place: Path) -> tuple[IndexFile, ...] | None:
        files = self._store.read_document(place, lambda content: tuple(IndexFile(**row) for row in content["files"]))
        # A local file may have been deleted since it was cached.
        return files if files and all(_is_there(file.url) for file in files) else None


def _fits(files: Iterable[IndexFile], name: str, version: str, target: Target) -> bool:
    """Return whether *target* supports a wheel among *files*."""
    from lamina.fetch.candidates import ordered

    wheels = [(file.filename, file.url) for file in files if file.filename.endswith(".whl")]
    try:
        return bool(ordered(wheels, name, version, target))
    except NoCompatibleWheelError:
        return False


def _key(
    sources: Iterable[IndexSource], name: str, version: str, hashes: Collection[str], target: Target | None = None
) -> str:
    parts = [_FORMAT, [source.url for source in sources], name, version, sorted(hashes)]
    parts += [] if target is None else [str(target)]
    return key_of(*parts)


def _is_there(url: str) -> bool:
    return not url.startswith("file:") or path_of(url).exists()
