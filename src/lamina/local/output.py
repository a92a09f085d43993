"""Keep the output of a function in memory, within a bound: a function must not use memory in lamina that its own limit does not allow."""

from __future__ import annotations

from collections import deque
from typing import AnyStr, Generic

MOST = 8_000_000
"""How much output is kept, in bytes or characters. The log that is shown while a function runs is complete."""
# What Python needs for a piece in addition to its content, because a function can write single characters.
_PIECE = 100


class RecentOutput(Generic[AnyStr]):
    """The most recent pieces of a function's output; when they exceed `MOST`, the oldest are dropped."""

    def __init__(self) -> None:
        self._pieces: deque[AnyStr] = deque()
        self._size = 0

    def add(self, piece: AnyStr) -> None:
        """Append *piece*, and drop old pieces if there are too many."""
        self._pieces.append(piece)
        self._size += len(piece) + _PIECE
        while self._size > MOST and len(self._pieces) > 1:
            self._size -= len(self._pieces.popleft()) + _PIECE

    def clear(self) -> None:
        """Drop everything."""
        self._pieces.clear()
        self._size = 0

    def joined(self, empty: AnyStr) -> AnyStr:
        """Return all pieces that are kept as one; *empty* is the empty text or the empty bytes."""
        return empty.join(self._pieces)
