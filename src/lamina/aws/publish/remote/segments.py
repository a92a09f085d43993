"""
Use segments in a bucket in place of local ones, and compose layers with holes for the parts that only the bucket has.

An index entry may refer to an object that is missing or has changed. lamina then refuses the entry: it does not use the entry again,
and the next publisher that has the wheels replaces the entry. Nothing from the bucket is added to the local store.
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
from lamina.core.errors import DamagedFileError
from lamina.core.files import file_sha256
from lamina.core.frozen import frozen
from lamina.core.store import open_stored
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
    """A layer's zip on disk, with holes in place of bytes that only the bucket has."""

    parts: tuple[str, ...]
    """The SHA-256 of each part of the layout."""
    whole_parts: frozenset[int]
    """The start positions, in bytes, of the parts without holes."""
    remote_segments: Mapping[str, str]
    """The SHA-256 of each segment that is not on this machine, by the segment's name."""
    shared_paths: tuple[str, bytes]
    """The name and content of the index entry for the paths that several distributions share."""

    @property
    def is_whole(self) -> bool:
        """Whether the zip has no holes."""
        return len(self.whole_parts) == len(self.parts)


class BucketStore:
    """
    Implements `lamina.pipeline.context.RemoteStore` with one bucket. The bucket's index describes segments; its parts contain them.

    Methods may be called from several threads at once, for different layers.
    """

    def __init__(self, index: RemoteIndex, bucket: Bucket, *, store: Store, scratch: Path) -> None:
        """Use *index* for segments and metadata that *store* lacks. Import metadata from *index* is written to *scratch*."""
        self._store = store
        self.imports = ImportStore(scratch, store, index)
        self.zips: dict[str, SparseZip] = {}
        """The composed zips, by the layer's digest."""
        self._index = index
        self._bucket = bucket
        # The targets share this mapping, so nothing is removed. Each `compose` checks which segments are missing locally.
        self._described: dict[Path, RemoteSegment] = {}

    def segments(self, paths: Sequence[Path]) -> Mapping[Path, Segment]:
        """Return the segments at *paths* in the local store, by path, as the bucket's index describes them. Omit segments without an entry."""
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
        """Return the paths to omit from each distribution because another one has them; ``None`` if the index has no valid entry."""
        name = shared_paths_name(pins, recipe)
        content = self._index.read([name]).get(name)
        if content is None:
            return None
        shared = read_shared_paths(content)
        if shared is None:
            self._index.refuse(name)
        return shared

    def refuse_shared_paths(self, pins: Sequence[Pin], recipe: Recipe) -> None:
        """Refuse the index entry that `shared_paths` returned, because it is wrong. Later calls treat the entry as missing."""
        self._index.refuse(shared_paths_name(pins, recipe))

    def compose(
        self, plan: LayerPlan, pins: Sequence[Pin], parts: Sequence[Contribution], destination: Path
    ) -> Layer | None:
        """
        Write the zip of the planned layer to *destination*, with holes in place of parts that only the bucket has. Return the layer.

        A segment is downloaded if no complete part in the bucket contains it. *parts* are the contents of the zip, and *pins* the
        distributions they come from. Return ``None`` if a segment in the bucket is missing or damaged; the index entry that describes
        it is then not used again.
        Raises `AwsError`, and `DamagedFileError` if a segment in the local store is damaged.
        """
        ordered = in_order(parts)
        segments = [each.segment for each in ordered]
        end = ending(segments, plan.identity, plan.digest)
        layout = layout_parts(extents(parts), end.zipped_bytes, quotas())
        # Other described segments have been created locally in the meantime.
        remote = {
            segment.path: self._described[segment.path]
            for segment in segments
            if segment.path in self._described and find_segment(segment.path, self._store) is None
        }
        destination.parent.mkdir(parents=True, exist_ok=True)
        written = self._write(destination, segments, remote, end, layout)
        if written is None:
            return None
        sha256s, whole_parts = written
        # The entry is only for the distributions. It must not depend on own code, so a layer with own code records no paths.
        omitted = {part.name: part.omitted for part in parts if not part.is_bytecode and not plan.own_code}
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
        """Return the SHA-256 of the whole zip. If the zip has holes, take it from the layer's record, or return ``None`` without one."""
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
        Write the zip, and download the *remote* segments that no part in the bucket contains.

        Return the SHA-256 of each part, and the start positions of the parts without holes. Return ``None`` if a segment is missing or
        damaged in the bucket.
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
        """Return the SHA-256 of each part, or ``None`` for a part that the bucket lacks. *sha256s* are the segments' hashes."""
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
        """Download a segment into *file* at *start*. Return whether its SHA-256 is correct; if not, refuse the index entry."""
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
    """Return the *remote* segments among *placed*, which are segments with their start positions in the zip."""
    return [(remote[segment.path], start) for segment, start in placed if segment.path in remote]


def _write_entries(file: BinaryIO, described: RemoteSegment, start: int) -> str:
    """Write only those entries of a remote segment that the layer's checks read. Return the SHA-256 of the whole segment."""
    for entry in described.entries:
        file.seek(start + entry.start)
        file.write(entry.content)
    return described.sha256


def _write_segment(file: BinaryIO, segment: Segment, start: int) -> str:
    """Write a segment from the local store, and return its SHA-256. Raises `DamagedFileError` if it is damaged."""
    digest, checksum = hashlib.sha256(), 0
    file.seek(start)
    with open_stored(segment.path) as source:
        for piece in read_pieces(source, 0, segment.entries_bytes):
            digest.update(piece)
            checksum = zlib.crc32(piece, checksum)
            file.write(piece)
    if checksum != segment.crc32:
        raise DamagedFileError(segment.path)
    return digest.hexdigest()


def _hash(file: BinaryIO, part: Part) -> str:
    digest = hashlib.sha256()
    for piece in read_pieces(file, part.start, part.size):
        digest.update(piece)
    return digest.hexdigest()
