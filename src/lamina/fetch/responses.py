"""
Bound what one HTTP response costs: the length and number of its lines, and the time that a slow server may take.

`http.client` and urllib3 bound neither the lines of a chunked body, nor the number of interim responses, nor the time of a response
that arrives byte by byte: each byte resets the timeout of the socket.
"""

from __future__ import annotations

import io
import time
from http.client import HTTPException, HTTPResponse, LineTooLong
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_LONGEST_LINE_BYTES = 65_536  # that of http.client
# Lines without a body between them: the headers of all interim responses, or the trailers of a body.
_MOST_LINES = 1_000
_PATIENCE_SECONDS = 60.0
_SLOWEST_BYTES_PER_SECOND = 1_000
LARGEST_FILE_BYTES = (1 << 32) - 1
"""The size of the largest download: that of the largest zip without zip64, which lamina does not support."""


class BoundedResponse(HTTPResponse):
    """A response that raises `HTTPException` or `TimeoutError` if it exceeds a limit of this module."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = _LineReader(PacedReader(sock.makefile("rb", buffering=0)))


class _LineReader(io.BufferedReader):
    """A reader that limits the length of lines, and their number between two parts of a body."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__(raw)
        self._lines = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        self._lines += 1
        if self._lines > _MOST_LINES:
            raise HTTPException(f"got more than {_MOST_LINES:,} lines")
        line = super().readline(size if size is not None and size >= 0 else _LONGEST_LINE_BYTES + 1)
        if len(line) > _LONGEST_LINE_BYTES:
            raise LineTooLong("line")
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        self._lines = 0
        return super().read(size)


class ServerTime:
    """
    The time that lamina waits for a server: what is done inside its context, any number of times.

    What lamina does between two reads is not the server's time, so no limit for servers may count it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = 0.0
        self._clock = clock
        self._since = 0.0

    def __enter__(self) -> None:
        self._since = self._clock()

    def __exit__(self, *_: object) -> None:
        self.seconds += self._clock() - self._since


class PacedReader(io.RawIOBase):
    """A reader of *source* that raises `TimeoutError` when the data arrives too slowly."""

    def __init__(self, source: io.RawIOBase, waited: ServerTime | None = None) -> None:
        self._source = source
        self._waited = waited or ServerTime()
        self._received = 0

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """Read into *buffer* and return the number of bytes. Raises `TimeoutError` if the server has been too slow so far."""
        seconds = self._waited.seconds
        if seconds > _PATIENCE_SECONDS and self._received < seconds * _SLOWEST_BYTES_PER_SECOND:
            raise TimeoutError("the response arrives too slowly")
        with self._waited:
            count = self._source.readinto(buffer)
        self._received += count or 0
        return count

    def close(self) -> None:
        """Close the source, too."""
        self._source.close()
        super().close()
