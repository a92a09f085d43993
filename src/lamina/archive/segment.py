"""
Write and read segments: the local entries of one wheel, and central directory entries with offsets from the segment's start.

A zip's local entries do not contain their position. The same segment therefore works in every layer with the wheel,
on disk and as a part in S3.
A segment is one file, so that a store contains either the whole segment or nothing::

    local entries │ central directory entries │ description (JSON) │ footer

The footer contains the sizes of the central directory entries and of the description, the CRC-32 of both and of the segment's
place in the store, and a magic number. An intact file of another wheel or another kind is therefore refused.
A build creates a damaged segment again. `lamina cache verify` finds and deletes damaged segments.
"""

from __future__ import annotations

import json
import os
import struct
from typing import TYPE_CHECKING

from lamina.archive.zip.copying import Gather, keep, read_at, write_all
from lamina.archive.zip.zipformat import LOCAL_HEADER, Entry, Member, headers
from lamina.core.documents import INVALID, label_crc32
from lamina.core.errors import DamagedFileError
from lamina.core.frozen import frozen
from lamina.core.paths import PREFIX
from lamina.core.store import FORMAT as STORE_FORMAT
from lamina.core.store import key_of, open_stored, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from lamina.archive.placement import Placement
    from lamina.archive.wheel import WheelArchive
    from lamina.core.store import Store
    from lamina.core.values import Wheel

FORMAT = 1
"""The version of lamina's output. Increase it with every change that alters a layer's bytes for the same lock file."""

AREA = "segments"
_MARK = b"lamina\0"
_MAGIC = _MARK + bytes([STORE_FORMAT])
_FOOTER = struct.Struct(f"<QLL{len(_MAGIC)}s")
_DESCRIBED = ("entries_bytes", "crc32", "rows", "unzipped_bytes")
_TAIL_BYTES = 32 << 10  # enough for the central directory of most wheels, so that one read is enough


@frozen
class Recipe:
    """The options that change the segment that lamina creates from a wheel."""

    exclude: tuple[str, ...] = ()
    """Globs of paths relative to *prefix* to leave out, in the syntax of ``.gitignore``."""
    prefix: str = PREFIX
    """The directory of imports in the zip: ``python/`` in a layer, and empty in the zip of a function."""

    @property
    def modules(self) -> Recipe:
        """The recipe that decides the modules, which are the same in a layer and in the zip of a function."""
        return Recipe(exclude=self.exclude)

    def canonical(self) -> dict[str, object]:
        """Return the recipe as JSON values, for digests. Globs are sorted and deduplicated unless one of them is negated."""
        prefix = {} if self.prefix == PREFIX else {"prefix": self.prefix}
        return {"format": FORMAT, "exclude": list(self._globs())} | prefix

    def _globs(self) -> tuple[str, ...]:
        # The effect of a negated glob (`!`) depends on the globs before it, so the order matters.
        negating = any(glob.startswith("!") for glob in self.exclude)
        return self.exclude if negating else tuple(sorted(set(self.exclude)))

    def key(self, wheel_sha256: str, *, omitted: frozenset[str] = frozenset()) -> str:
        """Return the store's name for the segment of the wheel with *wheel_sha256*, without the layer paths *omitted*."""
        return key_of(self.canonical(), wheel_sha256, sorted(omitted))

    def excluded(self) -> Callable[[str], bool]:
        """Return a function that tests whether a path, relative to *prefix*, matches the globs and is left out."""
        if not self.exclude:
            return lambda _: False
        from pathspec import GitIgnoreSpec

        return GitIgnoreSpec.from_lines(self._globs()).match_file


@frozen
class Segment:
    """The sizes, checksum and central directory entries of a segment. The local entries stay in the file at *path*."""

    path: Path
    entries_bytes: int
    """The size of the local entries in bytes."""
    crc32: int
    """The CRC-32 of the local entries, verified whenever a layer copies them."""
    rows: int
    unzipped_bytes: int
    directory: bytes
    """The central directory entries, with offsets from the segment's start."""

    @property
    def rows_bytes(self) -> int:
        """The size of the central directory entries in bytes."""
        return len(self.directory)

    @property
    def zipped_bytes(self) -> int:
        """The number of bytes that the segment adds to a layer's zip."""
        return self.entries_bytes + self.rows_bytes


def read_segment(path: Path) -> Segment | None:
    """
    Read the segment at *path*, or return ``None`` if there is no file.

    The local entries are not read, so damage to them is not detected.
    Raises `DamagedFileError` if it is not a regular file, or if its end is damaged or was written in another format.
    """
    try:
        with open_stored(path) as file:
            size = os.fstat(file.fileno()).st_size
            tail = read_at(file, max(0, size - _TAIL_BYTES), _TAIL_BYTES)
            wanted = _tail_bytes(tail, path)
            if len(tail) < wanted <= size:
                tail = read_at(file, size - wanted, wanted)
    except FileNotFoundError:
        return None
    return parse_segment(tail, size, path)


def _tail_bytes(tail: bytes, path: Path) -> int:
    """Return the size of what follows the local entries, according to the footer in *tail*. Raises `DamagedFileError`."""
    try:
        rows_bytes, length, _, magic = _FOOTER.unpack(tail[-_FOOTER.size :])
    except struct.error as error:
        raise DamagedFileError(path) from error
    if magic != _MAGIC:
        raise DamagedFileError(path)
    return int(rows_bytes + length + _FOOTER.size)


def parse_segment(tail: bytes, size: int, path: Path) -> Segment:
    """
    Return the segment that ends with *tail* and has *size* bytes. *path* is its path in a store, but the file need not exist.

    Raises `DamagedFileError` if *tail* is damaged, is another file's, was written in another format, or is too short.
    """
    wanted = _tail_bytes(tail, path)
    if len(tail) < wanted:
        raise DamagedFileError(path)
    rows_bytes, _, checksum, _ = _FOOTER.unpack(tail[-_FOOTER.size :])
    described = memoryview(tail)[len(tail) - wanted : -_FOOTER.size]
    if label_crc32(described, place_of(path)) != checksum:
        raise DamagedFileError(path)
    try:
        segment = Segment(
            path=path, directory=bytes(described[:rows_bytes]), **json.loads(bytes(described[rows_bytes:]))
        )
        if segment.entries_bytes + wanted == size:
            return segment
    except INVALID as error:
        # From somebody else, such as a team's bucket: lamina writes no such description.
        raise DamagedFileError(path) from error
    raise DamagedFileError(path)


def has_other_format(content: bytes) -> bool:
    """Return whether *content* is a segment that another version of lamina wrote in another format."""
    magic = content[-len(_MAGIC) :]
    return magic.startswith(_MARK) and magic != _MAGIC


def find_segment(path: Path, store: Store) -> Segment | None:
    """Read the segment at *path* in *store* like `read_segment`. A damaged one is discarded, and the result is ``None``."""
    try:
        return read_segment(path)
    except DamagedFileError:
        store.discard(path)
        return None


def segment_path(wheel: Wheel, recipe: Recipe, store: Store, *, omitted: frozenset[str] = frozenset()) -> Path:
    """Return the path in *store* of the segment that `splice` creates for the same arguments."""
    return store.entry(AREA, recipe.key(wheel.pin.sha256, omitted=omitted), ".seg")


def splice(wheel: Wheel, recipe: Recipe, store: Store, *, omitted: frozenset[str] = frozenset()) -> Segment:
    """
    Return the segment of *wheel* from the store, or create it by copying the wheel's compressed data unchanged.

    *omitted* contains layer paths to leave out, because another distribution contains them with the same content.
    Raises the errors of `WheelArchive`, `place` and `Store.writing`.
    """
    path = segment_path(wheel, recipe, store, omitted=omitted)
    if (segment := find_segment(path, store)) is not None:
        return segment
    from lamina.archive.placement import place
    from lamina.archive.wheel import WheelArchive

    with store.exclusive(f"segment-{path.stem}"):
        if (segment := find_segment(path, store)) is not None:
            # Another process created the segment while this one waited for the lock.
            return segment
        with WheelArchive(wheel.path, name=wheel.pin.filename) as archive:
            placement = place(archive, excluded=recipe.excluded(), omitted=omitted, prefix=recipe.prefix)
            return write_segment(path, _entries(archive, placement), store, release=archive.looked_at)


def _entries(archive: WheelArchive, placement: Placement) -> Iterator[Entry]:
    """Yield the copied and created entries of *placement*, sorted by path."""
    made = list(placement.made)
    new, view = tuple.__new__, archive.view
    for path, ((_, executable, method, crc, compressed, size), start) in placement.copied:
        while made and made[0].member.path < path:
            yield made.pop(0)
        if size:
            member = new(Member, (path, executable, method, crc, compressed, size))
            yield new(Entry, (member, view[start : start + compressed]))
        else:
            # Store empty files, because an empty deflate stream has two bytes.
            yield Entry(Member(path, executable, 0, 0, 0, 0), b"")
    yield from made


def write_segment(
    path: Path, entries: Iterable[Entry], store: Store, *, release: Callable[[int], object] = keep
) -> Segment:
    """
    Write *entries*, in the given order, as the segment at *path* in *store*, atomically, and return the segment.

    *release* is called with the number of bytes written, so that the caller can release the memory of a mapped file.
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
        checksum = label_crc32(directory + description, place_of(path))
        footer = _FOOTER.pack(len(directory), len(description), checksum, _MAGIC)
        write_all(file, directory + description + footer)
    return segment


def read_payload(segment: Segment, offset: int, compressed: int) -> bytes:
    """
    Return the payload, *compressed* bytes long, of the member of *segment* whose local header is at *offset*.

    Raises `DamagedFileError` if there is no local header.
    """
    with open_stored(segment.path) as file:
        try:
            name_length, extra_length = LOCAL_HEADER.unpack(read_at(file, offset, LOCAL_HEADER.size))[-2:]
        except struct.error as error:
            raise DamagedFileError(segment.path) from error
        return read_at(file, offset + LOCAL_HEADER.size + name_length + extra_length, compressed)
