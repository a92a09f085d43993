"""Read the members of an untrusted zip without extracting it, from a map of the file."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Self

from lamina.archive.zip.directory import Located, read_directory
from lamina.archive.zip.inflate import BROKEN_WHEEL_HINT, PIECE_BYTES, member_content
from lamina.archive.zip.zipformat import MAX_ROWS
from lamina.core.errors import CorruptArchiveError
from lamina.core.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# Pages that were read count as memory of the process until it releases them.
_MAPPED_BYTES = 4 << 20  # small, because lamina verifies sixteen downloads at once


class ZipArchive:
    """
    A zip opened for reading, as a context manager.

    Raises `OSError` if the file is unreadable, and the errors of `read_directory`. Raises `CorruptArchiveError` if the file is
    empty.
    """

    def __init__(self, path: Path, *, name: str | None = None, most_rows: int = MAX_ROWS) -> None:
        """
        Open the zip at *path* and check its headers. *name* is its name in messages (default: the name of *path*).

        *most_rows* is the number of entries that the zip may have.
        """
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
            self.members = read_directory(self.view, name=self.name, release=self._give_back, most_rows=most_rows)
            self._give_back()
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

    def payload(self, located: Located) -> memoryview:
        """Return a member's compressed data, which is valid until the zip is closed."""
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
