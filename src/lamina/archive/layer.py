"""
Compose segments into a layer zip, and say who a layer is before any of it exists.

The order is fixed, so that S3 can put the same zip together from parts: segments of at least 5 MiB first, each on its
own, then the small ones, which are grouped; last the tail, which is the manifest and the central directory.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from lamina.archive.copying import copy_range, read_range, write_all
from lamina.archive.segment import Recipe, Segment, read_payload, splice
from lamina.archive.zipformat import (
    DIRECTORY_ROW,
    STORED,
    Encoded,
    directory_row,
    encode,
    end_of_directory,
    local_header,
    rebase,
)
from lamina.errors import LaminaError, PathCollisionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from lamina.model import Pin, Wheel
    from lamina.store import Store
    from lamina.target import Target

__all__ = ["Composed", "Contribution", "Identity", "compose", "contributions", "in_order"]

PART_BYTES = 5 << 20
"""The least size of every part but the last of a multipart upload (Amazon S3 API reference, "Multipart upload
limits", 2026-11): what separates large segments from small ones."""

MANIFEST_DIRECTORY = "lamina"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """
    What decides a layer's content: the artifacts, the target and the recipe; nothing about this machine.

    *bytecode* is what the bytecode mode adds: the interpreter's magic number and the modules to compile.
    """

    target: Target
    pins: tuple[Pin, ...]
    recipe: Recipe
    bytecode: tuple[tuple[str, str], ...] = ()

    def digest(self) -> str:
        """Return the SHA-256 of the identity in canonical JSON, in lower-case hexadecimal."""
        return hashlib.sha256(_canonical(self._content())).hexdigest()

    def manifest(self, digest: str) -> bytes:
        """Return the document that travels inside the layer: what is in it, and from which bytes it was made."""
        content = self._content() | {
            "digest": digest,
            "distributions": [
                {"name": pin.name, "version": pin.version, "artifact": pin.filename, "sha256": pin.sha256}
                for pin in sorted(self.pins, key=lambda pin: pin.name)
            ],
            "version": "1",
        }
        del content["artifacts"]
        return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"

    def _content(self) -> dict[str, object]:
        return {
            "artifacts": sorted([pin.name, pin.sha256] for pin in self.pins),
            "bytecode": dict(self.bytecode),
            "recipe": self.recipe.canonical(),
            "target": {"runtime": self.target.runtime, "architecture": str(self.target.architecture)},
        }


def _canonical(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Contribution:
    """A segment, and the distribution that it belongs to."""

    name: str
    """Normalised distribution name."""
    segment: Segment
    is_bytecode: bool = False


class Composed(NamedTuple):
    """A layer zip that was written."""

    sha256: str
    zipped_bytes: int
    unzipped_bytes: int
    files: int


def in_order(contributions: Iterable[Contribution]) -> list[Contribution]:
    """Return *contributions* as they stand in the zip; empty ones are left out."""
    return sorted(
        (each for each in contributions if each.segment.rows),
        key=lambda each: (each.segment.entries_bytes < PART_BYTES, each.is_bytecode, each.name),
    )


def contributions(wheels: Sequence[Wheel], recipe: Recipe, store: Store) -> list[Contribution]:
    """
    Return the contributions of *wheels*, with every path in one of them only.

    What two distributions provide with the same content stays with the first by name.
    Raises PathCollisionError naming every path whose content differs, and whatever splicing raises.
    """
    spliced = {wheel.pin.name: splice(wheel, recipe, store) for wheel in wheels}
    shared = _shared_paths(spliced)
    for wheel in wheels:
        if omitted := shared.get(wheel.pin.name):
            spliced[wheel.pin.name] = splice(wheel, recipe, store, omitted=frozenset(omitted))
    return [Contribution(name=name, segment=segment) for name, segment in spliced.items()]


class _Row(NamedTuple):
    """A member as it stands in a segment's directory."""

    path: bytes
    method: int
    crc: int
    compressed: int
    size: int
    offset: int


def _rows(segment: Segment) -> Iterator[_Row]:
    directory = segment.directory
    position = 0
    while position < len(directory):
        fields = DIRECTORY_ROW.unpack_from(directory, position)
        start = position + DIRECTORY_ROW.size
        position = start + fields[10]
        yield _Row(directory[start:position], fields[4], fields[7], fields[8], fields[9], fields[16])


def _paths(segment: Segment) -> list[bytes]:
    """Return the member paths alone: most layers have no path twice, and this is a third of parsing the rows."""
    directory = segment.directory
    size = len(directory)
    paths: list[bytes] = []
    position = 0
    while position < size:
        start = position + 46
        position = start + directory[position + 28] + (directory[position + 29] << 8)
        paths.append(directory[start:position])
    return paths


def _shared_paths(segments: dict[str, Segment]) -> dict[str, set[str]]:
    """Return, by distribution, the paths that one before it by name provides with the same content."""
    names = sorted(segments)
    paths = {name: _paths(segments[name]) for name in names}
    directories = {directory.encode() for name in names for directory in segments[name].directories}
    union = {path for name in names for path in paths[name]}
    if len(union) == sum(len(found) for found in paths.values()) and directories.isdisjoint(union):
        return {}
    providers: defaultdict[bytes, list[str]] = defaultdict(list)
    for name in names:
        for path in paths[name]:
            providers[path].append(name)
    conflicts = [_file_and_directory(path, segments, providers[path]) for path in sorted(directories & union)]
    shared: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted(path for path, found in providers.items() if len(found) > 1):
        first, *others = providers[path]
        content = _content(segments[first], path)
        for other in others:
            if _content(segments[other], path) == content:
                shared[other].add(path.decode())
            else:
                conflicts.append(f"`{path.decode()}` in `{first}` and `{other}`")
    if conflicts:
        raise PathCollisionError(
            f"Distributions put different content at one path: {'; '.join(conflicts)}",
            hint="keep one of the two in the lock, or leave the path out of both with `exclude`",
        )
    return shared


def _file_and_directory(path: bytes, segments: dict[str, Segment], files: list[str]) -> str:
    text = path.decode()
    others = sorted(name for name, segment in segments.items() if text in segment.directories)
    return f"`{text}` is a file in `{files[0]}` and a directory in `{others[0]}`"


def _content(segment: Segment, path: bytes) -> bytes:
    row = next(row for row in _rows(segment) if row.path == path)
    payload = read_payload(segment, row.offset, row.compressed)
    if row.method == STORED:
        return payload
    import zlib  # noqa: PLC0415 - only two distributions with one path come here

    return zlib.decompressobj(-15).decompress(payload, row.size + 1)


def compose(destination: BinaryIO, parts: Sequence[Contribution], identity: Identity, digest: str) -> Composed:
    """
    Write the layer of *parts*, as ``in_order`` arranges them, to the empty unbuffered file *destination*.

    The zip is hashed while it is copied.
    Raises CorruptArchiveError for a segment that was truncated in the store, and what ending a zip raises.
    """
    segments = [part.segment for part in in_order(parts)]
    manifest = encode(f"{MANIFEST_DIRECTORY}/{digest}.json", identity.manifest(digest))
    hashing = _Hashing(segments)
    try:
        for segment in segments:
            with segment.path.open("rb", buffering=0) as file:
                copy_range(file, 0, destination, segment.entries_bytes)
        tail = _tail(segments, manifest)
        write_all(destination, tail)
    finally:
        digest_of_entries = hashing.join()
    for piece in tail:
        digest_of_entries.update(piece)
    return Composed(
        sha256=digest_of_entries.hexdigest(),
        zipped_bytes=sum(segment.entries_bytes for segment in segments) + sum(len(piece) for piece in tail),
        unzipped_bytes=sum(segment.unzipped_bytes for segment in segments) + manifest.member.size,
        files=sum(segment.rows for segment in segments) + 1,
    )


def _tail(segments: Sequence[Segment], manifest: Encoded) -> list[bytes | bytearray]:
    """Return everything behind the last segment: the manifest's entry, the central directory and its end."""
    directory: list[bytes | bytearray] = []
    position = 0
    for segment in segments:
        directory.append(rebase(segment.directory, position))
        position += segment.entries_bytes
    directory.append(directory_row(manifest.member, position))
    entry = local_header(manifest.member) + manifest.payload
    end = end_of_directory(
        rows=sum(segment.rows for segment in segments) + 1,
        directory_bytes=sum(len(rows) for rows in directory),
        directory_offset=position + len(entry),
    )
    return [entry, *directory, end]


class _Hashing:
    """The SHA-256 of segments' entries, computed by a second thread while the first one copies."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._digest = hashlib.sha256()
        self._error: LaminaError | OSError | None = None
        self._thread = threading.Thread(target=self._run, name="lamina-sha256")
        self._thread.start()

    def _run(self) -> None:
        try:
            for segment in self._segments:
                with segment.path.open("rb", buffering=0) as file:
                    for piece in read_range(file, segment.entries_bytes):
                        self._digest.update(piece)
        except (LaminaError, OSError) as error:
            self._error = error

    def join(self) -> hashlib._Hash:
        """Wait, and return the digest; raises what the thread ran into."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._digest
