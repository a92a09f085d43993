"""
One wheel as an archive: its members, whether it is what it says, and where each member goes in a layer.

Nothing here inflates a member that a layer keeps, except to check it against RECORD, once, on admission to the store.
Format: packaging.python.org, "Binary distribution format" (read 2026-11).
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Self

from lamina.archive.zip.directory import Located, read_directory
from lamina.archive.zip.inflate import PIECE_BYTES, inflate, inflate_small
from lamina.core.errors import CorruptArchiveError
from lamina.core.names import normalized

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


# Pages of the file that were looked at count as this process's memory until it gives them back.
_MAPPED_BYTES = 4 << 20  # sixteen downloads are verified at once


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
