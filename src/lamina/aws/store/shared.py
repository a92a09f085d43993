"""
Share what builds fetch and make through a bucket: the team's store, behind everybody's own.

::

    <prefix>blobs/<sha256>                           a file of the store, named by its content
    <prefix>caches/<service>/<target>.json           which files the last builds of a service used, and their SHA-256

A blob that does not have the SHA-256 of its name is refused, whoever put it there, and replaced by the next build that made the file itself.
A wheel must have the locked SHA-256 besides, and match its own RECORD, as if it came from an index. What is derived from wheels
(bytecode, what modules import) cannot be proven without deriving it again: whoever may write there is trusted like whoever may push code.
Segments are not shared: making one from its wheel takes less time than fetching it.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.aws.destination.bucket import Bucket
from lamina.aws.destination.naming import Keys
from lamina.aws.destination.parallel import in_parallel
from lamina.core.errors import CorruptArchiveError, LaminaError
from lamina.core.files import file_sha256
from lamina.core.store import Store
from lamina.core.target import quotas
from lamina.core.values import Pin, Sha256

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.aws.api.s3 import Objects
    from lamina.core.reporter import Reporter

_VERSION = "1"
_WORKERS = 4
_MOST_ENTRIES = 5000
_DERIVED = re.compile(r"(?:bytecode|own-bytecode|imports|reach)/([0-9a-f]{2})/\1[0-9a-f]{62}\.(?:seg|pack|json)")
_WHEEL = re.compile(r"wheels/([0-9a-f]{2})/(\1[0-9a-f]{62})/([A-Za-z0-9_.!+-]+\.whl)")


class TracedStore(Store):
    """A store that remembers which of its files were asked for."""

    __slots__ = ("asked",)

    def __init__(self, root: Path) -> None:
        """Have been asked for nothing."""
        super().__init__(root)
        self.asked: dict[Path, None] = {}

    def wheel(self, sha256: Sha256, filename: str | None = None) -> Path | None:
        """Return the path of the admitted wheel with *sha256*, or ``None``."""
        found = super().wheel(sha256, filename)
        if found is not None:
            self.asked[found] = None
        return found

    def wheel_destination(self, sha256: Sha256, filename: str) -> Path:
        """Return where the wheel with *sha256* is admitted."""
        path = super().wheel_destination(sha256, filename)
        self.asked[path] = None
        return path

    def entry(self, area: str, key: str, suffix: str = "") -> Path:
        """Return where *area* keeps what *key* decides, whether it exists or not."""
        path = super().entry(area, key, suffix)
        self.asked[path] = None
        return path


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreEntry:
    """One file of the store."""

    path: str
    """Relative to the store."""
    sha256: str
    size: int


def split_url(url: str) -> tuple[str, str]:
    """Return bucket and prefix of an address ``s3://bucket/prefix``; the prefix is empty or ends with a slash."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


class SharedStore:
    """The bucket's part for one service and target."""

    def __init__(self, objects: Objects, prefix: str, *, name: str, reporter: Reporter) -> None:
        """Keep the list of files under *name*."""
        self._bucket = Bucket(objects=objects, keys=Keys(prefix))
        self._list = self._bucket.keys.below(f"caches/{name}.json")
        self._reporter = reporter
        self._listed: tuple[StoreEntry, ...] = ()
        self._refused: set[str] = set()

    def pull(self, store: Store) -> int:
        """
        Bring the listed files that *store* lacks into it, each checked; return how many bytes those were.

        Raises AwsError and its kinds; what was brought by then is whole.
        """
        content = self._bucket.objects.get(self._list)
        self._listed = _decode(content) if content is not None else ()
        missing = [entry for entry in self._listed if not (store.root / entry.path).exists()]
        if not missing:
            return 0
        self._reporter.stage("Fetching from the team's store", total=sum(entry.size for entry in missing), unit="bytes")
        sizes = in_parallel(lambda entry: self._fetch(entry, store), missing, workers=_WORKERS)
        if self._refused:
            self._reporter.warn(
                f"{len(self._refused)} objects of the team's store are not what they should be, and were refused",
                hint="they are replaced when this build has made the files itself",
            )
        return sum(sizes)

    def _fetch(self, entry: StoreEntry, store: Store) -> int:
        key = self._blob(entry.sha256)
        stored = self._bucket.objects.head(key)
        # Its size is looked at before its content is read: what is too large never arrives.
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
        Add the files that a build asked *store* for, and that are not listed yet; return how many bytes were sent.

        Raises AwsError and its kinds; the list then is as it was.
        """
        known = {entry.path for entry in self._listed} - self._refused
        paths = [path.relative_to(store.root).as_posix() for path in list(store.asked) if path.is_file()]
        new = [_measure(store.root, path) for path in dict.fromkeys(paths) if path not in known and _is_shared(path)]
        if not new:
            return 0
        self._reporter.stage("Adding to the team's store", total=sum(entry.size for entry in new), unit="bytes")
        sent = sum(in_parallel(lambda entry: self._add(entry, store), new, workers=_WORKERS))
        listed = {
            entry.path: entry for entry in (*new, *self._listed) if entry.path not in self._refused or entry in new
        }
        content = _encode(list(listed.values())[:_MOST_ENTRIES])
        # Builds at the same time overwrite each other's list, which costs the next one a download from elsewhere.
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
    """Raise ArchiveError for a wheel that no index could have given: its hash is in its path, and its RECORD has to be right."""
    wheel = _WHEEL.fullmatch(entry.path)
    if wheel is None:
        return
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    from lamina.archive.record import verify_record

    filename = wheel[3]
    try:
        name, version, *_ = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise CorruptArchiveError(f"`{filename}` is no wheel's name") from error
    with tempfile.TemporaryDirectory(prefix="lamina-store-") as directory:
        path = Path(directory, filename)
        path.write_bytes(content)
        verify_record(path, Pin(name=name, version=str(version), filename=filename, sha256=Sha256(entry.sha256)))


def _encode(entries: Iterable[StoreEntry]) -> bytes:
    rows = [{"path": entry.path, "sha256": entry.sha256, "size": entry.size} for entry in entries]
    return json.dumps({"version": _VERSION, "entries": rows}, separators=(",", ":")).encode()


def _decode(content: bytes) -> tuple[StoreEntry, ...]:
    """Return the entries of a list that name files which may be shared; a list that is none has none."""
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
