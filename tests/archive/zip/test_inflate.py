"""Members are inflated and checked against the central directory."""

from __future__ import annotations

import os
import zlib

import pytest

from archive.hostile import deflated
from lamina.archive.zip.inflate import BROKEN_WHEEL_HINT, PIECE_BYTES, inflate
from lamina.archive.zip.zipformat import DEFLATED, STORED, Member
from lamina.core.errors import CorruptArchiveError, LaminaError, SuspiciousSizeError

TEXT = b"the same words again and again, " * 500
BIG = b"".join(bytes([number % 251]) * 4096 for number in range(1200)) + os.urandom(300_000)


def pieces(payload: bytes) -> list[bytes]:
    return [payload[start : start + PIECE_BYTES] for start in range(0, len(payload), PIECE_BYTES)]


def member(
    content: bytes, payload: bytes, *, method: int = DEFLATED, size: int | None = None, crc: int | None = None
) -> Member:
    return Member(
        "m",
        False,
        method,
        zlib.crc32(content) if crc is None else crc,
        len(payload),
        len(content) if size is None else size,
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"x", TEXT, b"\0" * (PIECE_BYTES * 3), BIG, os.urandom(PIECE_BYTES * 2 + 1)],
    ids=["empty", "one byte", "text", "zeros", "mixed", "random"],
)
@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_content(content: bytes, method: int) -> None:
    """Content of any size is complete, in pieces of bounded size."""
    payload = deflated(content) if method == DEFLATED else content
    found = [bytes(piece) for piece in inflate(pieces(payload), member(content, payload, method=method), name="a")]

    assert (content, True) == (b"".join(found), all(len(piece) <= PIECE_BYTES for piece in found))


def test_empty_without_a_stream() -> None:
    """An empty member may have an empty stream."""
    assert [] == list(inflate([], member(b"", b""), name="a"))


LONG = deflated(BIG)
STREAM = deflated(TEXT)


@pytest.mark.parametrize(
    ("payload", "described", "error", "message"),
    [
        (
            STREAM,
            member(TEXT, STREAM, size=len(TEXT) - 1),
            SuspiciousSizeError,
            "`a` is damaged: `m` inflates to more than its declared 15,999 bytes",
        ),
        (
            STREAM,
            member(TEXT, STREAM, size=len(TEXT) + 1),
            CorruptArchiveError,
            "`a` is damaged: `m` inflates to 16,000 bytes, expected 16,001",
        ),
        (
            STREAM,
            member(TEXT, STREAM, size=0),
            SuspiciousSizeError,
            "`a` is damaged: `m` inflates to more than its declared 0 bytes",
        ),
        (
            LONG,
            member(BIG, LONG, size=len(BIG) - 1),
            SuspiciousSizeError,
            f"`a` is damaged: `m` inflates to more than its declared {len(BIG) - 1:,} bytes",
        ),
        (
            STREAM,
            member(TEXT, STREAM, crc=1),
            CorruptArchiveError,
            "`a` is damaged: `m` does not match its declared CRC-32",
        ),
        (
            deflated(b""),
            member(b"", deflated(b""), crc=1),
            CorruptArchiveError,
            "`a` is damaged: `m` does not match its declared CRC-32",
        ),
        (
            TEXT,
            member(TEXT, TEXT, method=STORED, crc=1),
            CorruptArchiveError,
            "`a` is damaged: `m` does not match its declared CRC-32",
        ),
        (
            STREAM[:-1],
            member(TEXT, STREAM[:-1]),
            CorruptArchiveError,
            "`a` is damaged: `m` is truncated",
        ),
        (
            deflated(b"")[:-1],
            member(b"", b"\3"),
            CorruptArchiveError,
            "`a` is damaged: `m` is truncated",
        ),
        (
            STREAM + b"PK\3\4",
            member(TEXT, STREAM + b"PK\3\4"),
            CorruptArchiveError,
            "`a` is damaged: it has extra bytes after the content of `m`",
        ),
        (
            LONG + b"PK\3\4" * PIECE_BYTES,
            member(BIG, LONG + b"PK\3\4" * PIECE_BYTES),
            CorruptArchiveError,
            "`a` is damaged: it has extra bytes after the content of `m`",
        ),
        (
            deflated(b"") + b"x",
            member(b"", deflated(b"") + b"x"),
            CorruptArchiveError,
            "`a` is damaged: it has extra bytes after the content of `m`",
        ),
        (b"\xff" * 10, member(TEXT, b"\xff" * 10), CorruptArchiveError, "`a` is damaged: could not inflate `m`"),
        (
            zlib.compress(TEXT),
            member(TEXT, zlib.compress(TEXT)),
            CorruptArchiveError,
            "`a` is damaged: could not inflate `m`",
        ),
    ],
    ids=[
        "longer",
        "shorter",
        "empty by its row",
        "big and longer",
        "CRC",
        "CRC of nothing",
        "CRC of a stored member",
        "cut",
        "cut and empty",
        "bytes behind",
        "pieces behind",
        "bytes behind nothing",
        "noise",
        "zlib header",
    ],
)
def test_refused(payload: bytes, described: Member, error: type[LaminaError], message: str) -> None:
    """A stream that is longer, shorter or different than declared is rejected, with a hint."""
    with pytest.raises(LaminaError) as caught:
        list(inflate(pieces(payload), described, name="a"))

    assert (error, message) == (type(caught.value), str(caught.value))
    assert BROKEN_WHEEL_HINT == caught.value.hint


def test_a_bomb_is_not_inflated() -> None:
    """Inflating stops as soon as the content exceeds the declared size."""
    bomb = deflated(b"\0" * 100_000_000)
    given: list[bytes | memoryview] = []
    with pytest.raises(SuspiciousSizeError):
        given.extend(inflate(pieces(bomb), member(b"", bomb, size=10), name="a"))

    assert [] == given
