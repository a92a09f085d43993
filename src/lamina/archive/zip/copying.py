"""Copy bytes between open files in few system calls and bounded memory, and compute checksums while copying."""

from __future__ import annotations

import hashlib
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

from lamina.core.errors import CorruptArchiveError
from lamina.core.text import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    Buffer = bytes | memoryview | bytearray

# Small enough for the processor's cache, and enough buffers that neither thread waits for the other.
_HASHED_BYTES = 256 << 10
_BUFFERS = 6
_BUFFER_BYTES = 1 << 20  # small enough to be in the processor's cache when it is written


def read_at(file: BinaryIO, position: int, length: int) -> bytes:
    """Return *length* bytes of an unbuffered file from *position*, or fewer at the end of the file."""
    file.seek(position)
    data = file.read(length)
    while len(data) < length and (more := file.read(length - len(data))):
        data += more
    return data


def read_pieces(file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    """
    Yield *length* bytes of an unbuffered file from *start* on, in pieces of at most 1 MiB.

    Raises `CorruptArchiveError` if the file is shorter.
    """
    position, end = start, start + length
    while position < end:
        piece = read_at(file, position, min(_BUFFER_BYTES, end - position))
        if not piece:
            raise _short(file, end - position)
        position += len(piece)
        yield piece


def _short(file: BinaryIO, missing: int) -> CorruptArchiveError:
    return CorruptArchiveError(
        f"`{file.name}` is truncated: it ends {count(missing, 'byte')} too early",
        hint="run `lamina cache verify`, then run the command again",
    )


def write_all(file: BinaryIO, data: Buffer) -> None:
    """Write all of *data* at the current position of an unbuffered file, which may write only a part in one call."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def keep(_: int) -> None:
    """Do nothing: the default for callbacks that release the memory of a mapped file."""


class Gather:
    """
    A writer that appends zip entries to an unbuffered file and computes their CRC-32.

    It writes several small entries in one call, and entries larger than 1 MiB in slices.
    """

    def __init__(self, file: BinaryIO, *, release: Callable[[int], object] = keep) -> None:
        """
        Write to *file* from its beginning. Entries are buffered until the buffer is full or until `flush`.

        *release* is called with the number of bytes written, so that the caller can release the memory of a mapped file.
        """
        self._file = file
        self._release = release
        self._pending: list[bytes | memoryview] = []
        self._pending_bytes = 0
        self.position = 0
        self.crc32 = 0
        """The CRC-32 of the bytes written so far, without buffered entries."""

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
        """Write all buffered entries."""
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
    """A context manager that writes an unbuffered file, and computes its SHA-256 in a second thread meanwhile."""

    def __init__(self, file: BinaryIO) -> None:
        """Start the thread. *file* must be empty."""
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
        Append *length* bytes from the current position of the unbuffered file *source*, and return their CRC-32.

        Raises `CorruptArchiveError` if *source* is shorter, and `OSError` if the disk is full.
        """
        import deflate

        checksum, left = 0, length
        while left:
            buffer = self._free.get()
            copied = source.readinto(buffer[: min(len(buffer), left)])  # type: ignore[attr-defined]  # FileIO has it
            if not copied:
                raise _short(source, left)
            piece = buffer[:copied]
            self._written.put((piece, buffer))
            # The buffer is safe to use: only this thread fills buffers.
            write_all(self._file, piece)
            checksum = deflate.crc32(piece, checksum)
            left -= copied
        return checksum

    def write(self, data: bytes) -> None:
        """Append *data*. Raises `OSError` if the disk is full."""
        self._written.put((data, None))
        write_all(self._file, data)

    def sha256(self) -> str:
        """Return the SHA-256 of all written bytes. Nothing may be written afterwards."""
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
