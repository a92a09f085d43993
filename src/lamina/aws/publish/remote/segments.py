"""
The remote half of the store: segments that a bucket describes, and layers composed with holes for the bytes that it has.

What the bucket's index says is only as good as the object it names: an entry whose object is missing or differs is refused,
not asked for again, and replaced by the next publisher that has the wheels. Nothing from the bucket gets into this machine's store.
"""

from __future__ import annotations

import hashlib
import zlib
from itertools import accumulate, islice
from typing import TYPE_CHECKING

from lamina.archive.layer import ending, in_order
from lamina.archive.remote_segment import decode
from lamina.archive.segment import find_segment
from lamina.archive.zip.copying import read_pieces
from lamina.aws.destination.parallel import in_parallel
from lamina.aws.publish.layer_record import decode_record
from lamina.aws.publish.parts import layout_parts
from lamina.aws.publish.remote.metadata import ImportStore, read_shared_paths, shared_paths_entry, shared_paths_name
from lamina.aws.publish.remote_index import group_name, grouped, grouped_segments
from lamina.core.errors import CorruptArchiveError
from lamina.core.files import file_sha256
from lamina.core.frozen import frozen
from lamina.core.target import quotas
from lamina.pipeline.layers import describe_layer, extents

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from lamina.archive.layer import Contribution, Ending
    from lamina.archive.remote_segment import RemoteSegment
    from lamina.archive.segment import Recipe, Segment
    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.publish.parts import Part, PartLayout
    from lamina.aws.publish.remote_index import RemoteIndex
    from lamina.core.store import Store
    from lamina.core.values import Layer, Pin
    from lamina.pipeline.layers import LayerPlan


@frozen
class SparseZip:
    """A layer's zip on disk, with holes where only the bucket has the bytes."""

    parts: tuple[str, ...]
    """SHA-256 of each part of the layout."""
    whole_parts: frozenset[int]
    """The starts of the parts without holes."""
    remote_segments: Mapping[str, str]
    """SHA-256 of the segments that are not on this machine, by their names."""
    shared_paths: tuple[str, bytes]
    """Name and content of what the index keeps of the paths that several distributions share."""

    @property
    def is_whole(self) -> bool:
        """Whether there is no hole at all."""
        return len(self.whole_parts) == len(self.parts)


class BucketStore:
    """
    A `lamina.pipeline.context.RemoteStore` over one bucket: its index describes segments, its parts have their bytes.

    Methods may be called from several threads at once, for different layers.
    """

    def __init__(self, index: RemoteIndex, bucket: Bucket, *, store: Store, scratch: Path) -> None:
        """Ask *index* for what *store* lacks; what the index says of imports is put into *scratch*."""
        self.imports = ImportStore(scratch, store, index)
        self.zips: dict[str, SparseZip] = {}
        """By digest, the zips that were composed."""
        self._index = index
        self._bucket = bucket
        # Nothing is removed, because the targets share it: each `compose` finds out for itself which segments are not here.
        self._described: dict[Path, RemoteSegment] = {}

    def segments(self, paths: Sequence[Path]) -> Mapping[Path, Segment]:
        """Return the segments that the bucket describes, by the *paths* that the local store would give them."""
        payloads = self._index.read([path.stem for path in paths])
        found: dict[Path, Segment] = {}
        for path in paths:
            if path.stem not in payloads:
                continue
            described = decode(payloads[path.stem], path.stem)
            if described is None:
                self._index.refuse(path.stem)
                continue
            self._described[path] = described
            found[path] = described.segment(path)
        return found

    def shared_paths(self, pins: Sequence[Pin], recipe: Recipe) -> Mapping[str, frozenset[str]] | None:
        """Return the paths to omit from each distribution, or ``None`` if the bucket does not know."""
        name = shared_paths_name(pins, recipe)
        content = self._index.read([name]).get(name)
        if content is None:
            return None
        shared = read_shared_paths(content)
        if shared is None:
            self._index.refuse(name)
        return shared

    def refuse_shared_paths(self, pins: Sequence[Pin], recipe: Recipe) -> None:
        """Do not use the answer of `shared_paths` again: it is wrong."""
        self._index.refuse(shared_paths_name(pins, recipe))

    def compose(
        self, plan: LayerPlan, pins: Sequence[Pin], parts: Sequence[Contribution], destination: Path
    ) -> Layer | None:
        """
        Write the planned layer of *parts*, the wheels of *pins*, to *destination*, leaving holes for the bytes that the bucket has.

        Return ``None`` if the bucket does not have what its index described; the index is then not asked for it again.
        Raises AwsError and its kinds, and CorruptArchiveError for a segment that was damaged in the store.
        """
        ordered = in_order(parts)
        segments = [each.segment for each in ordered]
        end = ending(segments, plan.identity, plan.digest)
        layout = layout_parts(extents(parts), end.zipped_bytes, quotas())
        # Others were spliced or compiled here since the bucket described them.
        remote = {
            segment.path: self._described[segment.path]
            for segment in segments
            if segment.path in self._described and find_segment(segment.path) is None
        }
        destination.parent.mkdir(parents=True, exist_ok=True)
        written = self._write(destination, segments, remote, end, layout)
        if written is None:
            return None
        sha256s, whole_parts = written
        omitted = {part.name: part.omitted for part in parts if not part.is_bytecode}
        sparse = SparseZip(
            parts=sha256s,
            whole_parts=whole_parts,
            remote_segments={path.stem: described.sha256 for path, described in remote.items()},
            shared_paths=shared_paths_entry(plan.selection.pins, plan.recipe, omitted),
        )
        self.zips[plan.digest] = sparse
        sha256 = self._sha256(destination, plan.digest, sparse, size=end.zipped_bytes)
        return describe_layer(plan, pins, parts, destination, end, sha256=sha256)

    def _sha256(self, path: Path, digest: str, sparse: SparseZip, *, size: int) -> str | None:
        """Return the SHA-256 of the whole zip, if it is on disk or somebody has recorded it; else ``None``."""
        if sparse.is_whole:
            return file_sha256(path)
        record = decode_record(self._bucket.objects.get(self._bucket.keys.record(digest)))
        if record is None or (record.digest, record.zipped_bytes, record.parts) != (digest, size, sparse.parts):
            return None
        return record.sha256

    def _write(
        self,
        path: Path,
        segments: Sequence[Segment],
        remote: Mapping[Path, RemoteSegment],
        end: Ending,
        layout: PartLayout,
    ) -> tuple[tuple[str, ...], frozenset[int]] | None:
        """
        Write the zip, fetching those of the *remote* segments that are not in a part of the bucket.

        Return the SHA-256 of each part, and the starts of the parts without holes; ``None`` if a segment could not be fetched.
        """
        starts = list(accumulate((segment.entries_bytes for segment in segments), initial=0))
        with path.open("w+b", buffering=0) as file:
            file.truncate(end.zipped_bytes)
            sha256s = [
                _write_entries(file, remote[segment.path], start)
                if segment.path in remote
                else _write_segment(file, segment, start)
                for segment, start in zip(segments, starts, strict=False)
            ]
            parts = self._expected(layout, sha256s)
            whole_parts: set[int] = set()
            fetched: list[bool] = []
            placed = zip(segments, starts, strict=False)
            for at, (part, sha256) in enumerate(zip(layout.parts, parts, strict=True)):
                holes = _holes(islice(placed, len(part.extents)), remote)
                if sha256 is None:
                    fetched += [self._fetch(file, *hole) for hole in holes]
                    parts[at] = _hash(file, part)
                if sha256 is None or not holes:
                    whole_parts.add(part.start)
            fetched += [self._fetch(file, *hole) for hole in _holes(placed, remote)]
            file.seek(starts[-1])
            file.write(b"".join(end.tail))
        return (
            (tuple(sha256 for sha256 in parts if sha256 is not None), frozenset(whole_parts)) if all(fetched) else None
        )

    def _expected(self, layout: PartLayout, sha256s: Sequence[str]) -> list[str | None]:
        """Return the SHA-256 of each part that the bucket has, whole and unharmed, given those of the segments."""
        groups = list(grouped_segments(layout, sha256s))
        known = self._index.read(group_name(group) for group in groups if len(group) > 1)

        def find_stored(numbered: tuple[Part, Sequence[str]]) -> str | None:
            part, group = numbered
            name = group_name(group)
            sha256 = group[0] if len(group) == 1 else grouped(known.get(name, b""))
            if sha256 is not None:
                stored = self._bucket.objects.head(self._bucket.keys.part(sha256))
                if stored is not None and stored.proves(sha256, part.size):
                    return sha256
            if name in known:
                self._index.refuse(name)
            return None

        return in_parallel(find_stored, zip(layout.parts, groups, strict=True))

    def _fetch(self, file: BinaryIO, described: RemoteSegment, start: int) -> bool:
        """Write all bytes of a segment, from where the bucket has them; return whether they are what its index says."""
        digest = hashlib.sha256()
        file.seek(start)
        key = self._bucket.keys.below(described.location.key)
        for content in self._bucket.read(key, described.location.start, described.entries_bytes):
            digest.update(content)
            file.write(content)
        if digest.hexdigest() == described.sha256:
            return True
        self._index.refuse(described.name)
        return False


def _holes(
    placed: Iterable[tuple[Segment, int]], remote: Mapping[Path, RemoteSegment]
) -> list[tuple[RemoteSegment, int]]:
    """Return the *remote* ones of *placed* segments, and where in the zip they start."""
    return [(remote[segment.path], start) for segment, start in placed if segment.path in remote]


def _write_entries(file: BinaryIO, described: RemoteSegment, start: int) -> str:
    """Write what checks read of a remote segment, and return the SHA-256 of all of it."""
    for entry in described.entries:
        file.seek(start + entry.start)
        file.write(entry.content)
    return described.sha256


def _write_segment(file: BinaryIO, segment: Segment, start: int) -> str:
    """Write a segment of this machine's store, and return its SHA-256; raises CorruptArchiveError if it is damaged."""
    digest, checksum = hashlib.sha256(), 0
    file.seek(start)
    with segment.path.open("rb", buffering=0) as source:
        for piece in read_pieces(source, 0, segment.entries_bytes):
            digest.update(piece)
            checksum = zlib.crc32(piece, checksum)
            file.write(piece)
    if checksum != segment.crc32:
        segment.path.unlink(missing_ok=True)
        raise CorruptArchiveError(
            f"`{segment.path}` was damaged in the store, and has been removed",
            hint="publish again: it is made anew from its wheel",
        )
    return digest.hexdigest()


def _hash(file: BinaryIO, part: Part) -> str:
    digest = hashlib.sha256()
    for piece in read_pieces(file, part.start, part.size):
        digest.update(piece)
    return digest.hexdigest()
