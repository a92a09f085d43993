"""
Compute a layer's digest before it is built, and compose segments into the layer's zip.

The order of segments is fixed, so that S3 can build the same zip from the parts of a multipart upload. Segments of at
least 5 MiB come first and are one part each. Smaller segments follow and are grouped into parts. The tail, which is the
manifest and the central directory, is last.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lamina.archive.collisions import shared_paths
from lamina.archive.zip.copying import HashedFile
from lamina.archive.zip.zipformat import MAX_BYTES, encode, end_of_directory, headers, rebase
from lamina.core.errors import DamagedFileError
from lamina.core.frozen import frozen
from lamina.core.store import open_stored
from lamina.core.values import is_pure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import BinaryIO

    from lamina.archive.segment import Recipe, Segment
    from lamina.archive.zip.zipformat import Entry
    from lamina.core.target import Target
    from lamina.core.values import Pin

PART_BYTES = 5 << 20
"""The minimum size in bytes of each part of a multipart upload, except the last part (Amazon S3 API reference, "Multipart
upload limits", 2026-11). A segment of at least this size is one part."""

MANIFEST_DIRECTORY = "lamina"


@frozen
class Identity:
    """
    Everything that decides a layer's content: artifacts, target, recipe and bytecode. It is the same on every machine.

    The architecture is included only if an artifact is specific to one. Other layers are the same for all architectures.
    *bytecode* contains pairs of a key and a value: the mode, the interpreter's magic number, the version of the compile
    options and a hash of the modules to compile.
    """

    target: Target
    pins: tuple[Pin, ...]
    recipe: Recipe
    bytecode: tuple[tuple[str, str], ...] = ()
    own_code: str | None = None
    """The fingerprint of the service's own files in the layer; ``None`` if there are none."""

    def digest(self) -> str:
        """Return the SHA-256 of the identity in canonical JSON, in lower-case hexadecimal."""
        return canonical_digest(self._content())

    def manifest(self, digest: str) -> bytes:
        """Return the manifest that the layer's zip contains: a JSON document with the identity and all distributions."""
        content = self._content() | {"digest": digest, "version": "1"}
        fields = ("name", "version", "artifact", "sha256")
        content["distributions"] = [dict(zip(fields, artifact, strict=True)) for artifact in self._artifacts()]
        del content["artifacts"]
        return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"

    @property
    def is_native(self) -> bool:
        """Whether any artifact is specific to an architecture: a source, or a wheel without the platform tag ``any``."""
        return not all(is_pure(pin.filename) for pin in self.pins)

    def _artifacts(self) -> list[list[str]]:
        # Includes every field that the manifest contains, because the digest must decide every byte of the layer.
        return sorted([pin.name, pin.version, pin.filename, pin.sha256] for pin in self.pins)

    def _content(self) -> dict[str, object]:
        own_code = {} if self.own_code is None else {"own_code": self.own_code}
        return own_code | {
            "artifacts": self._artifacts(),
            "bytecode": sorted([key, value] for key, value in self.bytecode),
            "recipe": self.recipe.canonical(),
            "target": {
                "runtime": self.target.runtime,
                "architecture": str(self.target.architecture) if self.is_native else None,
            },
        }


def canonical_digest(content: Mapping[str, object]) -> str:
    """Return the SHA-256 of *content* in canonical JSON, in lower-case hexadecimal."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@frozen
class Contribution:
    """One segment of a layer, with the name of its distribution."""

    name: str
    """The normalised name of the distribution."""
    segment: Segment
    is_bytecode: bool = False
    omitted: frozenset[str] = frozenset()
    """The layer paths that are left out, because another distribution contains them with the same content."""


class SegmentSource(Protocol):
    """A function that returns the segments of a layer."""

    def __call__(self, omitted: Mapping[str, frozenset[str]]) -> dict[str, Segment]:
        """Return a segment for each distribution in *omitted*, without the paths that *omitted* lists for it."""


class Composed(NamedTuple):
    """The SHA-256, the sizes in bytes and the number of files of a layer's zip."""

    sha256: str
    zipped_bytes: int
    unzipped_bytes: int
    files: int


class Ending(NamedTuple):
    """The bytes that follow the last segment in a layer's zip, and the sizes of the whole zip in bytes."""

    tail: tuple[bytes | bytearray, ...]
    """The manifest, the central directory and the end of central directory record."""
    zipped_bytes: int
    unzipped_bytes: int
    files: int


def in_order(contributions: Iterable[Contribution]) -> list[Contribution]:
    """
    Return *contributions* in the order of the zip, without empty ones.

    Segments of at least `PART_BYTES` come first. Both groups are sorted by distribution, with a wheel before its bytecode.
    A small wheel and its bytecode are therefore usually in the same part, and an update of both changes one part, not two.
    """
    return sorted(
        (each for each in contributions if each.segment.rows),
        key=lambda each: (each.segment.entries_bytes < PART_BYTES, each.name, each.is_bytecode),
    )


def contributions(
    names: Iterable[str], source: SegmentSource, *, compare: Callable[..., Mapping[str, frozenset[str]]] = shared_paths
) -> list[Contribution]:
    """
    Return the contributions of the distributions *names*, with every path in only one of them.

    If several distributions contain a path with the same content, the first by name keeps the path. *compare* returns the
    paths to omit from the other distributions.
    Raises the errors of *source* and *compare*.
    """
    segments = source(dict.fromkeys(names, frozenset()))
    shared = compare(segments)
    return contributed(segments | source(shared) if shared else segments, shared)


def contributed(segments: Mapping[str, Segment], shared: Mapping[str, frozenset[str]]) -> list[Contribution]:
    """Return *segments* as contributions. The segments were built without the *shared* paths."""
    return [
        Contribution(name=name, segment=segment, omitted=shared.get(name, frozenset()))
        for name, segment in segments.items()
    ]


def compose(destination: BinaryIO, parts: Sequence[Contribution], identity: Identity, digest: str) -> Composed:
    """
    Write the layer of *parts*, in the order of `in_order`, to the empty unbuffered file *destination*.

    The zip is hashed while it is written.
    Raises `CorruptArchiveError` if a segment is truncated, and `DamagedFileError` if its CRC-32 differs.
    Raises the errors of `ending` before it writes anything.
    """
    segments = [part.segment for part in in_order(parts)]
    return _write(destination, segments, ending(segments, identity, digest))


def compose_package(destination: BinaryIO, parts: Sequence[Contribution]) -> Composed:
    """
    Write the zip of a function from *parts* like `compose`, without a manifest: the files of the zip are in the function's directory.

    Raises the errors of `compose`.
    """
    segments = [part.segment for part in in_order(parts)]
    return _write(destination, segments, package_ending(segments))


def _write(destination: BinaryIO, segments: Sequence[Segment], end: Ending) -> Composed:
    with HashedFile(destination) as file:
        for segment in segments:
            _copy(segment, file)
        file.write(b"".join(end.tail))
        sha256 = file.sha256()
    return Composed(sha256=sha256, zipped_bytes=end.zipped_bytes, unzipped_bytes=end.unzipped_bytes, files=end.files)


def ending(segments: Sequence[Segment], identity: Identity, digest: str) -> Ending:
    """
    Return the end of a layer's zip, which follows *segments*, without reading the segments' local entries.

    *segments* must be in the order of `in_order`.
    Raises `UnsupportedMemberError` or `SuspiciousSizeError` if the zip would need the zip64 extension.
    """
    return _ending(segments, encode(f"{MANIFEST_DIRECTORY}/{digest}.json", identity.manifest(digest)))


def package_ending(segments: Sequence[Segment]) -> Ending:
    """Return the end of a function's zip, which follows *segments*, like `ending` but without a manifest."""
    return _ending(segments)


def _ending(segments: Sequence[Segment], *last: Entry) -> Ending:
    """Return the end of a zip of *segments* and the entries *last*, as `ending` does."""
    start = position = sum(segment.entries_bytes for segment in segments)
    made: list[bytes | bytearray] = []
    rows: list[bytes] = []
    for entry in last:
        header, row = headers(entry.member, min(position, MAX_BYTES))
        made += [header, bytes(entry.payload)]
        rows.append(row)
        position += len(header) + len(entry.payload)
    files = sum(segment.rows for segment in segments) + len(last)
    # First, because it rejects zips that are too large for 32-bit offsets.
    end = end_of_directory(
        rows=files,
        directory_bytes=sum(segment.rows_bytes for segment in segments) + sum(map(len, rows)),
        directory_offset=position,
    )
    directory: list[bytes | bytearray] = []
    base = 0
    for segment in segments:
        directory.append(rebase(segment.directory, base))
        base += segment.entries_bytes
    tail = (*made, *directory, *rows, end)
    return Ending(
        tail=tail,
        zipped_bytes=start + sum(map(len, tail)),
        unzipped_bytes=sum(segment.unzipped_bytes for segment in segments) + sum(each.member.size for each in last),
        files=files,
    )


def _copy(segment: Segment, destination: HashedFile) -> None:
    with open_stored(segment.path) as file:
        checksum = destination.copy(file, segment.entries_bytes)
    if checksum != segment.crc32:
        raise DamagedFileError(segment.path)
