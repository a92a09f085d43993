"""
One wheel as an archive: its members, its RECORD, and where each member goes in a layer.

Nothing here inflates a member that a layer keeps, except to check it against RECORD, once, on admission to the store.
Format: packaging.python.org, "Binary distribution format" and "Recording installed projects" (read 2026-11).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import mmap
import re
import zlib
from typing import TYPE_CHECKING, NamedTuple, Self

from lamina.archive.directory import Located, read_directory
from lamina.archive.zipformat import STORED, Encoded, Member, encode
from lamina.errors import CorruptArchiveError, RecordMismatchError, SuspiciousSizeError, UnsupportedMemberError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lamina.model import Pin

__all__ = ["PREFIX", "Placed", "Placement", "WheelArchive", "installed_path", "place", "verify_record"]

PREFIX = "python/"
"""Where Lambda looks for a Python layer's modules (AWS, "Working with layers for Python Lambda functions", 2026-11)."""

_RECORD_ALGORITHMS = ("sha256", "sha384", "sha512")
# A signature cannot be listed in the file that it signs.
_UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")
# Larger members are inflated piece by piece, to keep memory independent of them.
_WHOLE_BYTES = 4 << 20
_PIECE_BYTES = 1 << 20

# What tools read about an installed distribution; trimming it breaks plugins, versions and scanners.
_PROTECTED = ("METADATA", "RECORD", "entry_points.txt", "top_level.txt", "WHEEL")


class RecordRow(NamedTuple):
    """What RECORD says of one file: ``algorithm=urlsafe-base64`` and bytes, both empty where it says nothing."""

    digest: str
    size: str


class Placed(NamedTuple):
    """A member of a wheel, and its path in the layer."""

    path: str
    located: Located


class Placement(NamedTuple):
    """What one wheel gives to a layer: members to copy as they are, and members to make."""

    copied: tuple[Placed, ...]
    made: tuple[Encoded, ...]


class WheelArchive:
    """
    A wheel opened for reading; a context manager.

    Raises as ``read_directory`` does, and CorruptArchiveError for a wheel without its own ``.dist-info``.
    """

    def __init__(self, path: Path, *, name: str | None = None) -> None:
        """Open the wheel at *path* and check its directory; *name* is its file name, where the path has another."""
        self.path = path
        self.name = path.name if name is None else name
        with path.open("rb") as file:
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise CorruptArchiveError(f"`{self.name}` is empty") from error
        self.view = memoryview(self._map)
        try:
            self.members = read_directory(self.view, name=self.name)
            self.stem = self._find_stem()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self.view.release()
        self._map.close()

    def _find_stem(self) -> str:
        wanted = normalize(self.name.split("-", 1)[0])
        stems = {
            directory.removesuffix(".dist-info")
            for directory in (member.path.partition("/")[0] for member, _ in self.members)
            if directory.endswith(".dist-info") and normalize(directory.split("-", 1)[0]) == wanted
        }
        if len(stems) != 1:
            raise CorruptArchiveError(f"`{self.name}` needs one `.dist-info` directory of its own and has {len(stems)}")
        return stems.pop()

    @property
    def dist_info(self) -> str:
        """The directory of the wheel's metadata."""
        return f"{self.stem}.dist-info"

    def payload(self, located: Located) -> memoryview:
        """Return a member's bytes as they are in the archive; valid until the wheel is closed."""
        return self.view[located.start : located.start + located.member.compressed]

    def read(self, located: Located) -> bytes:
        """
        Return a member's content.

        Raises CorruptArchiveError or SuspiciousSizeError where the stream is not what the directory declares.
        """
        return b"".join(self.pieces(located))

    def pieces(self, located: Located) -> Iterator[bytes]:
        """Yield a member's content in pieces of at most a few MiB; raise as ``read`` does."""
        member = located.member
        payload = self.payload(located)
        checksum, size = 0, 0
        for piece in (bytes(payload),) if member.method == STORED else _inflate(payload, member, name=self.name):
            size += len(piece)
            checksum = zlib.crc32(piece, checksum)
            yield piece
        if size != member.size or checksum != member.crc:
            raise CorruptArchiveError(f"`{self.name}` is damaged: `{member.path}` does not inflate to what is declared")

    def record(self) -> dict[str, RecordRow]:
        """
        Return RECORD by path.

        Raises RecordMismatchError where it is missing or is no table of three columns.
        """
        wanted = f"{self.dist_info}/RECORD"
        located = next((located for located in self.members if located.member.path == wanted), None)
        if located is None:
            raise RecordMismatchError(f"`{self.name}` has no RECORD")
        text = self.read(located).decode("utf-8")
        rows: dict[str, RecordRow] = {}
        for row in csv.reader(io.StringIO(text, newline="")):
            if not row:
                continue
            if len(row) != 3:
                raise RecordMismatchError(f"`{self.name}` has a RECORD row that is not `path,hash,size`: {row!r}")
            rows[row[0]] = RecordRow(row[1], row[2])
        return rows


def _inflate(payload: memoryview, member: Member, *, name: str) -> Iterator[bytes]:
    if member.size <= _WHOLE_BYTES:
        import deflate  # noqa: PLC0415 - a build from cached segments inflates nothing

        try:
            # The output buffer is the declared size, so a stream that holds more cannot exhaust memory.
            yield bytes(deflate.deflate_decompress(payload, member.size)) if member.size else _inflate_empty(payload)
        except (deflate.DeflateError, zlib.error) as error:
            raise CorruptArchiveError(
                f"`{name}` is damaged: `{member.path}` does not inflate to what is declared",
            ) from error
        return
    inflater = zlib.decompressobj(-15)
    left = member.size
    pending: bytes | memoryview = payload
    while not inflater.eof:
        try:
            piece = inflater.decompress(pending, _PIECE_BYTES)
        except zlib.error as error:
            raise CorruptArchiveError(f"`{name}` is damaged: `{member.path}` does not inflate") from error
        pending = inflater.unconsumed_tail
        left -= len(piece)
        if left < 0:
            raise SuspiciousSizeError(
                f"`{name}` inflates `{member.path}` to more than the {member.size:,} bytes declared"
            )
        if not piece and not pending and not inflater.eof:
            return
        yield piece


def _inflate_empty(payload: memoryview) -> bytes:
    inflater = zlib.decompressobj(-15)
    return inflater.decompress(payload, 1)


def normalize(name: str) -> str:
    """Return a distribution's *name* in its normal form (packaging.python.org, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def verify_record(path: Path, pin: Pin) -> None:
    """
    Check that the wheel at *path* is the distribution that *pin* names, and that its content is what RECORD says.

    Every member is inflated once and hashed.
    Raises RecordMismatchError naming all differences, CorruptArchiveError for another distribution,
    and whatever opening the wheel raises.
    """
    with WheelArchive(path, name=pin.filename) as wheel:
        name, _, version = wheel.stem.rpartition("-")
        if normalize(name) != pin.name:
            raise CorruptArchiveError(f"`{pin.filename}` holds `{name}` {version}, not `{pin.name}` {pin.version}")
        record = wheel.record()
        problems = list(_differences(wheel, record))
    if problems:
        raise RecordMismatchError(
            f"`{pin.filename}` is not what its RECORD says: {'; '.join(problems)}",
            hint="the distribution was built or repacked badly: choose another version, or report it to its authors",
        )


def _differences(wheel: WheelArchive, record: dict[str, RecordRow]) -> Iterator[str]:
    unrecorded = {f"{wheel.dist_info}/{name}" for name in _UNRECORDED}
    present = set()
    for located in wheel.members:
        path = located.member.path
        present.add(path)
        row = record.get(path)
        if path in unrecorded:
            continue
        if row is None:
            yield f"`{path}` is not listed"
            continue
        algorithm, _, expected = row.digest.partition("=")
        if algorithm not in _RECORD_ALGORITHMS:
            yield f"`{path}` is listed without a secure hash"
            continue
        digest = hashlib.new(algorithm)
        for piece in wheel.pieces(located):
            digest.update(piece)
        if base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode() != expected.rstrip("="):
            yield f"`{path}` has another hash"
    for path, row in record.items():
        if path not in present and path not in unrecorded and row.digest:
            yield f"`{path}` is listed and missing"


def place(wheel: WheelArchive, *, excluded: Callable[[str], bool], omitted: frozenset[str] = frozenset()) -> Placement:
    """
    Decide where each member of *wheel* goes in a layer.

    ``purelib``, ``platlib`` and ``data`` of the wheel's ``.data`` directory go to the root, as ``pip install --target``
    puts them; scripts and headers are left out, and so is bytecode, which could be stale.
    *excluded* is asked with the path relative to ``python/``; *omitted* holds layer paths another distribution provides.
    RECORD is copied where it still tells the truth, and written anew where it does not.
    Raises CorruptArchiveError where two members claim one path.
    """
    data_prefix = f"{wheel.stem}.data/"
    record_path = f"{wheel.dist_info}/RECORD"
    protected = {f"{wheel.dist_info}/{name}" for name in _PROTECTED}
    placed: dict[str, Located] = {}
    moved: dict[str, str] = {}
    for located in wheel.members:
        source = located.member.path
        path = installed_path(source, data_prefix)
        if path is None or (path not in protected and excluded(path)):
            continue
        if path in placed:
            raise CorruptArchiveError(f"`{wheel.name}` installs `{path}` twice")
        placed[path] = located
        moved[source] = path
    unchanged = len(moved) == len(wheel.members) and all(source == path for source, path in moved.items())
    made: tuple[Encoded, ...] = ()
    if not unchanged and record_path in placed:
        del placed[record_path]
        made = (encode(PREFIX + record_path, _rewrite_record(wheel, moved, record_path)),)
    copied = tuple(Placed(PREFIX + path, placed[path]) for path in sorted(placed) if PREFIX + path not in omitted)
    return Placement(copied, tuple(entry for entry in made if entry.member.path not in omitted))


def installed_path(source: str, data_prefix: str) -> str | None:
    """
    Return where the member *source* goes below ``python/``, or ``None`` where it is left out.

    Raises UnsupportedMemberError for a scheme that the wheel format does not know.
    """
    if source.endswith((".pyc", ".pyo")):
        return None
    if not source.startswith(data_prefix):
        return source
    scheme, _, path = source.removeprefix(data_prefix).partition("/")
    if scheme in ("purelib", "platlib", "data"):
        return path
    if scheme in ("scripts", "headers"):
        return None
    raise UnsupportedMemberError(f"A wheel installs into the unknown scheme `{scheme}`: `{source}`")


def _rewrite_record(wheel: WheelArchive, moved: dict[str, str], record_path: str) -> bytes:
    record = wheel.record()
    rows = {path: record.get(source, RecordRow("", "")) for source, path in moved.items() if path != record_path}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([path, *rows[path]] for path in sorted(rows))
    writer.writerow([record_path, "", ""])
    return text.getvalue().encode("utf-8")
