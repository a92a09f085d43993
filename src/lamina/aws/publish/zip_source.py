"""
Read a layer's zip from disk as the parts it is cut into, each with its SHA-256; never the whole of it in memory.

Of a layer that was put together without its wheels, the file has holes where parts stand that the bucket has.
"""

from __future__ import annotations

import hashlib
import io
from threading import Lock
from typing import TYPE_CHECKING

from lamina.aws.publish.remote_index import shelved
from lamina.core.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from lamina.aws.api.protocols import Objects
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.aws.publish.naming import Keys
    from lamina.aws.publish.parts import Part
    from lamina.core.values import Layer

__all__ = ["LayerZip", "SparseLayerZip", "Window"]

_BUFFER_BYTES = 1 << 20
_RANGE_BYTES = 8 << 20


class Window(io.RawIOBase):
    """A extent of a file, which can be read again when a request is sent again."""

    def __init__(self, path: Path, start: int, size: int, *, advance: Callable[[int], None] | None = None) -> None:
        """Open *size* bytes of *path* from *start* on; *advance* is told of what is read for the first time."""
        self._file = path.open("rb", buffering=0)
        self._advance = advance
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
        """Read up to the end of the extent."""
        wanted = min(len(buffer), self._size - self._position)
        count: int = self._file.readinto(memoryview(buffer)[:wanted])
        self._position += count
        if self._advance is not None and self._position > self._furthest:
            self._advance(self._position - self._furthest)
            self._furthest = self._position
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to *offset* within the extent."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, min(self._size, base + offset))
        self._file.seek(self._start + self._position)
        return self._position

    def tell(self) -> int:
        """Return the position within the extent."""
        return self._position

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class LayerZip:
    """The zip of one wanted layer, checked to be what was built."""

    def __init__(self, wanted: DesiredLayer) -> None:
        """
        Hash the zip, once as a whole and once in parts.

        Raises IntegrityError if it is not there as it was built.
        """
        self._path = wanted.layer.path
        self._size = wanted.layer.zipped_bytes
        self._layer = wanted.layer
        self.layout = wanted.layout
        whole = hashlib.sha256()
        spans = [(part.start, part.size) for part in wanted.layout.parts]
        spans.append((wanted.layout.tail_start, wanted.layout.tail_bytes))
        try:
            digests = [self._hash(start, size, whole) for start, size in spans]
            same = self._path.stat().st_size == self._size and whole.hexdigest() == wanted.layer.sha256
        except OSError as error:
            raise _changed(self._path) from error
        if not same:
            raise _changed(self._path)
        self.parts: tuple[str, ...] = tuple(digests[:-1])
        """SHA-256 of each part, in order."""
        self.tail_sha256 = digests[-1]
        self.sha256 = wanted.layer.sha256
        """Empty where nobody has hashed the whole yet."""
        self.refused: frozenset[str] = frozenset()
        """Names of what the shelf has wrong."""
        self._shelved: dict[str, bytes] | None = None

    @property
    def composite_sha256(self) -> str:
        """What S3 says of an object that it has put together from exactly these parts."""
        digests = (bytes.fromhex(sha256) for sha256 in (*self.parts, self.tail_sha256))
        return hashlib.sha256(b"".join(digests)).hexdigest()

    def shelved(self) -> dict[str, bytes]:
        """Return by name what the bucket is to keep of the layer, so that machines without the wheels can put it together."""
        if self._shelved is None:
            self._shelved = shelved(self._path, self._layer, self.layout, self.parts)
        return self._shelved

    def known_in(self, objects: Objects) -> frozenset[str]:  # noqa: ARG002 - a patchwork knows
        """Return the names of what is known to stand on the shelf of a bucket."""
        return frozenset()

    def shelf_names(self) -> tuple[str, ...]:
        """Return the names of everything that the bucket has of the layer for that."""
        return tuple(sorted(self.shelved()))

    def _hash(self, start: int, size: int, whole: hashlib._Hash) -> str:
        digest = hashlib.sha256()
        with Window(self._path, start, size) as window:
            for piece in _pieces(window):
                digest.update(piece)
                whole.update(piece)
        return digest.hexdigest()

    def pieces(self) -> tuple[tuple[str, Part], ...]:
        """Return the parts with their SHA-256, each once."""
        return tuple(dict(zip(self.parts, self.layout.parts, strict=True)).items())

    def open(
        self, part: Part, *, start: int = 0, size: int | None = None, advance: Callable[[int], None] | None = None
    ) -> BinaryIO:
        """Open one part's bytes, or *size* of them from *start* on; *advance* is told of what is read for the first time."""
        length = part.size if size is None else size
        return Window(self._path, part.start + start, length, advance=advance)  # type: ignore[return-value]  # as much of a file as is asked for

    def digest(self, part: Part, algorithm: str = "sha256", *, start: int = 0, size: int | None = None) -> bytes:
        """Return the digest of one part's bytes, or of *size* of them from *start* on."""
        found = hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
        with self.open(part, start=start, size=size) as body:
            while piece := body.read(_BUFFER_BYTES):
                found.update(piece)
        return found.digest()

    def open_tail(self) -> BinaryIO:
        """Open the bytes behind the last part."""
        return Window(self._path, self.layout.tail_start, self.layout.tail_bytes)  # type: ignore[return-value]

    def open_whole(self) -> BinaryIO:
        """Open the whole zip."""
        return Window(self._path, 0, self._size)  # type: ignore[return-value]

    def read(self) -> bytes:
        """Return the whole zip, for a call that has to carry it."""
        return self._path.read_bytes()


class SparseLayerZip(LayerZip):
    """
    The zip of a layer that was put together without all of its wheels: a file with holes.

    A hole is a part that the first bucket has; another bucket that lacks it gets it from there.
    """

    def __init__(
        self,
        wanted: DesiredLayer,
        *,
        parts: tuple[str, ...],
        here: Collection[int],
        shelf: Mapping[str, bytes],
        there: Collection[str],
        names: Collection[str],
        refused: Collection[str],
        objects: Objects,
        keys: Keys,
    ) -> None:
        """
        Have the tail, and the parts whose starts are *here*; *parts* are the SHA-256 of all.

        *shelf* is what has to be known of the layer, *names* are those of all of it. Of them *there* are those that the shelf
        of *objects* has, and *refused* those under which something else stands there.
        """
        self._path = wanted.layer.path
        self._size = wanted.layer.zipped_bytes
        self._layer: Layer = wanted.layer
        self.layout = wanted.layout
        self.parts = parts
        self.tail_sha256 = self._hash(wanted.layout.tail_start, wanted.layout.tail_bytes, hashlib.sha256())
        self.sha256 = wanted.layer.sha256
        self._here = set(here)
        self._payloads = dict(shelf)
        self._there = frozenset(there)
        self._names = tuple(sorted(names))
        self.refused = frozenset(refused)
        self._objects = objects
        self._keys = keys
        self._lock = Lock()

    def shelved(self) -> dict[str, bytes]:
        """Return by name what buckets are to keep of the layer."""
        return dict(self._payloads)

    def known_in(self, objects: Objects) -> frozenset[str]:
        """Return the names of what is known to stand on the shelf of a bucket: only of the first one anything is."""
        return self._there if objects is self._objects else frozenset()

    def shelf_names(self) -> tuple[str, ...]:
        """Return the names of everything that the bucket has of the layer."""
        return self._names

    def open(
        self, part: Part, *, start: int = 0, size: int | None = None, advance: Callable[[int], None] | None = None
    ) -> BinaryIO:
        """Open one part's bytes, which are fetched where they are not here; raises AwsError where they are nowhere."""
        with self._lock:
            if part.start not in self._here:
                self._fetch(part)
                self._here.add(part.start)
        return super().open(part, start=start, size=size, advance=advance)

    def _fetch(self, part: Part) -> None:
        sha256 = self.parts[self.layout.parts.index(part)]
        key = self._keys.part(sha256)
        with self._path.open("r+b", buffering=0) as file:
            file.seek(part.start)
            digest = hashlib.sha256()
            for start in range(0, part.size, _RANGE_BYTES):
                content = self._objects.get_range(key, start, min(_RANGE_BYTES, part.size - start))
                if content is None:
                    break
                digest.update(content)
                file.write(content)
        if digest.hexdigest() != sha256:
            raise IntegrityError(
                f"`s3://{self._objects.bucket}/{key}` is not what its name says, or has gone meanwhile",
                hint="run again",
            )


def _pieces(window: Window) -> Iterator[bytes]:
    while piece := window.read(_BUFFER_BYTES):
        yield piece


def _changed(path: Path) -> IntegrityError:
    return IntegrityError(f"`{path}` is not there as it was built", hint="build again: lamina build")
