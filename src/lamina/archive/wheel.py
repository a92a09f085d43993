"""
Read a wheel's members without extracting it.

Layers copy members without inflating them. lamina inflates a member only to verify it against RECORD, once, before it
stores the wheel.
Format: packaging.python.org, "Binary distribution format" (read 2026-11).
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Self

from lamina.archive.zip.copying import read_pieces
from lamina.archive.zip.directory import Located, read_directory
from lamina.archive.zip.inflate import BROKEN_WHEEL_HINT, PIECE_BYTES, member_content
from lamina.core.errors import CorruptArchiveError, UnsupportedMemberError
from lamina.core.files import open_regular
from lamina.core.names import normalized

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO


_SCHEMES = frozenset(("purelib", "platlib", "data", "scripts", "headers"))
# Pages that were read count as memory of the process until it releases them.
_MAPPED_BYTES = 4 << 20  # small, because lamina verifies sixteen downloads at once


class WheelArchive:
    """
    A wheel opened for reading, as a context manager.

    Raises `OSError` if the file is unreadable, and the errors of `read_directory`. Raises `CorruptArchiveError` if the file is
    empty, has no or several ``.dist-info`` directories, or has one for another distribution than the file name. Raises
    `UnsupportedMemberError` for the ``.data`` directory of another distribution.
    """

    def __init__(self, path: Path, *, name: str | None = None) -> None:
        """Open the wheel at *path* and check its headers. *name* is the wheel's file name (default: the name of *path*)."""
        self.path = path
        self.name = path.name if name is None else name
        with open_regular(path) as file:
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise CorruptArchiveError(f"`{self.name}` is empty", hint=BROKEN_WHEEL_HINT) from error
        self.view = memoryview(self._map)
        self._looked_at = 0
        try:
            self.members = read_directory(self.view, name=self.name, release=self._give_back)
            self._give_back()
            directories = {member[0].partition("/")[0] for member, _ in self.members if "/" in member[0]}
            self.stem = self._find_stem(directories)
            self.data_prefixes = data_prefixes(directories, self.stem)
            self._check_data(directories)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. The operating system keeps it mapped while other objects still use its payloads."""
        self.view.release()
        try:
            self._map.close()
        except BufferError:
            # The traceback of a pending exception can still reference a payload. Do not replace that exception.
            return

    def _give_back(self) -> None:
        self._looked_at = 0
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def _check_data(self, directories: set[str]) -> None:
        """
        Check that no directory in *directories*, those at the top of the wheel, looks like the ``.data`` directory of another wheel.

        pip installs the files of every such directory, uv only those of the wheel's own.
        """
        foreign = [
            f"{each}/" for each in directories if _has_suffix(each, ".data") and f"{each}/" not in self.data_prefixes
        ]
        if not foreign:
            return
        found = {(prefix, scheme) for prefix in foreign for scheme in _SCHEMES}
        for member, _ in self.members:
            top, _, below = member.path.partition("/")
            if (f"{top}/", _folded(below.partition("/")[0])) in found and "/" in below:
                raise UnsupportedMemberError(
                    f"`{self.name}` has the directory `{top}`, whose name and version differ from `{self.dist_info}`; "
                    "installers disagree where its files belong",
                    hint=BROKEN_WHEEL_HINT,
                )

    def _find_stem(self, directories: set[str]) -> str:
        found = sorted(directory for directory in directories if _has_suffix(directory, ".dist-info"))
        if len(found) != 1 or not found[0].endswith(".dist-info"):
            named = ", ".join(f"`{directory}`" for directory in found) or "none"
            raise CorruptArchiveError(
                f"`{self.name}` must have exactly one `.dist-info` directory; found {named}", hint=BROKEN_WHEEL_HINT
            )
        stem = found[0].removesuffix(".dist-info")
        if normalized(stem.rpartition("-")[0]) != normalized(self.name.partition("-")[0]):
            raise CorruptArchiveError(
                f"`{self.name}` contains the metadata of another distribution: `{found[0]}`", hint=BROKEN_WHEEL_HINT
            )
        return stem

    @property
    def dist_info(self) -> str:
        """The name of the wheel's metadata directory."""
        return f"{self.stem}.dist-info"

    def payload(self, located: Located) -> memoryview:
        """Return a member's compressed data, which is valid until the wheel is closed."""
        return self.view[located.start : located.start + located.member.compressed]

    def read(self, located: Located) -> bytes:
        """
        Return a member's uncompressed content.

        Raises `CorruptArchiveError` if the member cannot be inflated, or if its size or CRC-32 differs from the central
        directory. Raises `SuspiciousSizeError` if it inflates to more than its declared size.
        """
        return b"".join(self.pieces(located))

    def pieces(self, located: Located) -> Iterable[bytes | memoryview]:
        """Return a member's uncompressed content in pieces of at most 1 MiB. Raises the errors of `read`."""
        return member_content(self._payload_pieces(located), located.member, name=self.name)

    def _payload_pieces(self, located: Located) -> Iterator[memoryview]:
        payload = self.payload(located)
        for start in range(0, len(payload), PIECE_BYTES):
            piece = payload[start : start + PIECE_BYTES]
            self.looked_at(len(piece))
            yield piece

    def looked_at(self, length: int) -> None:
        """Count *length* bytes as read. Release the mapped memory after every 4 MiB, so that memory use stays constant."""
        self._looked_at += length
        if self._looked_at > _MAPPED_BYTES:
            self._give_back()


def same_version(first: str, second: str) -> bool:
    """Return whether two spellings are the same version. In the names of files and directories, ``_`` stands for ``-``."""
    if first == second:
        return True
    from packaging.version import InvalidVersion, Version

    try:
        return Version(first.replace("_", "-")) == Version(second.replace("_", "-"))
    except InvalidVersion:
        return False


def _folded(name: str) -> str:
    """Return *name* as a file system sees it that ignores case, and blanks and dots at the end."""
    return name.rstrip(" .").lower()


def _has_suffix(directory: str, suffix: str) -> bool:
    return _folded(directory).endswith(suffix)


def data_prefixes(directories: Iterable[str], stem: str) -> tuple[str, ...]:
    """
    Return those of the top-level *directories* that are ``.data`` directories of the wheel with the name and version *stem*.

    Each ends with a slash. As for ``.dist-info``, the spelling of the name and the version does not matter.
    """
    name, _, version = stem.rpartition("-")
    found = [each for each in directories if each.endswith(".data")]
    split = [(each, *each.removesuffix(".data").rpartition("-")[::2]) for each in sorted(found)]
    return tuple(
        f"{each}/"
        for each, own, number in split
        if normalized(own) == normalized(name) and same_version(number, version)
    )


def member_pieces(file: BinaryIO, located: Located, *, name: str) -> Iterable[bytes | memoryview]:
    """
    Return a member's uncompressed content from an unbuffered *file*, in pieces of at most 1 MiB, without mapping the file.

    Use it to read a few members of a wheel whose directory was read before. *name* is the wheel's file name. Raises the
    errors of `WheelArchive.read`.
    """
    member, start = located
    return member_content(read_pieces(file, start, member.compressed), member, name=name)
