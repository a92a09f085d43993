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
# The bounds of `http.client` for header lines, which also apply to the lines inside a chunked body.
_LINE = 1 << 16
_TRAILERS = 100
_DIGITS = 16


class MalformedRequestError(ValueError):
    """The function's process sent a request to the Runtime API that is not HTTP, or that is out of bounds."""


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
        """The error in the payload; fields that are missing or have another type are replaced by defaults."""
        try:
            told: Any = json.loads(self.payload)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            told = {}
        kind, message, trace = told.get("errorType"), told.get("errorMessage"), told.get("stackTrace")
        return FunctionError(
            type=(kind if isinstance(kind, str) else None) or self.error_type or "Unhandled",
            message=message if isinstance(message, str) else "",
            stack_trace=tuple(line for line in trace if isinstance(line, str)) if isinstance(trace, list) else (),
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

    A body of more than *limit* bytes is read to its end and discarded; ``None`` is returned in its place. lamina never holds more of a
    request than *limit* and a few lines, because a function with a memory limit sends it. Raises `MalformedRequestError` if a length,
    a line or the number of trailers is out of range.
    """
    if headers.get("Transfer-Encoding", "").lower() != "chunked":
        return _read(stream, _size(headers.get("Content-Length") or "0", 10), limit), {}
    # A list of the chunks would take many times their size if each had one byte.
    body = bytearray()
    total = 0
    while size := _size(_line(stream).partition(";")[0], 16):
        piece = _read(stream, size, limit - total)
        total += size
        if piece is not None:
            body += piece
        _line(stream)
    trailers: dict[str, str] = {}
    for _ in range(_TRAILERS):
        name, _, value = _line(stream).partition(":")
        if not name:
            return (bytes(body) if total <= limit else None), trailers
        trailers[name.strip().lower()] = value.strip()
    raise MalformedRequestError(f"more than {_TRAILERS} trailers")


def _line(stream: BufferedIOBase) -> str:
    line = stream.readline(_LINE + 1)
    if len(line) > _LINE or not line.endswith(b"\n"):
        raise MalformedRequestError("a line is too long or incomplete")
    return line.decode("latin-1").strip()


def _size(text: str, base: int) -> int:
    """Return the number of bytes that *text* states. `int` alone also accepts signs and underscores, and reads without end if negative."""
    text = text.strip()
    if not text.isascii() or not text.isalnum() or len(text) > _DIGITS:
        raise MalformedRequestError("a length is not a number")
    try:
        return int(text, base)
    except ValueError:
        raise MalformedRequestError("a length is not a number") from None


def _read(stream: BufferedIOBase, size: int, limit: int) -> bytes | None:
    """Return the next *size* bytes, or discard them if there are more than *limit*. Raises `MalformedRequestError` if some are missing."""
    held = stream.read(size) if size <= limit else None
    missing = size - len(held or b"")
    while held is None and missing > 0 and (piece := stream.read(min(missing, _CHUNK))):
        missing -= len(piece)
    if missing > 0:
        raise MalformedRequestError("the body is incomplete")
    return held
