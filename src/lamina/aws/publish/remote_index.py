"""
Read and write the remote index: metadata in a bucket from which a machine can build a layer without downloading its wheels.

Each entry is an object of a few kilobytes below ``directories/``. Its name is a hash of the inputs from which it was derived. There are
entries with

- the central directory entries of a segment, and the location of its bytes (`lamina.archive.remote_segment`);
- the SHA-256 of a part, for the group of segments that form the part;
- the imports of a wheel's modules, the modules that a service's handlers reach, and the paths that several wheels of a layer share.

An entry begins with its own name and the SHA-256 of its content. lamina rejects an entry that is truncated, damaged or stored under
another name, and the next publisher that has the wheels replaces it. The content is derived from wheels and cannot be verified without
them. So grant write access to the bucket only to people who may also publish layers.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

from lamina.archive.remote_segment import SegmentLocation, describe, encode, rows_between
from lamina.archive.zip.directory import raw_directory
from lamina.aws.destination.naming import Keys
from lamina.aws.destination.parallel import in_parallel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.publish.parts import PartLayout
    from lamina.core.values import Layer

_MARK = b"lamina directory 1"
_MOST_STORED = 16 << 20
_MOST_BYTES = 64 << 20
"""The limit for the decompressed size of an entry in bytes. The directory of the largest possible layer is smaller."""
_NAME = re.compile(r"[0-9a-f]{64}")


def group_name(segments: Sequence[str]) -> str:
    """Return the name of the index entry for a group of segments. *segments* are their SHA-256 hashes in order."""
    return hashlib.sha256(json.dumps(["group", *segments]).encode()).hexdigest()


def grouped_segments(layout: PartLayout, segments: Iterable[str]) -> Iterator[Sequence[str]]:
    """Divide *segments*, which has a value for each segment of a layer, into one list for each part of *layout*. Omit the tail's segments."""
    rest = iter(segments)
    return (list(islice(rest, len(part.extents))) for part in layout.parts)


def group(sha256: str) -> bytes:
    """Return the payload of the index entry for a group of segments whose bytes have this *sha256*."""
    return json.dumps({"version": 1, "part": sha256}).encode()


def grouped(payload: bytes) -> str | None:
    """Return the SHA-256 in *payload*, which `group` created, or ``None`` if *payload* is invalid."""
    try:
        row: dict[str, Any] = json.loads(payload)
        sha256 = str(row["part"])
    except (KeyError, RecursionError, TypeError, ValueError):
        return None
    return sha256 if _NAME.fullmatch(sha256) else None


def index_entries(
    path: Path, layer: Layer, layout: PartLayout, parts: Sequence[str], *, elsewhere: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """
    Return the payloads of the index entries for the segments and groups of *layer*, by name. The layer's zip is at *path*.

    *parts* are the SHA-256 hashes of the parts in *layout*. *elsewhere* maps the names of segments that are missing at *path* to their
    SHA-256. Such segments receive no entry. Return an empty mapping if a segment of the layer has no name.
    """
    extents, known = layer.extents, elsewhere or {}
    if not all(extent.segment for extent in extents):
        return {}
    starts = [0, *accumulate(extent.size for extent in extents)]
    spans = [(start, extent.size) for start, extent in zip(starts, extents, strict=False)]
    found: dict[str, bytes] = {}
    sha256s: list[str] = []
    locations = list(_locations(spans, layout, parts, layer.digest))
    with path.open("rb", buffering=0) as file:
        rows = rows_between(raw_directory(path), spans)
        for number, extent in enumerate(extents):
            if extent.segment in known:
                sha256s.append(known[extent.segment])
                continue
            fragment = describe(extent.segment, file, spans[number], rows[number], locations[number])
            sha256s.append(fragment.sha256)
            found[extent.segment] = encode(fragment)
    for members, sha256 in zip(grouped_segments(layout, sha256s), parts, strict=True):
        if len(members) > 1:
            found[group_name(members)] = group(sha256)
    return found


def _locations(
    spans: Sequence[tuple[int, int]], layout: PartLayout, parts: Sequence[str], digest: str
) -> Iterator[SegmentLocation]:
    # Locations are relative to lamina's prefix.
    keys = Keys("")
    objects = [(part.start, part.size, keys.part(sha256)) for part, sha256 in zip(layout.parts, parts, strict=True)]
    objects.append((0, layout.zipped_bytes, keys.layer(digest)))
    for start, _ in spans:
        begin, key = next((begin, key) for begin, size, key in objects if begin <= start < begin + size)
        yield SegmentLocation(key=key, start=start - begin)


def wrap(name: str, payload: bytes) -> bytes:
    """Return the content of the object for the entry *name* with this *payload*: a header line, and the compressed payload."""
    digest = hashlib.sha256(payload).hexdigest().encode()
    return b" ".join([_MARK, name.encode(), digest]) + b"\n" + zlib.compress(payload, 6)


def unwrap(name: str, content: bytes) -> bytes | None:
    """Return the payload in the *content* of the object for the entry *name*, or ``None`` if the content is damaged."""
    line, _, compressed = content.partition(b"\n")
    if not line.startswith(b" ".join([_MARK, name.encode(), b""])):
        return None
    inflater = zlib.decompressobj()
    try:
        payload = inflater.decompress(compressed, _MOST_BYTES)
    except zlib.error:
        return None
    whole = inflater.eof and not inflater.unused_data
    return payload if whole and hashlib.sha256(payload).hexdigest().encode() == line.rpartition(b" ")[2] else None


class RemoteIndex:
    """The remote index of one bucket. Methods may be called from several threads at once."""

    def __init__(self, bucket: Bucket, *, refused: Iterable[str] = ()) -> None:
        """Use the index in *bucket*. *refused* has the names of entries that are already known to be wrong."""
        self._bucket = bucket
        self._found: dict[str, bytes | None] = {}
        self.refused: set[str] = set(refused)
        """The names of entries that are damaged or wrong; `put` replaces them."""

    def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the payloads of the entries *names*, omitting missing and damaged entries. Each entry is downloaded only once."""
        asked = dict.fromkeys(names)
        new = [name for name in asked if name not in self._found and _NAME.fullmatch(name)]
        for name, payload in zip(new, in_parallel(self._read_object, new), strict=True):
            # Another thread may have read and refused the entry in the meantime.
            self._found.setdefault(name, payload)
        return {name: payload for name in asked if (payload := self._found.get(name)) is not None}

    def _read_object(self, name: str) -> bytes | None:
        content = self._bucket.objects.get(self._bucket.keys.directory(name), most=_MOST_STORED)
        if content is None:
            return None
        payload = unwrap(name, content)
        if payload is None:
            self.refused.add(name)
        return payload

    def refuse(self, name: str) -> None:
        """Treat the entry *name* as missing from now on, because its payload is wrong."""
        self._found[name] = None
        self.refused.add(name)

    def put(self, contents: Mapping[str, bytes], *, known: Collection[str] = ()) -> int:
        """
        Upload *contents*, which were created by `wrap`, except entries *known* to exist. Return the number of bytes uploaded.

        An existing entry is replaced only if it is in `refused`, because reading it showed that it is wrong.
        """

        def send(name: str) -> int:
            content = contents[name]
            sha256 = hashlib.sha256(content).hexdigest()
            key = self._bucket.keys.directory(name)
            sent = self._bucket.objects.put(key, content, sha256=sha256, absent=name not in self.refused)
            return len(content) if sent else 0

        new = [
            name for name in contents if name in self.refused or (name not in known and self._found.get(name) is None)
        ]
        return sum(in_parallel(send, new))
