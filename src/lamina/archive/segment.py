"""
One wheel's position-free share of a layer: local entries laid end to end, and directory rows that count from zero.

A zip's local entries do not know where they stand, so the same segment serves every layer that holds the wheel,
on disk and as a part in S3.
A segment is one file, so that it is there as a whole or not at all::

    local entries │ directory rows │ description (JSON) │ bytes of the rows, bytes of the description, their CRC-32 │ magic

A segment that was damaged in the store is made again by whoever needs it; `lamina cache verify` is for knowing.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from io import FileIO
from typing import TYPE_CHECKING

from lamina.archive.zip.copying import Gather, keep, read_at, write_all
from lamina.archive.zip.zipformat import LOCAL_HEADER, Entry, Member, headers
from lamina.core.errors import CorruptArchiveError
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from lamina.archive.placement import Placement
    from lamina.archive.wheel import WheelArchive
    from lamina.core.store import Store
    from lamina.core.values import Wheel

FORMAT = 1
"""Number of the archive format. Whatever changes the bytes of a layer for the same lock raises it."""

AREA = "segments"
_MAGIC = b"lamina\0\3"
_FOOTER = struct.Struct(f"<QLL{len(_MAGIC)}s")
_DESCRIBED = ("entries_bytes", "crc32", "rows", "unzipped_bytes")
_TAIL_BYTES = 32 << 10  # holds the rows of most wheels, so that one read is enough


@frozen
class Recipe:
    """What decides a segment's bytes beside the wheel itself."""

    exclude: tuple[str, ...] = ()
    """Globs over paths below ``python/``, in the syntax of ``.gitignore``."""

    def canonical(self) -> dict[str, object]:
        """Return the recipe as it enters digests: order and repetition of the globs do not matter, unless one negates."""
        return {"format": FORMAT, "exclude": list(self._globs())}

    def _globs(self) -> tuple[str, ...]:
        # What `!` takes back depends on what stands before it.
        negating = any(glob.startswith("!") for glob in self.exclude)
        return self.exclude if negating else tuple(sorted(set(self.exclude)))

    def key(self, wheel_sha256: str, *, omitted: frozenset[str] = frozenset()) -> str:
        """Return the name of this wheel's segment in the store."""
        text = json.dumps([self.canonical(), wheel_sha256, sorted(omitted)], separators=(",", ":"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def excluded(self) -> Callable[[str], bool]:
        """Return the test whether a path is left out."""
        if not self.exclude:
            return lambda _: False
        from pathspec import GitIgnoreSpec

        return GitIgnoreSpec.from_lines(self._globs()).match_file


@frozen
class Segment:
    """A segment in the store."""

    path: Path
    entries_bytes: int
    """Of the local entries: what a layer copies."""
    crc32: int
    """Of the local entries: what they are checked with whenever they are read, because it is cheap."""
    rows: int
    unzipped_bytes: int
    directory: bytes
    """The directory rows, with offsets from zero."""

    @property
    def rows_bytes(self) -> int:
        """Of the directory rows."""
        return len(self.directory)

    @property
    def zipped_bytes(self) -> int:
        """What the segment adds to a layer's zip."""
        return self.entries_bytes + self.rows_bytes


def read_segment(path: Path) -> Segment | None:
    """
    Return the segment at *path*, or nothing where there is none.

    Raises CorruptArchiveError for a file that is no whole segment of this format. The local entries are not read.
    """
    try:
        with FileIO(str(path)) as file:
            size = os.fstat(file.fileno()).st_size
            tail = read_at(file, max(0, size - _TAIL_BYTES), _TAIL_BYTES)
            rows_bytes, length, checksum, magic = _FOOTER.unpack(tail[-_FOOTER.size :])
            wanted = rows_bytes + length + _FOOTER.size
            if len(tail) < wanted <= size:
                tail = read_at(file, size - wanted, wanted)
    except FileNotFoundError:
        return None
    except struct.error as error:
        raise _damaged(path) from error
    if magic != _MAGIC or len(tail) < wanted:
        raise _damaged(path)
    described = memoryview(tail)[len(tail) - wanted : -_FOOTER.size]
    if zlib.crc32(described) != checksum:
        raise _damaged(path)
    description = json.loads(bytes(described[rows_bytes:]))
    if description["entries_bytes"] + wanted != size:
        raise _damaged(path)
    return Segment(path=path, directory=bytes(described[:rows_bytes]), **description)


def find_segment(path: Path) -> Segment | None:
    """Return the segment at *path*, or nothing where there is none that is whole: then it is to be made again."""
    try:
        return read_segment(path)
    except CorruptArchiveError:
        return None


def _damaged(path: Path) -> CorruptArchiveError:
    return CorruptArchiveError(
        f"`{path}` is no whole segment",
        hint="remove what is damaged from the store: lamina cache verify",
    )


def segment_path(wheel: Wheel, recipe: Recipe, store: Store, *, omitted: frozenset[str] = frozenset()) -> Path:
    """Return where *store* keeps the segment that `splice` makes of the same arguments."""
    return store.entry(AREA, recipe.key(wheel.pin.sha256, omitted=omitted), ".seg")


def splice(wheel: Wheel, recipe: Recipe, store: Store, *, omitted: frozenset[str] = frozenset()) -> Segment:
    """
    Return the segment of *wheel*, from the store or made now by copying the wheel's deflate streams as they are.

    *omitted* are layer paths that another distribution provides with the same content.
    Raises what opening and placing the wheel raise.
    """
    path = segment_path(wheel, recipe, store, omitted=omitted)
    if (segment := find_segment(path)) is not None:
        return segment
    from lamina.archive.placement import place
    from lamina.archive.wheel import WheelArchive

    with store.exclusive(f"segment-{path.stem}"):
        if (segment := find_segment(path)) is not None:
            # Whoever had the lock before, such as another service's build, has made it.
            return segment
        with WheelArchive(wheel.path, name=wheel.pin.filename) as archive:
            placement = place(archive, excluded=recipe.excluded(), omitted=omitted)
            return write_segment(path, _entries(archive, placement), store, release=archive.looked_at)


def _entries(archive: WheelArchive, placement: Placement) -> Iterator[Entry]:
    """Yield what *placement* says, sorted by path."""
    made = list(placement.made)
    new, view = tuple.__new__, archive.view
    for path, ((_, executable, method, crc, compressed, size), start) in placement.copied:
        while made and made[0].member.path < path:
            yield made.pop(0)
        if size:
            member = new(Member, (path, executable, method, crc, compressed, size))
            yield new(Entry, (member, view[start : start + compressed]))
        else:
            # An empty deflate stream is two bytes; stored it is none.
            yield Entry(Member(path, executable, 0, 0, 0, 0), b"")
    yield from made


def write_segment(
    path: Path, entries: Iterable[Entry], store: Store, *, release: Callable[[int], object] = keep
) -> Segment:
    """
    Write *entries*, in the order given, as the segment at *path* inside *store*, atomically; return it.

    *release* is called with how many bytes were read, to give back the memory of a mapped file.
    """
    rows: list[bytes] = []
    unzipped_bytes = 0
    with store.writing(path) as file:
        gather = Gather(file, release=release)
        for member, payload in entries:
            header, row = headers(member, gather.position)
            rows.append(row)
            unzipped_bytes += member[5]
            gather.add(header, payload)
        gather.flush()
        directory = b"".join(rows)
        segment = Segment(
            path=path,
            entries_bytes=gather.position,
            crc32=gather.crc32,
            rows=len(rows),
            unzipped_bytes=unzipped_bytes,
            directory=directory,
        )
        described = {name: getattr(segment, name) for name in _DESCRIBED}
        description = json.dumps(described, separators=(",", ":")).encode()
        checksum = zlib.crc32(description, zlib.crc32(directory))
        footer = _FOOTER.pack(len(directory), len(description), checksum, _MAGIC)
        write_all(file, directory + description + footer)
    return segment


def read_payload(segment: Segment, offset: int, compressed: int) -> bytes:
    """Return the payload, of *compressed* bytes, of the member whose local header stands at *offset* in *segment*."""
    with segment.path.open("rb", buffering=0) as file:
        name_length, extra_length = LOCAL_HEADER.unpack(read_at(file, offset, LOCAL_HEADER.size))[-2:]
        return read_at(file, offset + LOCAL_HEADER.size + name_length + extra_length, compressed)
