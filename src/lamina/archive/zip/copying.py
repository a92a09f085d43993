"""Move bytes between open files in few calls and bounded memory, and check-sum them on the way."""

from __future__ import annotations

import hashlib
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

from lamina.core.errors import CorruptArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    Buffer = bytes | memoryview | bytearray

# Small enough for a buffer to stay near the processor, and so many that neither thread waits for the other.
_HASHED_BYTES = 256 << 10
_BUFFERS = 6
_BUFFER_BYTES = 1 << 20  # what was just put together is still near the processor when it is written


def read_at(file: BinaryIO, position: int, length: int) -> bytes:
    """Return *length* bytes from *position* of an unbuffered file; fewer only at its end."""
    file.seek(position)
    data = file.read(length)
    while len(data) < length and (more := file.read(length - len(data))):
        data += more
    return data


def read_pieces(file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    """
    Yield *length* bytes of an unbuffered file from *start* on, at most a MiB at once.

    Raises CorruptArchiveError where the file ends before.
    """
    position, end = start, start + length
    while position < end:
        piece = read_at(file, position, min(_BUFFER_BYTES, end - position))
        if not piece:
            raise _short(file, end - position)
        position += len(piece)
        yield piece


def _short(file: BinaryIO, missing: int) -> CorruptArchiveError:
    return CorruptArchiveError(f"`{file.name}` ends {missing:,} bytes before it should")


def write_all(file: BinaryIO, data: Buffer) -> None:
    """Write every byte of *data* at the position of an unbuffered file, of which one call may take less."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def keep(_: int) -> None:
    """Keep the memory."""


class Gather:
    """Append many entries to an unbuffered file: small ones together, large ones in slices; and check-sum them."""

    def __init__(self, file: BinaryIO, *, release: Callable[[int], object] = keep) -> None:
        """
        Start at *file*'s beginning; nothing is written before ``flush`` or a full collection.

        *release* is told how many bytes of payloads were read, to give back the memory of a mapped file.
        """
        self._file = file
        self._release = release
        self._pending: list[bytes | memoryview] = []
        self._pending_bytes = 0
        self.position = 0
        self.crc32 = 0
        """Of all that was flushed."""

    def add(self, header: bytes, payload: bytes | memoryview) -> None:
        """Append *header* and *payload*, which must stay valid until they are flushed."""
        length = len(header) + len(payload)
        self.position += length
        if length > _BUFFER_BYTES:
            self._pending.append(header)
            self.flush()
            self._slices(memoryview(payload))
            return
        self._pending += (header, payload)
        self._pending_bytes += length
        if self._pending_bytes >= _BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        if self._pending:
            self._write(b"".join(self._pending))
            self._pending, self._pending_bytes = [], 0

    def _slices(self, payload: memoryview) -> None:
        for start in range(0, len(payload), _BUFFER_BYTES):
            self._write(payload[start : start + _BUFFER_BYTES])

    def _write(self, piece: bytes | memoryview) -> None:
        import deflate

        write_all(self._file, piece)
        self.crc32 = deflate.crc32(piece, self.crc32)
        self._release(len(piece))


class HashedFile:
    """
    An unbuffered file that is hashed, by a second thread, while it is written; a context manager.

    What is copied into it passes through a few buffers, which are hashed and written at the same time.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Write to *file*, which is empty."""
        self._file = file
        self._digest = hashlib.sha256()
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._written: SimpleQueue[tuple[Buffer, memoryview | None] | None] = SimpleQueue()
        for _ in range(_BUFFERS):
            self._free.put(memoryview(bytearray(_HASHED_BYTES)))
        self._thread = threading.Thread(target=self._hash, name="lamina-sha256")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def copy(self, source: BinaryIO, length: int) -> int:
        """
        Append the first *length* bytes of *source*, which is unbuffered, and return their CRC-32.

        Raises CorruptArchiveError where *source* ends before, and OSError where the disk is full.
        """
        import deflate

        checksum, left = 0, length
        while left:
            buffer = self._free.get()
            count = source.readinto(buffer[: min(len(buffer), left)])  # type: ignore[attr-defined]  # FileIO has it
            if not count:
                raise _short(source, left)
            piece = buffer[:count]
            self._written.put((piece, buffer))
            # Nobody fills the buffer again before this thread asks for one.
            write_all(self._file, piece)
            checksum = deflate.crc32(piece, checksum)
            left -= count
        return checksum

    def write(self, data: bytes) -> None:
        """Append *data*; raises OSError where the disk is full."""
        self._written.put((data, None))
        write_all(self._file, data)

    def sha256(self) -> str:
        """Return the SHA-256 of all that was written; nothing may be written afterwards."""
        self._end()
        return self._digest.hexdigest()

    def _end(self) -> None:
        self._written.put(None)
        self._thread.join()

    def _hash(self) -> None:
        while (row := self._written.get()) is not None:
            piece, buffer = row
            self._digest.update(piece)
            if buffer is not None:
                self._free.put(buffer)
