"""
Inflate a member piece by piece, and hold it to what the directory declares: size, CRC-32, and where its stream ends.

zlib does it, because it works on other cores while it inflates, and tells where the stream ended.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from lamina.archive.zip.zipformat import STORED, Member
from lamina.core.errors import CorruptArchiveError, SuspiciousSizeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PIECE_BYTES = 1 << 20
"""The most that one piece holds, compressed or not."""

_RAW = -15  # a deflate stream without a header, as zip holds it


def inflate(payload: Iterable[bytes | memoryview], member: Member, *, name: str) -> Iterator[bytes | memoryview]:
    """
    Yield the content of *member* from the pieces of its *payload*, of at most `PIECE_BYTES` each; *name* is for messages.

    Nothing is known to be right before the end.
    Raises CorruptArchiveError or SuspiciousSizeError where the content is not what *member* declares.
    """
    checksum, size = 0, 0
    for piece in payload if member.method == STORED else _streamed(payload, member, name=name):
        size += len(piece)
        checksum = zlib.crc32(piece, checksum)
        if size > member.size:
            raise SuspiciousSizeError(
                f"`{name}` inflates `{member.path}` to more than the {member.size:,} bytes declared"
            )
        yield piece
    if size != member.size:
        raise CorruptArchiveError(
            f"`{name}` is damaged: `{member.path}` inflates to {size:,} bytes, and {member.size:,} are declared"
        )
    if checksum != member.crc:
        raise CorruptArchiveError(f"`{name}` is damaged: `{member.path}` does not have the CRC-32 declared")


def inflate_small(payload: memoryview, member: Member) -> bytes | None:
    """
    Return the content of *member*, whose whole *payload* this is, or nothing where it is not exactly what is declared.

    It is for members of at most `PIECE_BYTES`, at a third of the cost; what is wrong with one, `inflate` says.
    """
    import deflate

    if member.method == STORED:
        content = bytes(payload)
    else:
        inflater = zlib.decompressobj(_RAW)
        try:
            # One byte more than declared is enough to find the lie.
            content = inflater.decompress(payload, member.size + 1)
        except zlib.error:
            return None
        if not inflater.eof or inflater.unused_data or inflater.unconsumed_tail:
            return None
    return content if len(content) == member.size and deflate.crc32(content) == member.crc else None


def _streamed(payload: Iterable[bytes | memoryview], member: Member, *, name: str) -> Iterator[bytes]:
    inflater = zlib.decompressobj(_RAW)
    # One byte more than declared is enough to find the lie.
    most = min(member.size + 1, PIECE_BYTES)
    try:
        for compressed in payload:
            pending: bytes | memoryview = compressed
            while pending and not inflater.eof:
                yield inflater.decompress(pending, most)
                pending = inflater.unconsumed_tail
            if inflater.eof and (pending or inflater.unused_data):
                raise CorruptArchiveError(f"`{name}` hides bytes behind the content of `{member.path}`")
        # The last input may have given more than one piece.
        while not inflater.eof and (piece := inflater.decompress(b"", most)):
            yield piece
    except zlib.error as error:
        raise CorruptArchiveError(f"`{name}` is damaged: `{member.path}` does not inflate") from error
    if member.compressed and not inflater.eof:
        raise CorruptArchiveError(f"`{name}` is damaged: `{member.path}` breaks off")
