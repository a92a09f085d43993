"""
Compose segments into a layer zip, and say who a layer is before any of it exists.

The order is fixed, so that S3 can put the same zip together from parts: segments of at least 5 MiB first, each on its
own, then the small ones, which are grouped; last the tail, which is the manifest and the central directory.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lamina.archive.collisions import shared_paths
from lamina.archive.zip.copying import HashedFile
from lamina.archive.zip.zipformat import MAX_BYTES, encode, end_of_directory, headers, rebase
from lamina.core.errors import CorruptArchiveError
from lamina.core.frozen import frozen
from lamina.core.values import is_pure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import BinaryIO

    from lamina.archive.segment import Recipe, Segment
    from lamina.core.target import Target
    from lamina.core.values import Pin

PART_BYTES = 5 << 20
"""The least size of every part but the last of a multipart upload (Amazon S3 API reference, "Multipart upload
limits", 2026-11): what separates large segments from small ones."""

MANIFEST_DIRECTORY = "lamina"


@frozen
class Identity:
    """
    What decides a layer's content: the artifacts, the target and the recipe; nothing about this machine.

    Where no artifact is made for an architecture, none is named, and the layer is the same one on all of them.
    *bytecode* is what the bytecode mode adds: the interpreter's magic number and the modules to compile.
    """

    target: Target
    pins: tuple[Pin, ...]
    recipe: Recipe
    bytecode: tuple[tuple[str, str], ...] = ()

    def digest(self) -> str:
        """Return the SHA-256 of the identity in canonical JSON, in lower-case hexadecimal."""
        text = json.dumps(self._content(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def manifest(self, digest: str) -> bytes:
        """Return the document that travels inside the layer: what is in it, and from which bytes it was made."""
        content = self._content() | {"digest": digest, "version": "1"}
        fields = ("name", "version", "artifact", "sha256")
        content["distributions"] = [dict(zip(fields, artifact, strict=True)) for artifact in self._artifacts()]
        del content["artifacts"]
        return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"

    @property
    def is_native(self) -> bool:
        """Whether some artifact is made for an architecture, by its platform tag; sources count, as only building tells."""
        return not all(is_pure(pin.filename) for pin in self.pins)

    def _artifacts(self) -> list[list[str]]:
        # All that the manifest says of them: the digest decides every byte of the layer.
        return sorted([pin.name, pin.version, pin.filename, pin.sha256] for pin in self.pins)

    def _content(self) -> dict[str, object]:
        return {
            "artifacts": self._artifacts(),
            "bytecode": sorted([key, value] for key, value in self.bytecode),
            "recipe": self.recipe.canonical(),
            "target": {
                "runtime": self.target.runtime,
                "architecture": str(self.target.architecture) if self.is_native else None,
            },
        }


@frozen
class Contribution:
    """A segment, and the distribution that it belongs to."""

    name: str
    """Normalised distribution name."""
    segment: Segment
    is_bytecode: bool = False
    omitted: frozenset[str] = frozenset()
    """Layer paths that another distribution provides with the same content."""


class SegmentSource(Protocol):
    """Where the segments of a layer come from."""

    def __call__(self, omitted: Mapping[str, frozenset[str]]) -> dict[str, Segment]:
        """Return by distribution its segment without the paths to omit, for every distribution of *omitted*."""


class Composed(NamedTuple):
    """A layer zip that was written."""

    sha256: str
    zipped_bytes: int
    unzipped_bytes: int
    files: int


class Ending(NamedTuple):
    """What stands behind the last segment of a layer zip, and what the whole zip then is."""

    tail: tuple[bytes | bytearray, ...]
    """The manifest's entry, the central directory and its end."""
    zipped_bytes: int
    unzipped_bytes: int
    files: int


def in_order(contributions: Iterable[Contribution]) -> list[Contribution]:
    """
    Return *contributions* as they stand in the zip; empty ones are left out.

    Bytecode stands beside its wheel, so that both are in one part, and a bump of the wheel uploads no second one.
    """
    return sorted(
        (each for each in contributions if each.segment.rows),
        key=lambda each: (each.segment.entries_bytes < PART_BYTES, each.name, each.is_bytecode),
    )


def contributions(
    names: Iterable[str], source: SegmentSource, *, compare: Callable[..., Mapping[str, frozenset[str]]] = shared_paths
) -> list[Contribution]:
    """
    Return the contributions of the distributions *names*, with every path in one of them only.

    What two distributions provide with the same content stays with the first by name; *compare* finds it, as `shared_paths` does.
    Raises PathCollisionError naming every path whose content differs, and whatever *source* raises.
    """
    segments = source(dict.fromkeys(names, frozenset()))
    shared = compare(segments)
    return contributed(segments | source(shared) if shared else segments, shared)


def contributed(segments: Mapping[str, Segment], shared: Mapping[str, frozenset[str]]) -> list[Contribution]:
    """Return *segments*, made without the *shared* paths, as contributions."""
    return [
        Contribution(name=name, segment=segment, omitted=shared.get(name, frozenset()))
        for name, segment in segments.items()
    ]


def compose(destination: BinaryIO, parts: Sequence[Contribution], identity: Identity, digest: str) -> Composed:
    """
    Write the layer of *parts*, as ``in_order`` arranges them, to the empty unbuffered file *destination*.

    The zip is hashed while it is copied.
    Raises CorruptArchiveError for a segment that was damaged in the store, and what ending a zip raises,
    the latter before anything is written.
    """
    segments = [part.segment for part in in_order(parts)]
    end = ending(segments, identity, digest)
    with HashedFile(destination) as file:
        for segment in segments:
            _copy(segment, file)
        file.write(b"".join(end.tail))
        sha256 = file.sha256()
    return Composed(sha256=sha256, zipped_bytes=end.zipped_bytes, unzipped_bytes=end.unzipped_bytes, files=end.files)


def ending(segments: Sequence[Segment], identity: Identity, digest: str) -> Ending:
    """
    Return what follows *segments*, which are in the order of the zip; of them nothing but the directories is needed.

    Raises UnsupportedMemberError and SuspiciousSizeError for more than a zip without the zip64 extension can hold.
    """
    manifest = encode(f"{MANIFEST_DIRECTORY}/{digest}.json", identity.manifest(digest))
    position = sum(segment.entries_bytes for segment in segments)
    header, row = headers(manifest.member, min(position, MAX_BYTES))
    files = sum(segment.rows for segment in segments) + 1
    # First, because it refuses what would not fit into the offsets.
    end = end_of_directory(
        rows=files,
        directory_bytes=sum(segment.rows_bytes for segment in segments) + len(row),
        directory_offset=position + len(header) + len(manifest.payload),
    )
    directory: list[bytes | bytearray] = []
    base = 0
    for segment in segments:
        directory.append(rebase(segment.directory, base))
        base += segment.entries_bytes
    tail = (header, bytes(manifest.payload), *directory, row, end)
    return Ending(
        tail=tail,
        zipped_bytes=position + sum(map(len, tail)),
        unzipped_bytes=sum(segment.unzipped_bytes for segment in segments) + manifest.member.size,
        files=files,
    )


def _copy(segment: Segment, destination: HashedFile) -> None:
    with segment.path.open("rb", buffering=0) as file:
        checksum = destination.copy(file, segment.entries_bytes)
    if checksum != segment.crc32:
        segment.path.unlink(missing_ok=True)
        raise CorruptArchiveError(
            f"`{segment.path}` was damaged in the store, and has been removed",
            hint="build again: it is made anew from its wheel",
        )
