"""
One wheel as an archive: its members, whether it is what it says, and where each member goes in a layer.

Nothing here inflates a member that a layer keeps, except to check it against RECORD, once, on admission to the store.
Format: packaging.python.org, "Binary distribution format" (read 2026-11).
"""

from __future__ import annotations

import mmap
import re
from typing import TYPE_CHECKING, NamedTuple, Self

from lamina.archive.zip.directory import Located, read_directory
from lamina.archive.zip.inflate import PIECE_BYTES, inflate, inflate_small
from lamina.archive.zip.paths import PREFIX, clashes
from lamina.archive.record import differences, rewritten
from lamina.archive.zip.zipformat import Encoded, encode
from lamina.core.errors import CorruptArchiveError, DuplicateMemberError, RecordMismatchError, UnsafeMemberError, UnsupportedMemberError
from lamina.core.names import normalized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from lamina.core.values import Pin

__all__ = ["Placed", "Placement", "WheelArchive", "installed_path", "place", "verify_record"]

# What tools read about an installed distribution; trimming it breaks plugins, versions and scanners.
_PROTECTED = ("METADATA", "RECORD", "entry_points.txt", "top_level.txt", "WHEEL")
_FORMAT = re.compile(rb"^Wheel-Version:[ \t]*1\.[0-9]+[ \t]*\r?$", re.MULTILINE)
_BYTECODE = (".pyc", ".pyo")
_INSTALLED_SCHEMES = ("purelib", "platlib", "data")
_SHOWN_PROBLEMS = 20
# Pages of the file that were looked at count as this process's memory until it gives them back.
_MAPPED_BYTES = 4 << 20  # sixteen downloads are verified at once


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

    Raises as ``read_directory`` does, and CorruptArchiveError for a wheel without one ``.dist-info``, its own.
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
        self._looked_at = 0
        try:
            self.members = read_directory(self.view, name=self.name, release=self._give_back)
            self._give_back()
            self.stem = self._find_stem()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; payloads that somebody still holds keep it open until they go."""
        self.view.release()
        try:
            self._map.close()
        except BufferError:
            # An error on its way up holds the payload it was about; it must not be hidden by this one.
            return

    def _give_back(self) -> None:
        self._looked_at = 0
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def _find_stem(self) -> str:
        directories = {member[0].partition("/")[0] for member, _ in self.members if "/" in member[0]}
        found = sorted(directory for directory in directories if directory.endswith(".dist-info"))
        if len(found) != 1:
            named = ", ".join(f"`{directory}`" for directory in found) or "none"
            raise CorruptArchiveError(f"`{self.name}` needs one `.dist-info` directory and has {named}")
        stem = found[0].removesuffix(".dist-info")
        if normalized(stem.rpartition("-")[0]) != normalized(self.name.partition("-")[0]):
            raise CorruptArchiveError(f"`{self.name}` holds the metadata of another distribution: `{found[0]}`")
        return stem

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

    def pieces(self, located: Located) -> Iterable[bytes | memoryview]:
        """Yield a member's content in pieces of at most a MiB; raise as ``read`` does."""
        member = located.member
        if member.size <= PIECE_BYTES and member.compressed <= PIECE_BYTES:
            content = inflate_small(self.payload(located), member)
            if content is not None:
                self.looked_at(member.compressed)
                return (content,)
        return inflate(self._payload_pieces(located), located.member, name=self.name)

    def _payload_pieces(self, located: Located) -> Iterator[memoryview]:
        end = located.start + located.member.compressed
        for start in range(located.start, end, PIECE_BYTES):
            length = min(PIECE_BYTES, end - start)
            yield self.view[start : start + length]
            self.looked_at(length)

    def looked_at(self, length: int) -> None:
        """Note that *length* bytes of the archive were read, to keep memory independent of its size."""
        self._looked_at += length
        if self._looked_at > _MAPPED_BYTES:
            self._give_back()


def verify_record(path: Path, pin: Pin) -> None:
    """
    Check that the wheel at *path* is the distribution that *pin* names, and that its content is what RECORD says.

    Every member is inflated once and hashed.
    Raises RecordMismatchError naming all differences, CorruptArchiveError for another distribution,
    UnsupportedMemberError for a later wheel format, and whatever opening the wheel raises.
    """
    with WheelArchive(path, name=pin.filename) as wheel:
        _check_identity(wheel, pin)
        _check_format(wheel)
        problems = list(differences(wheel))
    if problems:
        more = [f"and {len(problems) - _SHOWN_PROBLEMS:,} more"] if len(problems) > _SHOWN_PROBLEMS else []
        raise RecordMismatchError(
            f"`{pin.filename}` is not what its RECORD says: {'; '.join([*problems[:_SHOWN_PROBLEMS], *more])}",
            hint="the distribution was built or repacked badly: choose another version, or report it to its authors",
        )


def _check_identity(wheel: WheelArchive, pin: Pin) -> None:
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - a build from segments never comes here

    name, _, version = wheel.stem.rpartition("-")
    try:
        same_version = Version(version.replace("_", "-")) == Version(pin.version)
    except InvalidVersion:
        same_version = version == pin.version
    if normalized(name) != pin.name or not same_version:
        raise CorruptArchiveError(f"`{pin.filename}` holds `{name}` {version}, not `{pin.name}` {pin.version}")


def _check_format(wheel: WheelArchive) -> None:
    metadata = {
        located.member.path.rpartition("/")[2]: located
        for located in wheel.members
        if located.member.path.rpartition("/")[0] == wheel.dist_info
    }
    for required in ("METADATA", "WHEEL"):
        if required not in metadata:
            raise CorruptArchiveError(f"`{wheel.name}` has no {required} in its `.dist-info`")
    if metadata["WHEEL"].member.size > PIECE_BYTES or not _FORMAT.search(wheel.read(metadata["WHEEL"])):
        raise UnsupportedMemberError(f"`{wheel.name}` is of another version of the wheel format than 1")


def place(wheel: WheelArchive, *, excluded: Callable[[str], bool], omitted: frozenset[str] = frozenset()) -> Placement:
    """
    Decide where each member of *wheel* goes in a layer.

    ``purelib``, ``platlib`` and ``data`` of the wheel's ``.data`` directory go to the root, as ``pip install --target``
    puts them; scripts and headers are left out, and so is bytecode, which could be stale.
    *excluded* is asked with the path relative to ``python/``; *omitted* holds layer paths another distribution provides.
    RECORD is copied where it still tells the truth, and written anew where it does not.
    Raises DuplicateMemberError where two members claim one path, UnsafeMemberError for metadata of another distribution,
    and UnsupportedMemberError for an unknown scheme.
    """
    data_prefix = f"{wheel.stem}.data/"
    record_path = f"{wheel.dist_info}/RECORD"
    protected = {f"{wheel.dist_info}/{name}" for name in _PROTECTED}
    members = wheel.members
    usual = not any(each[0][0].startswith(data_prefix) or each[0][0].endswith(_BYTECODE) for each in members)
    placed = [
        (path, each)
        for each in members
        if (path := each[0][0] if usual else installed_path(each[0][0], data_prefix)) is not None
        and (path in protected or not excluded(path))
    ]
    made: tuple[Encoded, ...] = ()
    if not usual or len(placed) != len(members):
        moved = {located.member.path: path for path, located in placed}
        _check_moved(moved, wheel)
        if record_path in moved:
            placed = [(path, located) for path, located in placed if path != record_path]
            made = (encode(PREFIX + record_path, rewritten(wheel, moved)),)
    new = tuple.__new__  # half the time of calling the class by its name
    copied = sorted([new(Placed, (PREFIX + path, located)) for path, located in placed])
    if not omitted:
        return Placement(tuple(copied), made)
    return Placement(
        tuple(each for each in copied if each.path not in omitted),
        tuple(entry for entry in made if entry.member.path not in omitted),
    )


def _check_moved(moved: dict[str, str], wheel: WheelArchive) -> None:
    """Check what the archive alone does not show: where members end up."""
    if found := clashes(path.encode() for path in moved.values()):
        listed = ", ".join(f"`{clash.path.decode()}`" for clash in found)
        raise DuplicateMemberError(f"`{wheel.name}` installs two members at one path: {listed}")
    for source, path in moved.items():
        directory, slash, _ = path.partition("/")
        if source != path and slash and directory.endswith(".dist-info") and directory != wheel.dist_info:
            raise UnsafeMemberError(f"`{wheel.name}` installs metadata of another distribution: `{source}`")


def installed_path(source: str, data_prefix: str) -> str | None:
    """
    Return where the member *source* goes below ``python/``, or ``None`` where it is left out.

    Raises UnsupportedMemberError for a scheme that the wheel format does not know.
    """
    if source.endswith(_BYTECODE):
        return None
    if not source.startswith(data_prefix):
        return source
    scheme, _, path = source.removeprefix(data_prefix).partition("/")
    if path and scheme in _INSTALLED_SCHEMES:
        return path
    if path and scheme in ("scripts", "headers"):
        return None
    raise UnsupportedMemberError(f"A wheel installs into the unknown scheme `{scheme}`: `{source}`")
