"""
Read a layer's zip from disk as the parts of its layout, each with its SHA-256; never the whole of it in memory.

Of a layer that was put together without its wheels, the file has holes in place of parts that the bucket has.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from lamina.aws.publish.remote_index import RemoteIndex, index_entries, wrap
from lamina.core.errors import IntegrityError
from lamina.core.reporter import SILENT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.aws.publish.parts import Part
    from lamina.core.reporter import Reporter

_BUFFER_BYTES = 1 << 20


class Window(io.RawIOBase):
    """A range of a file, which can be read again when a request is sent again."""

    def __init__(self, path: Path, start: int, size: int, *, reporter: Reporter = SILENT) -> None:
        """Open *size* bytes of *path* from *start* on; *reporter* advances by what is read for the first time."""
        self._file = path.open("rb", buffering=0)
        self._reporter = reporter
        self._furthest = 0
        self._start = start
        self._size = size
        self._position = 0
        self._file.seek(start)

    def __len__(self) -> int:
        return self._size

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # narrower than any buffer, as RawIOBase calls it
        """Read up to the end of the range."""
        most = min(len(buffer), self._size - self._position)
        count: int = self._file.readinto(memoryview(buffer)[:most])
        self._position += count
        if self._position > self._furthest:
            self._reporter.advance(self._position - self._furthest)
            self._furthest = self._position
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to *offset* within the range."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, min(self._size, base + offset))
        self._file.seek(self._start + self._position)
        return self._position

    def tell(self) -> int:
        """Return the position within the range."""
        return self._position

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexUpdate:
    """What the remote index of a bucket is to keep of one layer, so that machines without the wheels can put it together."""

    entries: Mapping[str, bytes]
    """By name."""
    names: frozenset[str] = frozenset()
    """Names of what the index has of the layer beside its *entries*."""
    refused: frozenset[str] = frozenset()
    """Names of entries that the index has wrong."""
    known: frozenset[str] = frozenset()
    """Names of what the index of *bucket* has; of other buckets nothing is known."""
    bucket: Bucket | None = None

    def known_in(self, bucket: Bucket) -> frozenset[str]:
        """Return the names of what the remote index of *bucket* is known to have."""
        return self.known if self.bucket is not None and self.bucket.objects is bucket.objects else frozenset()


class LayerZip:
    """The zip of one desired layer on disk."""

    def __init__(self, desired: DesiredLayer, *, parts: tuple[str, ...], tail_sha256: str) -> None:
        """Describe a zip whose *parts* have these SHA-256, in order, and what is behind them *tail_sha256*."""
        self._layer = desired.layer
        self._path = desired.layer.path
        self.layout = desired.layout
        self.parts = parts
        self.tail_sha256 = tail_sha256

    @staticmethod
    def hashed(desired: DesiredLayer) -> LayerZip:
        """
        Hash the zip of *desired*, once as a whole and once in parts.

        Raises IntegrityError if it is not there as it was built.
        """
        path, layout, whole = desired.layer.path, desired.layout, hashlib.sha256()
        spans = [*((part.start, part.size) for part in layout.parts), (layout.tail_start, layout.tail_bytes)]
        try:
            *parts, tail = [_hash(path, start, size, whole) for start, size in spans]
            same = path.stat().st_size == layout.zipped_bytes and whole.hexdigest() == desired.layer.sha256
        except OSError as error:
            raise _changed(path) from error
        if not same:
            raise _changed(path)
        return LayerZip(desired, parts=tuple(parts), tail_sha256=tail)

    @property
    def digest(self) -> str:
        """The layer's."""
        return self._layer.digest

    @property
    def sha256(self) -> str | None:
        """That of the whole zip; ``None`` while nobody has hashed it."""
        return self._layer.sha256

    @property
    def composite_sha256(self) -> str:
        """The checksum that S3 reports of an object composed of exactly these parts."""
        digests = (bytes.fromhex(sha256) for sha256 in (*self.parts, self.tail_sha256))
        return hashlib.sha256(b"".join(digests)).hexdigest()

    def index_update(self) -> IndexUpdate:
        """Return what remote indexes are to keep of the layer."""
        return IndexUpdate(entries=index_entries(self._path, self._layer, self.layout, self.parts))

    def unique_parts(self) -> tuple[tuple[str, Part], ...]:
        """Return the parts with their SHA-256, each once."""
        return tuple(dict(zip(self.parts, self.layout.parts, strict=True)).items())

    def open(self, part: Part, *, start: int = 0, size: int | None = None, reporter: Reporter = SILENT) -> BinaryIO:
        """Open one part's bytes, or *size* of them from *start* on; *reporter* advances by what is read for the first time."""
        length = part.size if size is None else size
        return Window(self._path, part.start + start, length, reporter=reporter)  # type: ignore[return-value]  # as much of a file as is asked for

    def hash(self, part: Part, algorithm: str = "sha256", *, start: int = 0, size: int | None = None) -> bytes:
        """Return the digest of one part's bytes, or of *size* of them from *start* on."""
        found = hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
        with self.open(part, start=start, size=size) as body:
            while piece := body.read(_BUFFER_BYTES):
                found.update(piece)
        return found.digest()

    def open_tail(self) -> BinaryIO:
        """Open the bytes behind the last part, which are the whole zip where it has no parts."""
        return Window(self._path, self.layout.tail_start, self.layout.tail_bytes)  # type: ignore[return-value]

    def read(self) -> bytes:
        """Return the whole zip, for a call that has to carry it."""
        return self._path.read_bytes()


class MetadataSource(Protocol):
    """Finds what the remote index is to keep beside a layer's own entries."""

    def __call__(self) -> Mapping[str, bytes]:
        """Return it by name."""


class LayerJob:
    """One desired layer, whose zip is hashed at most once, and only if some destination lacks the layer."""

    def __init__(
        self, desired: DesiredLayer, source: LayerZip | None = None, *, metadata: MetadataSource = dict[str, bytes]
    ) -> None:
        """
        Hash the layer's own zip when it is first asked for, unless *source* is given.

        *metadata* is called only where an index is to be written.
        """
        self.desired = desired
        self._metadata = metadata
        self._lock = Lock()
        self._source = source

    @property
    def source(self) -> LayerZip:
        """The zip, checked to be what was built."""
        with self._lock:
            if self._source is None:
                self._source = LayerZip.hashed(self.desired)
            return self._source

    def add_to_index(self, bucket: Bucket, *, known: Collection[str]) -> int:
        """
        Add to the remote index what machines without the wheels have to know of the layer, but for what is *known* there.

        Return how many bytes were sent.
        """
        index = RemoteIndex(bucket, refused=self._index.refused)
        return index.put(self._entries, known=self._index.known_in(bucket).union(known))

    def index_bytes(self, bucket: Bucket, known: Collection[str]) -> int:
        """Return how many bytes the remote index is to get at most, without what is *known* there."""
        there = self._index.known_in(bucket).union(known) - self._index.refused
        return sum(len(content) for name, content in self._entries.items() if name not in there)

    def index_names(self) -> tuple[str, ...]:
        """Return the names of everything that the remote index is to keep for the layer's sake."""
        return tuple(sorted({*self._entries, *self._index.names}))

    @cached_property
    def _index(self) -> IndexUpdate:
        return self.source.index_update()

    @cached_property
    def _entries(self) -> dict[str, bytes]:
        payloads = {**self._metadata(), **self._index.entries}
        return {name: wrap(name, payload) for name, payload in payloads.items()}


class SparseLayerZip(LayerZip):
    """
    The zip of a layer that was built without all of its wheels: a file with holes.

    A hole is a part that the first bucket has; another bucket that lacks it gets it from there.
    """

    def __init__(
        self,
        desired: DesiredLayer,
        *,
        parts: tuple[str, ...],
        whole_parts: Collection[int],
        bucket: Bucket,
        index: IndexUpdate,
    ) -> None:
        """Describe a zip that has the tail, and those *parts* that start at *whole_parts*; *bucket* has the others."""
        layout = desired.layout
        tail_sha256 = _hash(desired.layer.path, layout.tail_start, layout.tail_bytes)
        super().__init__(desired, parts=parts, tail_sha256=tail_sha256)
        self._whole_parts = set(whole_parts)
        self._bucket = bucket
        self._index = index
        self._lock = Lock()

    def index_update(self) -> IndexUpdate:
        """Return what remote indexes are to keep of the layer, as those who have the wheels have found it."""
        return self._index

    def open(self, part: Part, *, start: int = 0, size: int | None = None, reporter: Reporter = SILENT) -> BinaryIO:
        """Open one part's bytes, fetching them if they are a hole; raises IntegrityError if the bucket does not have them."""
        with self._lock:
            if part.start not in self._whole_parts:
                self._fetch(part)
                self._whole_parts.add(part.start)
        return super().open(part, start=start, size=size, reporter=reporter)

    def _fetch(self, part: Part) -> None:
        sha256 = self.parts[self.layout.parts.index(part)]
        key = self._bucket.keys.part(sha256)
        digest = hashlib.sha256()
        with self._path.open("r+b", buffering=0) as file:
            file.seek(part.start)
            for content in self._bucket.read(key, 0, part.size):
                digest.update(content)
                file.write(content)
        if digest.hexdigest() != sha256:
            raise IntegrityError(
                f"`{self._bucket.url(key)}` is not what its name says, or has gone meanwhile", hint="run again"
            )


def _hash(path: Path, start: int, size: int, whole: hashlib._Hash | None = None) -> str:
    """Return the SHA-256 of a range of a file, and add its bytes to *whole*."""
    digest = hashlib.sha256()
    with Window(path, start, size) as window:
        while piece := window.read(_BUFFER_BYTES):
            digest.update(piece)
            if whole is not None:
                whole.update(piece)
    return digest.hexdigest()


def _changed(path: Path) -> IntegrityError:
    return IntegrityError(f"`{path}` is not there as it was built", hint="build again: lamina build")
