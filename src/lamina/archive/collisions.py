"""
Find the paths that several distributions in a layer contain, and reject those with different content.

Most layers have no such path. Content is therefore read only if a comparison of the paths finds one.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING

from lamina.archive.segment import read_payload
from lamina.archive.zip.zipformat import STORED, own_rows
from lamina.core.errors import PathCollisionError
from lamina.core.paths import clashes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.archive.segment import Segment
    from lamina.archive.zip.zipformat import Member

# A central directory entry: the fixed fields and the path. Paths contain no control characters, so the signature of
# the next entry ends the path.
_PATH = re.compile(rb"PK\x01\x02.{42}([^\x00-\x1f]*)(?=PK\x01\x02|\Z)", re.DOTALL)


def shared_paths(segments: Mapping[str, Segment]) -> dict[str, frozenset[str]]:
    """
    Return for each distribution the paths that an alphabetically earlier distribution contains with the same content.

    Distributions without such paths are missing from the result. *segments* maps distribution names to segments.
    Raises `PathCollisionError` with every path that has different content in two distributions, or is a file in one and a
    directory in another.
    """
    found = clashes(path for segment in segments.values() for path in _paths(segment))
    if not found:
        return {}
    tables = {name: _rows(segments[name]) for name in sorted(segments)}
    shared: defaultdict[str, set[str]] = defaultdict(set)
    conflicts = []
    for path, is_directory in found:
        text = path.decode()
        first, *others = (name for name, rows in tables.items() if path in rows)
        if is_directory:
            other = next(name for name, rows in tables.items() if any(row.startswith(path + b"/") for row in rows))
            conflicts.append(f"`{text}` is a file in `{first}` and a directory in `{other}`")
            continue
        different = [
            name
            for name in others
            if not _same(segments[first], tables[first][path], segments[name], tables[name][path])
        ]
        if different:
            conflicts.append(f"`{text}` in {' and '.join(f'`{name}`' for name in (first, *different))}")
        for name in others:
            shared[name].add(text)
    if conflicts:
        raise PathCollisionError(
            f"distributions install different content at the same path: {'; '.join(conflicts)}",
            hint="remove one of the distributions from the lock file, or add the path without `python/` to `exclude`",
        )
    return {name: frozenset(paths) for name, paths in shared.items()}


def are_settled(segments: Mapping[str, Segment], shared: Mapping[str, frozenset[str]]) -> bool:
    """
    Return whether no path is in two *segments*, and every path in *shared* is in one.

    *shared* is a result of `shared_paths` from a bucket, and *segments* were built without these paths. The content is not
    compared.
    """
    paths = {name: _paths(segment) for name, segment in segments.items()}
    everything = {path for each in paths.values() for path in each}
    omitted = {path.encode() for each in shared.values() for path in each}
    return omitted <= everything and not clashes(path for each in paths.values() for path in each)


def _paths(segment: Segment) -> list[bytes]:
    """Return the paths of the members. Searching for them is ten times as fast as parsing the central directory entries."""
    return _PATH.findall(segment.directory)


def _rows(segment: Segment) -> dict[bytes, tuple[Member, int]]:
    return {member.path.encode(): (member, offset) for member, offset in own_rows(segment.directory)}


def _same(first: Segment, row: tuple[Member, int], other: Segment, other_row: tuple[Member, int]) -> bool:
    """Return whether two members have the same content. Equal CRC-32s are not enough, because they are easy to forge."""
    member, other_member = row[0], other_row[0]
    if (member.crc, member.size) != (other_member.crc, other_member.size):
        return False
    return _content(first, *row) == _content(other, *other_row)


def _content(segment: Segment, member: Member, offset: int) -> bytes:
    payload = read_payload(segment, offset, member.compressed)
    return payload if member.method == STORED else zlib.decompressobj(-15).decompress(payload, member.size + 1)
