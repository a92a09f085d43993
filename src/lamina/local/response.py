"""
Read a handler's response or error from the runtime, and apply Lambda's size limit. A response above the limit is a function error.

Streamed responses are supported, but collected: the caller receives the complete response.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from email.message import Message
    from io import BufferedIOBase

_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """The response of a function that succeeded, as JSON bytes."""

    payload: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionError:
    """Why an invocation failed: error type and message as Lambda reports them."""

    type: str
    message: str
    stack_trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An error that the runtime reported instead of a response."""

    payload: bytes
    error_type: str | None
    """The error type from the request's header, or ``None``; the payload usually contains a more specific one."""

    @property
    def error(self) -> FunctionError:
        """The error in the payload; fields that are missing or unreadable are replaced by defaults."""
        try:
            told: Any = json.loads(self.payload)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            told = {}
        return FunctionError(
            type=str(told.get("errorType") or self.error_type or "Unhandled"),
            message=str(told.get("errorMessage") or ""),
            stack_trace=tuple(map(str, told.get("stackTrace") or ())),
        )


def too_large(limit: int) -> Failure:
    """Return the error that Lambda reports for a response of more than *limit* bytes."""
    message = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
    return Failure(payload=error_document("Function.ResponseSizeTooLarge", message), error_type=None)


def error_document(error_type: str, message: str) -> bytes:
    """Return the JSON document that Lambda uses to describe an error."""
    return json.dumps({"errorMessage": message, "errorType": error_type}).encode()


def read_body(headers: Message, stream: BufferedIOBase, limit: int) -> tuple[bytes | None, dict[str, str]]:
    """
    Return the body of an HTTP request, and the trailers if the body is chunked.

    A body of more than *limit* bytes is read to its end and discarded; ``None`` is returned in its place.
    """
    if headers.get("Transfer-Encoding", "").lower() != "chunked":
        return _read(stream, int(headers.get("Content-Length") or 0), limit), {}
    pieces: list[bytes] = []
    total = 0
    while size := int(stream.readline().partition(b";")[0], 16):
        piece = _read(stream, size, limit - total)
        total += size
        if piece is not None:
            pieces.append(piece)
        stream.readline()
    trailers = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        trailers[name.strip().lower()] = value.strip()
    return (b"".join(pieces) if total <= limit else None), trailers


def _read(stream: BufferedIOBase, size: int, limit: int) -> bytes | None:
    if size <= limit:
        return stream.read(size)
    while size > 0 and (piece := stream.read(min(size, _CHUNK))):
        size -= len(piece)
    return None
