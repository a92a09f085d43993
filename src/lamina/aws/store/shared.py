"""
Share downloaded and derived files between builds through a bucket, the team store.

::

    <prefix>blobs/<sha256>                           a file of the store, named by its SHA-256
    <prefix>caches/<format>/<service>/<target>.json  the files that recent builds of a service used, with their SHA-256

lamina rejects a blob whose content does not have the SHA-256 in its name. The next build that creates the file itself replaces the blob.
A wheel must also have the SHA-256 in the lock file and match its RECORD, exactly like a wheel from a package index.
Files derived from wheels (bytecode, import lists) cannot be verified without deriving them again. So grant write access to the bucket
only to people who may also push code. Segments are not shared, because creating one from its wheel is faster than downloading it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.aws.destination.bucket import Bucket
from lamina.aws.destination.naming import Keys
from lamina.aws.destination.parallel import in_parallel
from lamina.core.errors import CorruptArchiveError, LaminaError
from lamina.core.files import file_sha256, naming
from lamina.core.store import FORMAT, Store
from lamina.core.target import quotas
from lamina.core.temporary import temporary_directory
from lamina.core.text import count
from lamina.core.values import Pin, Sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lamina.aws.api.s3 import Objects
    from lamina.core.reporter import Reporter

_VERSION = "1"
_WORKERS = 4
_MOST_ENTRIES = 5000
_DERIVED = re.compile(r"(?:bytecode|own-bytecode|imports|reach)/([0-9a-f]{2})/\1[0-9a-f]{62}\.(?:seg|pack|json)")
_WHEEL = re.compile(r"wheels/([0-9a-f]{2})/(\1[0-9a-f]{62})/([A-Za-z0-9_.!+-]+\.whl)")


class TracedStore(Store):
    """A store that records each path that a build requests, as a key of `asked`."""

    __slots__ = ("asked",)

    def __init__(self, root: Path, *, note: Callable[[str], None] | None = None) -> None:
        super().__init__(root, note=note)
        self.asked: dict[Path, None] = {}

    def wheel(self, sha256: Sha256, filename: str | None = None) -> Path | None:
        """Return the path of the wheel with *sha256*, or ``None`` if the store does not have it. Record the path."""
        found = super().wheel(sha256, filename)
        if found is not None:
            self.asked[found] = None
        return found

    def wheel_destination(self, sha256: Sha256, filename: str) -> Path:
        """Return the path at which the store keeps the wheel with *sha256*, and record it."""
        path = super().wheel_destination(sha256, filename)
        self.asked[path] = None
        return path

    def entry(self, area: str, key: str, suffix: str = "") -> Path:
        """Return the path of the file for *key* in *area*, and record it. The file need not exist."""
        path = super().entry(area, key, suffix)
        self.asked[path] = None
        return path


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreEntry:
    """One file in the list of a team store."""

    path: str
    """The file's path, relative to the root of a local store."""
    sha256: str
    size: int


def split_url(url: str) -> tuple[str, str]:
    """Split the URL ``s3://bucket/prefix`` into bucket and prefix. The returned prefix is empty or ends with a slash."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


class SharedStore:
    """The team store of one service and target."""

    def __init__(self, objects: Objects, prefix: str, *, name: str, reporter: Reporter) -> None:
        """Use the keys below *prefix*, with the list of files at ``caches/<format>/<name>.json``."""
        self._bucket = Bucket(objects=objects, keys=Keys(prefix))
        self._list = self._bucket.keys.below(f"caches/{FORMAT}/{name}.json")
        self._reporter = reporter
        self._listed: tuple[StoreEntry, ...] = ()
        self._refused: set[str] = set()

    def pull(self, store: Store) -> int:
        """
        Download the listed files that *store* lacks, checking each one, and return the number of bytes added to *store*.

        Files that fail the check are not added; one warning gives their number. Raises `AwsError`. Files that were added before the
        error are complete.
        """
        self._reporter.stage("reading the team store")
        content = self._bucket.objects.get(self._list)
        self._listed = _decode(content) if content is not None else ()
        missing = [entry for entry in self._listed if not (store.root / entry.path).exists()]
        if not missing:
            return 0
        # Bytecode and imports first: they save more time per byte than wheels.
        missing.sort(key=lambda entry: _WHEEL.fullmatch(entry.path) is not None)
        self._reporter.stage(
            "downloading from the team store", total=sum(entry.size for entry in missing), unit="bytes"
        )
        sizes = in_parallel(lambda entry: self._fetch(entry, store), missing, workers=_WORKERS)
        if self._refused:
            self._reporter.warn(
                f"{count(len(self._refused), 'file')} in the team store failed verification and will not be used",
                hint="no action needed: this build creates the files again, and lamina then replaces them in the team store",
            )
        return sum(sizes)

    def _fetch(self, entry: StoreEntry, store: Store) -> int:
        key = self._blob(entry.sha256)
        stored = self._bucket.objects.head(key)
        # Check the size first, so that an object that is too large is never downloaded.
        content = self._bucket.objects.get(key) if stored is not None and stored.size == entry.size else None
        self._reporter.advance(entry.size)
        if content is None or hashlib.sha256(content).hexdigest() != entry.sha256:
            self._refused.add(entry.path)
            return 0
        try:
            _prove(content, entry)
            with store.writing(store.root / entry.path) as file:
                file.write(content)
        except LaminaError:
            self._refused.add(entry.path)
            return 0
        return entry.size

    def push(self, store: TracedStore) -> int:
        """
        Upload and list the files that a build requested from *store* and that are not listed yet. Return the number of bytes uploaded.

        Raises `AwsError`. After an error, the list in the bucket is unchanged.
        """
        known = {entry.path for entry in self._listed} - self._refused
        paths = [path.relative_to(store.root).as_posix() for path in list(store.asked) if path.is_file()]
        new = [_measure(store.root, path) for path in dict.fromkeys(paths) if path not in known and _is_shared(path)]
        if not new:
            return 0
        self._reporter.stage("uploading to the team store", total=sum(entry.size for entry in new), unit="bytes")
        sent = sum(in_parallel(lambda entry: self._add(entry, store), new, workers=_WORKERS))
        listed = {
            entry.path: entry for entry in (*new, *self._listed) if entry.path not in self._refused or entry in new
        }
        content = _encode(list(listed.values())[:_MOST_ENTRIES])
        # Concurrent builds overwrite each other's list. Files missing from it are downloaded or created again by the next build.
        self._bucket.objects.put(self._list, content, sha256=hashlib.sha256(content).hexdigest(), absent=False)
        return sent

    def _add(self, entry: StoreEntry, store: Store) -> int:
        with (store.root / entry.path).open("rb") as body:
            sent = self._bucket.write(self._blob(entry.sha256), body, sha256=entry.sha256)
        self._reporter.advance(entry.size)
        return entry.size if sent else 0

    def _blob(self, sha256: str) -> str:
        return self._bucket.keys.below(f"blobs/{sha256}")


def _is_shared(path: str) -> bool:
    return _DERIVED.fullmatch(path) is not None or _WHEEL.fullmatch(path) is not None


def _measure(root: Path, path: str) -> StoreEntry:
    return StoreEntry(path=path, sha256=file_sha256(root / path), size=(root / path).stat().st_size)


def _prove(content: bytes, entry: StoreEntry) -> None:
    """Check a wheel's file name and its RECORD, and the format and the proof of any other file. Raise `ArchiveError` if one is wrong."""
    wheel = _WHEEL.fullmatch(entry.path)
    if wheel is None:
        from lamina.pipeline.cache_archive import problem

        if (found := problem(content, Path(entry.path))) is not None:
            raise CorruptArchiveError(f"`{entry.path}` in the team store: {found}")
        return
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    from lamina.archive.record import verify_record

    filename = wheel[3]
    try:
        name, version, *_ = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise CorruptArchiveError(f"`{filename}` is not a valid wheel name") from error
    with temporary_directory("store") as directory, naming(directory):
        path = directory / filename
        path.write_bytes(content)
        verify_record(path, Pin(name=name, version=str(version), filename=filename, sha256=Sha256(entry.sha256)))


def _encode(entries: Iterable[StoreEntry]) -> bytes:
    rows = [{"path": entry.path, "sha256": entry.sha256, "size": entry.size} for entry in entries]
    return json.dumps({"version": _VERSION, "entries": rows}, separators=(",", ":")).encode()


def _decode(content: bytes) -> tuple[StoreEntry, ...]:
    """Parse a list of files, and keep the entries that may be shared. Return no entries if the list is invalid."""
    try:
        document: dict[str, Any] = json.loads(content)
        if document["version"] != _VERSION:
            return ()
        found = [
            StoreEntry(path=str(row["path"]), sha256=str(row["sha256"]), size=int(row["size"]))
            for row in document["entries"]
        ]
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError):
        return ()
    return tuple(entry for entry in found if _may_come(entry))


def _may_come(entry: StoreEntry) -> bool:
    wheel = _WHEEL.fullmatch(entry.path)
    return (
        re.fullmatch(r"[0-9a-f]{64}", entry.sha256) is not None
        and 0 <= entry.size <= quotas().unzipped_bytes
        and (wheel[2] == entry.sha256 if wheel is not None else _DERIVED.fullmatch(entry.path) is not None)
    )
