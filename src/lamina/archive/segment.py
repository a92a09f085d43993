"""
One wheel's position-free share of a layer: local entries laid end to end, and directory rows that count from zero.

A zip's local entries do not know where they stand, so the same segment serves every layer that holds the wheel,
on disk and as a part in S3.
A segment is one file, so that it is there as a whole or not at all::

    local entries │ directory rows │ description (JSON) │ bytes of the rows, bytes of the description │ magic
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from lamina.archive.copying import Gather, hash_range, read_at, write_all
from lamina.archive.zipformat import LOCAL_HEADER, Encoded, Member, directory_row, local_header
from lamina.errors import CorruptArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import BinaryIO

    from lamina.archive.wheel import WheelArchive
    from lamina.model import Wheel
    from lamina.store import Store

__all__ = ["FORMAT", "Piece", "Recipe", "Segment", "read_payload", "read_segment", "splice", "write_segment"]

FORMAT = 1
"""Number of the archive format. Whatever changes the bytes of a layer for the same lock raises it."""

AREA = "segments"
_MAGIC = b"lamina\0\1"
_FOOTER = struct.Struct(f"<QL{len(_MAGIC)}s")
_TAIL_BYTES = 16 << 10  # holds most descriptions, so that one read is enough


class Piece(NamedTuple):
    """One member of a segment to be: its description, and where its payload is."""

    member: Member
    payload: bytes | memoryview
    source: BinaryIO | None = None
    """An unbuffered file that holds the payload too, for the kernel to copy from."""
    start: int = 0
    """Where in that file, in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What decides a segment's bytes beside the wheel itself."""

    exclude: tuple[str, ...] = ()
    """Globs over paths below ``python/``, in the syntax of ``.gitignore``."""

    def canonical(self) -> dict[str, object]:
        """Return the recipe as it enters digests: order and repetition of the globs do not matter."""
        return {"format": FORMAT, "exclude": sorted(set(self.exclude))}

    def key(self, wheel_sha256: str, *, omitted: frozenset[str] = frozenset()) -> str:
        """Return the name of this wheel's segment in the store."""
        text = json.dumps([self.canonical(), wheel_sha256, sorted(omitted)], separators=(",", ":"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def excluded(self) -> Callable[[str], bool]:
        """Return the test whether a path is left out."""
        if not self.exclude:
            return _nothing
        from pathspec import GitIgnoreSpec  # noqa: PLC0415 - slow to import, and seldom needed

        return GitIgnoreSpec.from_lines(self.exclude).match_file


def _nothing(_: str) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A segment in the store."""

    path: Path
    entries_bytes: int
    """Of the local entries: what a layer copies."""
    sha256: str
    """Of the local entries."""
    rows: int
    rows_bytes: int
    unzipped_bytes: int
    directories: tuple[str, ...]
    """Every directory that a member's path implies."""

    @cached_property
    def directory(self) -> bytes:
        """The directory rows, with offsets from zero."""
        with self.path.open("rb", buffering=0) as file:
            return read_at(file, self.entries_bytes, self.rows_bytes)

    @property
    def zipped_bytes(self) -> int:
        """What the segment adds to a layer's zip."""
        return self.entries_bytes + self.rows_bytes


def read_segment(path: Path) -> Segment | None:
    """
    Return the segment at *path*, or nothing where there is none.

    Raises CorruptArchiveError for a file that is no whole segment of this format.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            tail = read_at(file, max(0, size - _TAIL_BYTES), _TAIL_BYTES)
            rows_bytes, length, magic = _FOOTER.unpack(tail[-_FOOTER.size :])
            if len(tail) < length + _FOOTER.size <= size:
                tail = read_at(file, size - length - _FOOTER.size, length + _FOOTER.size)
    except FileNotFoundError:
        return None
    except struct.error as error:
        raise _damaged(path) from error
    if magic != _MAGIC:
        raise _damaged(path)
    description = json.loads(tail[-_FOOTER.size - length : -_FOOTER.size])
    if description["entries_bytes"] + rows_bytes + length + _FOOTER.size != size:
        raise _damaged(path)
    return Segment(
        path=path,
        entries_bytes=description["entries_bytes"],
        sha256=description["sha256"],
        rows=description["rows"],
        rows_bytes=rows_bytes,
        unzipped_bytes=description["unzipped_bytes"],
        directories=tuple(description["directories"]),
    )


def _damaged(path: Path) -> CorruptArchiveError:
    return CorruptArchiveError(
        f"`{path}` is no whole segment",
        hint="remove what is damaged from the store: lamina cache verify",
    )


def splice(wheel: Wheel, recipe: Recipe, store: Store, *, omitted: frozenset[str] = frozenset()) -> Segment:
    """
    Return the segment of *wheel*, from the store or made now by copying the wheel's deflate streams as they are.

    *omitted* are layer paths that another distribution provides with the same content.
    Raises what opening and placing the wheel raise.
    """
    path = store.entry(AREA, recipe.key(wheel.pin.sha256, omitted=omitted), ".seg")
    if (segment := read_segment(path)) is not None:
        return segment
    from lamina.archive.wheel import WheelArchive, place  # noqa: PLC0415 - not needed with segments in the store

    with wheel.path.open("rb", buffering=0) as file, WheelArchive(wheel.path) as archive:
        placement = place(archive, excluded=recipe.excluded(), omitted=omitted)
        copied = (
            _copied(archive, placed.path, placed.located.member, placed.located.start, file)
            for placed in placement.copied
        )
        made = (_made(entry) for entry in placement.made)
        return write_segment(path, sorted([*copied, *made], key=lambda piece: piece.member.path), store)


def _copied(archive: WheelArchive, path: str, member: Member, start: int, source: BinaryIO) -> Piece:
    if member.size == 0:
        # An empty deflate stream is two bytes; stored it is none.
        return Piece(Member(path, member.executable, 0, 0, 0, 0), b"")
    payload = archive.view[start : start + member.compressed]
    return Piece(member._replace(path=path), payload, source, start)


def _made(entry: Encoded) -> Piece:
    return Piece(entry.member, entry.payload)


def write_segment(path: Path, pieces: Iterable[Piece], store: Store) -> Segment:
    """Write *pieces*, in the order given, as the segment at *path* inside *store*, atomically; return it."""
    rows: list[bytes] = []
    unzipped_bytes = 0
    directories: set[str] = set()
    with store.writing(path) as file:
        gather = Gather(file)
        for piece in pieces:
            rows.append(directory_row(piece.member, gather.position))
            gather.add(local_header(piece.member))
            if piece.source is not None and isinstance(piece.payload, memoryview):
                gather.copy(piece.source, piece.start, piece.payload)
            elif piece.payload:
                gather.add(piece.payload)
            unzipped_bytes += piece.member.size
            directories.add(piece.member.path.rpartition("/")[0])
        gather.flush()
        position = gather.position
        directory = b"".join(rows)
        description = {
            "entries_bytes": position,
            "sha256": hash_range(file, position),
            "rows": len(rows),
            "unzipped_bytes": unzipped_bytes,
            "directories": sorted(_with_parents(directories)),
        }
        encoded = json.dumps(description, separators=(",", ":")).encode()
        write_all(file, [directory, encoded, _FOOTER.pack(len(directory), len(encoded), _MAGIC)])
    return Segment(
        path=path,
        entries_bytes=position,
        sha256=str(description["sha256"]),
        rows=len(rows),
        rows_bytes=len(directory),
        unzipped_bytes=unzipped_bytes,
        directories=tuple(sorted(_with_parents(directories))),
    )


def _with_parents(directories: Iterable[str]) -> set[str]:
    every: set[str] = set()
    for directory in directories:
        current = directory
        while current and current not in every:
            every.add(current)
            current = current.rpartition("/")[0]
    return every


def read_payload(segment: Segment, offset: int, compressed: int) -> bytes:
    """Return the payload, of *compressed* bytes, of the member whose local header stands at *offset* in *segment*."""
    with segment.path.open("rb", buffering=0) as file:
        name_length, extra_length = LOCAL_HEADER.unpack(read_at(file, offset, LOCAL_HEADER.size))[-2:]
        return read_at(file, offset + LOCAL_HEADER.size + name_length + extra_length, compressed)
