"""
Seal and open lamina's own JSON files: each one proves that its content is what lamina wrote there.

A document is a JSON object whose last member, ``crc32``, is the checksum of everything before it and of the document's
*label*, its place. A damaged or incomplete document is therefore refused, and so is an intact one of another kind or under
another key. The checksum does not protect against an author who means harm, so readers still check what they use.
A build with nothing to do imports this module, so it has few imports of its own.
"""

from __future__ import annotations

import json
import os
import stat
from zlib import crc32

TYPE_CHECKING = False  # a build with nothing to do does not import `typing`
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MOST_BYTES = 256 << 20
"""The largest document that is read. The largest known, the imports of a large distribution, has 3 MB."""

INVALID = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What code that takes a JSON value apart raises if the value has another shape than expected."""

_SEAL = b'"crc32": "%08x"}\n'
_SEAL_BYTES = len(_SEAL % 0)


def seal(
    content: Mapping[str, Any], label: str, *, indent: int | None = None, default: Callable[[Any], Any] | None = None
) -> bytes:
    """Return the document with *content* for the place *label*. *indent* and *default* are those of `json.dumps`."""
    separators = None if indent else (",", ":")
    text = json.dumps(content, indent=indent, separators=separators, default=default).encode()
    body = text[:-1].rstrip() + (b", " if content else b"")
    return body + _SEAL % label_crc32(body, label)


def open_sealed(
    document: bytes, label: str, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> dict[str, Any]:
    """
    Return the content of *document*, which `seal` made for the place *label*. *pairs* is `json.loads`'s ``object_pairs_hook``.

    Raises `ValueError` if *document* is not such a document, and `RecursionError` if it is nested too deeply.
    """
    if not is_sealed(document, label):
        raise ValueError(f"not an intact document for `{label}`")
    body = document[:-_SEAL_BYTES]
    content: dict[str, Any] = json.loads(body.rstrip(b", ") + b"}", object_pairs_hook=pairs)
    return content


def is_sealed(document: bytes, label: str) -> bool:
    """Return whether *document* is what `seal` made for the place *label*."""
    return document[-_SEAL_BYTES:] == _SEAL % label_crc32(memoryview(document)[:-_SEAL_BYTES], label)


def has_other_format(document: bytes) -> bool:
    """Return whether *document* is JSON without a proof, as earlier versions of lamina wrote it."""
    if document[-_SEAL_BYTES:].startswith(_SEAL[: _SEAL.index(b"%")]):
        return False
    try:
        json.loads(document)
    except (RecursionError, ValueError):
        return False
    return True


def label_crc32(content: bytes | bytearray | memoryview, label: str) -> int:
    """Return the CRC-32 of *content* and *label*."""
    return crc32(label.encode(), crc32(content))


def read_bounded(path: str | os.PathLike[str]) -> bytes | None:
    """
    Return the content of the file at *path*, or ``None`` if there is none or the system refuses to read it.

    Return nothing if it is no regular file or is larger than `MOST_BYTES`: then it is no document. A file that cannot be read, such as
    in a process with too many open files, may be intact. Never waits, as opening a named pipe would.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            return b""
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            return file.read()
    except OSError:
        return None
    finally:
        os.close(descriptor)
