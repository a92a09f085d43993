"""List the files of a finished zip on disk from its directory alone, whatever its size."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lamina.archive.zip.copying import read_at
from lamina.archive.zip.endrecord import TAIL_BYTES, locate_directory
from lamina.archive.zip.rows import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.archive.zip.endrecord import Span
    from lamina.archive.zip.zipformat import Member

__all__ = ["members", "raw_directory"]


def members(path: Path) -> tuple[Member, ...]:
    """
    Return the files of the zip at *path*, in the order of its directory.

    The zip may be anybody's: raises as `locate_directory` and `read_rows` do, and OSError where it cannot be read.
    """
    data, span = _directory(path)
    return tuple(row.member for row in read_rows(data, span=span, name=path.name) if not row.is_directory)


def raw_directory(path: Path) -> bytes:
    """
    Return the central directory of the zip at *path* as it stands there, for a search that is faster than parsing.

    Raises as `locate_directory` does, and OSError where the file cannot be read.
    """
    return _directory(path)[0]


def _directory(path: Path) -> tuple[bytes, Span]:
    with path.open("rb", buffering=0) as file:
        total = os.fstat(file.fileno()).st_size
        start = max(0, total - TAIL_BYTES)
        span = locate_directory(read_at(file, start, total - start), total=total, name=path.name)
        return read_at(file, span.offset, span.length), span
