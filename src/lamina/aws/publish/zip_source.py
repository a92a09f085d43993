"""
Read a layer's zip from disk in parts, each with its SHA-256, without loading the whole zip into memory.

If a layer was built without all of its wheels, its zip has holes in place of bytes that the bucket has.
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
from lamina.core.faults import exhausted
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
    """A range of a file, as a seekable stream, so that a repeated request can read it again."""

    def __init__(self, path: Path, start: int, size: int, *, reporter: Reporter = SILENT) -> None:
        """Open *size* bytes of *path*, beginning at *start*. *reporter* advances only when bytes are read for the first time."""
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
        """Return ``True``: the range can be read."""
        return True

    def seekable(self) -> bool:
        """Return ``True``: the range can be read again from any position."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # narrower than any buffer, as RawIOBase calls it
        """Read bytes into *buffer*, up to the end of the range, and return their number."""
        most = min(len(buffer), self._size - self._position)
        count: int = self._file.readinto(memoryview(buffer)[:most])
        self._position += count
        if self._position > self._furthest:
            self._reporter.advance(self._position - self._furthest)
            self._furthest = self._position
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position within the range, and return it. A position outside the range becomes the nearest one inside."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, min(self._size, base + offset))
        self._file.seek(self._start + self._position)
        return self._position

    def tell(self) -> int:
        """Return the current position, counted from the start of the range."""
        return self._position

    def close(self) -> None:
        """Close the underlying file."""
        self._file.close()
        super().close()


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexUpdate:
    """The entries of the remote index for one layer. With them, machines that lack the wheels can build the layer."""

    entries: Mapping[str, bytes]
    """The payloads of the entries to write, by name."""
    names: frozenset[str] = frozenset()
    """The names of further entries that the layer needs and that the index already has."""
    refused: frozenset[str] = frozenset()
    """The names of entries that are wrong in the index, and must be replaced."""
    known: frozenset[str] = frozenset()
    """The names of entries that the index of *bucket* has. For other buckets, lamina has not read the index."""
    bucket: Bucket | None = None

    def known_in(self, bucket: Bucket) -> frozenset[str]:
        """Return the names of the entries that the remote index of *bucket* is known to have."""
        return self.known if self.bucket is not None and self.bucket.objects is bucket.objects else frozenset()


class LayerZip:
    """The zip of one desired layer on disk."""

    def __init__(self, desired: DesiredLayer, *, parts: tuple[str, ...], tail_sha256: str) -> None:
        """Store the SHA-256 of each part, in order, and of the tail that follows them."""
        self._layer = desired.layer
        self._path = desired.layer.path
        self.layout = desired.layout
        self.parts = parts
        self.tail_sha256 = tail_sha256

    @staticmethod
    def hashed(desired: DesiredLayer) -> LayerZip:
        """
        Return the zip of *desired*, after hashing it both as a whole and in parts.

        Raises `IntegrityError` if the file is missing, or has changed since the build.
        """
        path, layout, whole = desired.layer.path, desired.layout, hashlib.sha256()
        spans = [*((part.start, part.size) for part in layout.parts), (layout.tail_start, layout.tail_bytes)]
        try:
            *parts, tail = [_hash(path, start, size, whole) for start, size in spans]
            same = path.stat().st_size == layout.zipped_bytes and whole.hexdigest() == desired.layer.sha256
        except OSError as error:
            raise exhausted(error) or _changed(path) from error
        if not same:
            raise _changed(path)
        return LayerZip(desired, parts=tuple(parts), tail_sha256=tail)

    @property
    def digest(self) -> str:
        """The layer's digest."""
        return self._layer.digest

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the whole zip; ``None`` if it is unknown because the file has holes."""
        return self._layer.sha256

    @property
    def composite_sha256(self) -> str:
        """The composite checksum that S3 reports for an object composed of exactly these parts and the tail."""
        digests = (bytes.fromhex(sha256) for sha256 in (*self.parts, self.tail_sha256))
        return hashlib.sha256(b"".join(digests)).hexdigest()

    def index_update(self) -> IndexUpdate:
        """Return the remote index entries of the layer."""
        return IndexUpdate(entries=index_entries(self._path, self._layer, self.layout, self.parts))

    def unique_parts(self) -> tuple[tuple[str, Part], ...]:
        """Return the SHA-256 and the part for each distinct part of the layer."""
        return tuple(dict(zip(self.parts, self.layout.parts, strict=True)).items())

    def open(self, part: Part, *, start: int = 0, size: int | None = None, reporter: Reporter = SILENT) -> BinaryIO:
        """
        Open one part, or *size* bytes of the part beginning at *start*, as a stream.

        *reporter* advances only when bytes are read for the first time.
        """
        length = part.size if size is None else size
        return Window(self._path, part.start + start, length, reporter=reporter)  # type: ignore[return-value]  # as much of a file as is asked for

    def hash(self, part: Part, algorithm: str = "sha256", *, start: int = 0, size: int | None = None) -> bytes:
        """Return the hash, as bytes, of one part, or of *size* bytes of the part beginning at *start*."""
        found = hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
        with self.open(part, start=start, size=size) as body:
            while piece := body.read(_BUFFER_BYTES):
                found.update(piece)
        return found.digest()

    def open_tail(self) -> BinaryIO:
        """Open the bytes after the last part as a stream. If the zip has no parts, they are the whole zip."""
        return Window(self._path, self.layout.tail_start, self.layout.tail_bytes)  # type: ignore[return-value]

    def read(self) -> bytes:
        """Return the whole zip, for an API call that contains it."""
        return self._path.read_bytes()


class MetadataSource(Protocol):
    """A callable that returns the index entries that a layer needs in addition to those for its segments."""

    def __call__(self) -> Mapping[str, bytes]:
        """Return the payloads of the entries by name."""


class LayerJob:
    """One layer to publish. Its zip is hashed at most once, and only if some destination lacks the layer."""

    def __init__(
        self, desired: DesiredLayer, source: LayerZip | None = None, *, metadata: MetadataSource = dict[str, bytes]
    ) -> None:
        """
        Use *source* as the layer's zip. If it is ``None``, hash the zip of *desired* when it is first needed.

        *metadata* is called when index entries are first needed.
        """
        self.desired = desired
        self._metadata = metadata
        self._lock = Lock()
        self._source = source

    @property
    def source(self) -> LayerZip:
        """The layer's zip. Raises `IntegrityError` if the file is missing, or has changed since the build."""
        with self._lock:
            if self._source is None:
                self._source = LayerZip.hashed(self.desired)
            return self._source

    def add_to_index(self, bucket: Bucket, *, known: Collection[str]) -> int:
        """Add the layer's entries to the remote index of *bucket*, except those *known* to exist. Return the number of bytes uploaded."""
        index = RemoteIndex(bucket, refused=self._index.refused)
        return index.put(self._entries, known=self._index.known_in(bucket).union(known))

    def index_bytes(self, bucket: Bucket, known: Collection[str]) -> int:
        """Return how many bytes `add_to_index` uploads at most. Entries in *known* are not counted."""
        there = self._index.known_in(bucket).union(known) - self._index.refused
        return sum(len(content) for name, content in self._entries.items() if name not in there)

    def index_names(self) -> tuple[str, ...]:
        """Return the names of all remote index entries that the layer needs."""
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

    The bucket of the first destination has every part with holes. lamina downloads such a part only if another bucket needs it.
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
        """Use a file that has the tail and the parts that start at *whole_parts*, which are offsets in bytes. *bucket* has the other parts."""
        layout = desired.layout
        tail_sha256 = _hash(desired.layer.path, layout.tail_start, layout.tail_bytes)
        super().__init__(desired, parts=parts, tail_sha256=tail_sha256)
        self._whole_parts = set(whole_parts)
        self._bucket = bucket
        self._index = index
        self._lock = Lock()

    def index_update(self) -> IndexUpdate:
        """Return the remote index entries of the layer, including those that came from the bucket's index."""
        return self._index

    def open(self, part: Part, *, start: int = 0, size: int | None = None, reporter: Reporter = SILENT) -> BinaryIO:
        """
        Open one part as a stream, as `LayerZip.open` does. If the part has holes, download it first.

        Raises `IntegrityError` if the part is missing or damaged in the bucket, and `AwsError`.
        """
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
                f"`{self._bucket.url(key)}` is missing, or its content does not match the SHA-256 in its name",
                hint="run again",
            )


def _hash(path: Path, start: int, size: int, whole: hashlib._Hash | None = None) -> str:
    """Return the SHA-256 of a range of a file. Also update the hash *whole* with the range, if given."""
    digest = hashlib.sha256()
    with Window(path, start, size) as window:
        while piece := window.read(_BUFFER_BYTES):
            digest.update(piece)
            if whole is not None:
                whole.update(piece)
    return digest.hexdigest()


def _changed(path: Path) -> IntegrityError:
    return IntegrityError(f"`{path}` is missing or has changed since the build", hint="build again: run `lamina build`")
