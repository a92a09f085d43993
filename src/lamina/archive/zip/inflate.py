"""
Inflate a member in pieces, and check its size, its CRC-32 and the end of its stream against the central directory.

Uses `zlib`, because it releases the interpreter lock while it inflates and reports the end of the stream.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from lamina.archive.zip.zipformat import STORED, Member
from lamina.core.errors import CorruptArchiveError, SuspiciousSizeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BROKEN_WHEEL_HINT = "use another version of the distribution, or report the broken wheel to its authors"
"""The hint for a wheel that is damaged although it has the locked hash."""

PIECE_BYTES = 1 << 20
"""The maximum size of one piece in bytes, compressed or not."""

_RAW = -15  # a deflate stream without a zlib header, as in zips


def member_content(payload: Iterable[bytes | memoryview], member: Member, *, name: str) -> Iterable[bytes | memoryview]:
    """Return what `inflate` yields for the same arguments; a member that is one piece is inflated three times as fast."""
    if member.size <= PIECE_BYTES and member.compressed <= PIECE_BYTES:
        piece = next(iter(payload), b"")
        content = _inflate_piece(piece, member)
        if content is not None:
            return (content,)
        payload = (piece,)
    return inflate(payload, member, name=name)


def inflate(payload: Iterable[bytes | memoryview], member: Member, *, name: str) -> Iterator[bytes | memoryview]:
    """
    Yield the uncompressed content of *member*. The content and its *payload* are in pieces of at most `PIECE_BYTES`.

    The content is verified only after the last piece. *name* is the zip's name in messages.
    Raises `SuspiciousSizeError` if the content is larger than *member* declares. Raises `CorruptArchiveError` if the content
    is smaller, if its CRC-32 differs, or if the payload cannot be inflated.
    """
    checksum, size = 0, 0
    for piece in payload if member.method == STORED else _streamed(payload, member, name=name):
        size += len(piece)
        checksum = zlib.crc32(piece, checksum)
        if size > member.size:
            raise SuspiciousSizeError(
                f"`{name}` is damaged: `{member.path}` inflates to more than its declared {member.size:,} bytes",
                hint=BROKEN_WHEEL_HINT,
            )
        yield piece
    if size != member.size:
        raise _damaged(f"`{member.path}` inflates to {size:,} bytes, expected {member.size:,}", name=name)
    if checksum != member.crc:
        raise _damaged(f"`{member.path}` does not match its declared CRC-32", name=name)


def _inflate_piece(payload: bytes | memoryview, member: Member) -> bytes | None:
    """Return the uncompressed content of *member*, or ``None`` if *payload* is damaged or does not match *member*."""
    import deflate

    if member.method == STORED:
        content = bytes(payload)
    else:
        inflater = zlib.decompressobj(_RAW)
        try:
            # One extra byte is enough to detect a false size.
            content = inflater.decompress(payload, member.size + 1)
        except zlib.error:
            return None
        if not inflater.eof or inflater.unused_data or inflater.unconsumed_tail:
            return None
    return content if len(content) == member.size and deflate.crc32(content) == member.crc else None


def _streamed(payload: Iterable[bytes | memoryview], member: Member, *, name: str) -> Iterator[bytes]:
    inflater = zlib.decompressobj(_RAW)
    # One extra byte is enough to detect a false size.
    most = min(member.size + 1, PIECE_BYTES)
    try:
        for compressed in payload:
            pending: bytes | memoryview = compressed
            while pending and not inflater.eof:
                yield inflater.decompress(pending, most)
                pending = inflater.unconsumed_tail
            if inflater.eof and (pending or inflater.unused_data):
                raise _damaged(f"it has extra bytes after the content of `{member.path}`", name=name)
        # The last input can inflate to more than one piece.
        while not inflater.eof and (piece := inflater.decompress(b"", most)):
            yield piece
    except zlib.error as error:
        raise _damaged(f"could not inflate `{member.path}`", name=name) from error
    if member.compressed and not inflater.eof:
        raise _damaged(f"`{member.path}` is truncated", name=name)


def _damaged(fact: str, *, name: str) -> CorruptArchiveError:
    return CorruptArchiveError(f"`{name}` is damaged: {fact}", hint=BROKEN_WHEEL_HINT)
