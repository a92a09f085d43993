"""Move bytes between open files in few calls and bounded memory, inside the kernel where it can."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from lamina.errors import CorruptArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

__all__ = ["Gather", "copy_range", "hash_range", "read_at", "read_range", "write_all"]

# Below this a member is gathered with its neighbours; above, the kernel copies it between the files.
# Anything from 4 KiB to 2 MiB was measured to be the same within noise.
_COPY_FROM_BYTES = 128 << 10
_GATHER_BYTES = 4 << 20
_GATHER_PIECES = 1000  # Linux and the BSDs take 1,024 pieces in one writev
_BUFFER_BYTES = 1 << 20


def read_at(file: BinaryIO, position: int, length: int) -> bytes:
    """Return *length* bytes from *position* of an unbuffered file; fewer only at its end."""
    file.seek(position)
    data = file.read(length)
    while len(data) < length and (more := file.read(length - len(data))):
        data += more
    return data


def read_range(file: BinaryIO, length: int) -> Iterator[memoryview]:
    """
    Yield the first *length* bytes of an unbuffered file through one buffer, each valid until the next is asked for.

    Raises CorruptArchiveError where the file ends before.
    """
    view = memoryview(bytearray(min(_BUFFER_BYTES, length)))
    file.seek(0)
    left = length
    while left:
        count = file.readinto(view[: min(len(view), left)])  # type: ignore[attr-defined]  # FileIO has it
        if not count:
            raise CorruptArchiveError(f"`{file.name}` ends {left:,} bytes before it should")
        yield view[:count]
        left -= count


def hash_range(file: BinaryIO, length: int) -> str:
    """Return the SHA-256 of the first *length* bytes of an unbuffered file; raise as ``read_range`` does."""
    digest = hashlib.sha256()
    for piece in read_range(file, length):
        digest.update(piece)
    return digest.hexdigest()


def write_all(file: BinaryIO, pieces: Sequence[bytes | memoryview | bytearray]) -> None:
    """Write every byte of *pieces* at the file's position, in as few calls as the system allows."""
    total = sum(len(piece) for piece in pieces)
    written = os.writev(file.fileno(), pieces) if hasattr(os, "writev") else 0
    if written == total:
        return
    rest = memoryview(b"".join(pieces))[written:]
    while rest:
        rest = rest[file.write(rest) :]


def copy_range(source: BinaryIO, start: int, destination: BinaryIO, length: int) -> None:
    """
    Append *length* bytes of *source*, from *start*, to *destination*; both unbuffered.

    Raises CorruptArchiveError where *source* ends before, and OSError where the disk is full.
    """
    copied = _copy_in_kernel(source, start, destination, length) if hasattr(os, "copy_file_range") else 0
    while copied < length:
        data = read_at(source, start + copied, min(_BUFFER_BYTES, length - copied))
        if not data:
            raise CorruptArchiveError(f"`{source.name}` ends {length - copied:,} bytes before it should")
        write_all(destination, [data])
        copied += len(data)


def _copy_in_kernel(source: BinaryIO, start: int, destination: BinaryIO, length: int) -> int:
    copied = 0
    while copied < length:
        try:
            count = os.copy_file_range(source.fileno(), destination.fileno(), length - copied, start + copied)
        except OSError:
            # Another file system, or one that cannot. What was copied is right; a full disk shows again in the rest.
            break
        if count == 0:
            break
        copied += count
    return copied


class Gather:
    """Append many pieces to an unbuffered file: small ones collected into few writes, large ones copied."""

    def __init__(self, file: BinaryIO) -> None:
        """Start at *file*'s beginning; nothing is written before ``flush`` or a full collection."""
        self._file = file
        self._pending: list[bytes | memoryview] = []
        self._pending_bytes = 0
        self.position = 0

    def add(self, data: bytes | memoryview) -> None:
        """Append *data*, which must stay valid until it is flushed."""
        self._pending.append(data)
        self._pending_bytes += len(data)
        self.position += len(data)
        if len(self._pending) >= _GATHER_PIECES or self._pending_bytes >= _GATHER_BYTES:
            self.flush()

    def copy(self, source: BinaryIO, start: int, data: memoryview) -> None:
        """Append *data*, which stands in *source* from *start*: by copying if it is large."""
        if len(data) < _COPY_FROM_BYTES:
            self.add(data)
            return
        self.flush()
        copy_range(source, start, self._file, len(data))
        self.position += len(data)

    def flush(self) -> None:
        """Write what is pending."""
        if self._pending:
            write_all(self._file, self._pending)
            self._pending, self._pending_bytes = [], 0
