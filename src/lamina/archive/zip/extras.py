"""
Read the two extra fields of a zip header that change what the header means.

Field layout: PKWARE APPNOTE 6.3.10, sections 4.5.1, 4.5.3 and 4.6.9 (read 2026-11).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from lamina.core.errors import CorruptArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FULL_32", "check_unicode_path", "zip64_values"]

FULL_32 = 0xFFFFFFFF
"""What a 32-bit field holds when its value is in the zip64 extra field."""

_ZIP64 = 0x0001
_UNICODE_PATH = 0x7075


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    # What is too short to be a field is padding, which writers use to align payloads.
    position = 0
    while len(extra) - position >= 4:
        kind, length = struct.unpack_from("<2H", extra, position)
        position += 4
        yield kind, extra[position : position + length]
        position += length


def zip64_values(extra: bytes, values: tuple[int, int, int], *, name: str) -> tuple[int, int, int]:
    """
    Return the size, compressed size and offset *values* of a header, the full ones taken from its *extra* field.

    Raises CorruptArchiveError where they are not there.
    """
    if FULL_32 not in values:
        return values
    body = next((body for kind, body in _fields(extra) if kind == _ZIP64), b"")
    wanted = [index for index, value in enumerate(values) if value == FULL_32]
    if len(body) < 8 * len(wanted):
        raise CorruptArchiveError(f"`{name}` announces zip64 sizes and has none")
    found = dict(zip(wanted, struct.unpack_from(f"<{len(wanted)}Q", body), strict=True))
    size, compressed, offset = (found.get(index, value) for index, value in enumerate(values))
    return size, compressed, offset


def check_unicode_path(extra: bytes, path: bytes, *, name: str) -> None:
    """
    Refuse an *extra* field that gives the member another path than its header: some readers believe the one, some the other.

    Raises CorruptArchiveError.
    """
    for kind, body in _fields(extra):
        # A version byte and the CRC-32 of the path that it replaces come first.
        if kind == _UNICODE_PATH and body[5:] != path:
            raise CorruptArchiveError(f"`{name}` says two things of a member's path: {path!r} and {body[5:]!r}")
