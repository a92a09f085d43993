"""Move bytes between open files in few calls and bounded memory, inside the kernel where it can."""

from __future__ import annotations

import hashlib
import os
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

from lamina.core.errors import CorruptArchiveError
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    Piece = bytes | memoryview | bytearray

__all__ = [
    "NATIVE",
    "PORTABLE",
    "Gather",
    "HashedFile",
    "SystemCalls",
    "copy_range",
    "keep",
    "read_at",
    "write_all",
]

_GATHER_PIECES = 1000  # Linux, macOS and the BSDs take 1,024 pieces in one writev
# Small enough for a buffer to stay near the processor, and so many that neither thread waits for the other.
_HASHED_BYTES = 256 << 10
_BUFFERS = 6
_BUFFER_BYTES = 1 << 20  # what was just put together is still near the processor when it is written


@frozen
class SystemCalls:
    """The calls that save work where a system has them; the bytes are the same without."""

    writev: Callable[[int, Sequence[Piece]], int] | None
    """Write many pieces at a descriptor's position; return how many bytes were taken."""
    copy_file_range: Callable[[int, int, int, int], int] | None
    """Copy between descriptors inside the kernel: source, destination, most bytes, offset in the source."""


NATIVE = SystemCalls(writev=getattr(os, "writev", None), copy_file_range=getattr(os, "copy_file_range", None))
"""What the running system has."""
PORTABLE = SystemCalls(writev=None, copy_file_range=None)
"""What every system has."""


def read_at(file: BinaryIO, position: int, length: int) -> bytes:
    """Return *length* bytes from *position* of an unbuffered file; fewer only at its end."""
    file.seek(position)
    data = file.read(length)
    while len(data) < length and (more := file.read(length - len(data))):
        data += more
    return data


def keep(_: int) -> None:
    """Keep the memory."""


def _short(file: BinaryIO, missing: int) -> CorruptArchiveError:
    return CorruptArchiveError(f"`{file.name}` ends {missing:,} bytes before it should")


def write_all(file: BinaryIO, pieces: Sequence[Piece], *, calls: SystemCalls = NATIVE) -> None:
    """Write every byte of *pieces* at the position of an unbuffered file, in as few calls as the system allows."""
    for start in range(0, len(pieces), _GATHER_PIECES):
        _write_some(file, pieces[start : start + _GATHER_PIECES], calls)


def _write_some(file: BinaryIO, pieces: Sequence[Piece], calls: SystemCalls) -> None:
    written = calls.writev(file.fileno(), pieces) if calls.writev is not None else 0
    if written == sum(len(piece) for piece in pieces):
        return
    rest = memoryview(b"".join(pieces))[written:]
    while rest:
        rest = rest[file.write(rest) :]


def copy_range(
    source: BinaryIO, start: int, destination: BinaryIO, length: int, *, calls: SystemCalls = NATIVE
) -> None:
    """
    Append *length* bytes of *source*, from *start*, to *destination*; both unbuffered.

    Raises CorruptArchiveError where *source* ends before, and OSError where the disk is full.
    """
    copied = _copy_in_kernel(source, start, destination, length, calls)
    while copied < length:
        data = read_at(source, start + copied, min(_BUFFER_BYTES, length - copied))
        if not data:
            raise _short(source, length - copied)
        write_all(destination, [data], calls=calls)
        copied += len(data)


def _copy_in_kernel(source: BinaryIO, start: int, destination: BinaryIO, length: int, calls: SystemCalls) -> int:
    copied = 0
    while calls.copy_file_range is not None and copied < length:
        try:
            count = calls.copy_file_range(source.fileno(), destination.fileno(), length - copied, start + copied)
        except OSError:
            # Another file system, or one that cannot. What was copied is right; a full disk shows again in the rest.
            break
        if count == 0:
            break
        copied += count
    return copied


class Gather:
    """Append many pieces to an unbuffered file: small ones together, large ones in slices; and check-sum them."""

    def __init__(self, file: BinaryIO, *, release: Callable[[int], object] = keep, calls: SystemCalls = NATIVE) -> None:
        """
        Start at *file*'s beginning; nothing is written before ``flush`` or a full collection.

        *release* is told how many bytes of payloads were read, to give back the memory of a mapped file.
        """
        self._file = file
        self._release = release
        self._calls = calls
        self._pending: list[Piece] = []
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
        import deflate  # noqa: PLC0415 - as above

        write_all(self._file, [piece], calls=self._calls)
        self.crc32 = deflate.crc32(piece, self.crc32)
        self._release(len(piece))


class HashedFile:
    """
    An unbuffered file that is hashed, by a second thread, while it is written; a context manager.

    What is copied into it passes through a few buffers, which are hashed and written at the same time.
    """

    def __init__(self, file: BinaryIO, *, calls: SystemCalls = NATIVE) -> None:
        """Write to *file*, which is empty."""
        self._file = file
        self._calls = calls
        self._digest = hashlib.sha256()
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._written: SimpleQueue[tuple[Piece, memoryview | None] | None] = SimpleQueue()
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
        import deflate  # noqa: PLC0415 - as above

        checksum, left = 0, length
        while left:
            buffer = self._free.get()
            count = source.readinto(buffer[: min(len(buffer), left)])  # type: ignore[attr-defined]  # FileIO has it
            if not count:
                raise _short(source, left)
            piece = buffer[:count]
            self._written.put((piece, buffer))
            # Nobody fills the buffer again before this thread asks for one.
            write_all(self._file, [piece], calls=self._calls)
            checksum = deflate.crc32(piece, checksum)
            left -= count
        return checksum

    def write(self, pieces: Sequence[bytes | bytearray]) -> None:
        """Append *pieces*; raises OSError where the disk is full."""
        for piece in pieces:
            self._written.put((piece, None))
        write_all(self._file, pieces, calls=self._calls)

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
