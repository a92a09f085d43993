"""
Say what a wheel will add to a layer from its central directory alone, which is the end of the file.

An estimate for plans and early limits: exact for wheels without RECORD changes, off by a few bytes for others.
What is read here is not verified, so nothing of it enters the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.archive.placement import installed_path
from lamina.archive.zip.directory import locate_directory, read_rows
from lamina.archive.zip.zipformat import DIRECTORY_ROW, LOCAL_HEADER
from lamina.core.paths import PREFIX

if TYPE_CHECKING:
    from lamina.archive.segment import Recipe

__all__ = ["Outline", "directory_start", "outline"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outline:
    """What a wheel will add to a layer."""

    zipped_bytes: int
    unzipped_bytes: int
    files: int


def directory_start(data: bytes, *, total: int, name: str) -> int:
    """
    Return where the central directory starts, in bytes, in a file of *total* bytes that ends with *data*.

    Raises CorruptArchiveError where *data* is not the end of a zip.
    """
    return locate_directory(data, total=total, name=name).offset


def outline(data: bytes, *, total: int, name: str, recipe: Recipe) -> Outline:
    """
    Return the outline of the wheel *name* of *total* bytes that ends with *data*, central directory included.

    Raises CorruptArchiveError and the other kinds of ArchiveError that reading a directory raises.
    """
    span = locate_directory(data, total=total, name=name)
    start = span.offset - (total - len(data))
    rows = read_rows(data[start : start + span.length], span=span, name=name)
    stem = "-".join(name.split("-")[:2])
    excluded = recipe.excluded()
    zipped = unzipped = files = 0
    for row in rows:
        path = None if row.is_directory else installed_path(row.member.path, f"{stem}.data/")
        if path is None or excluded(path):
            continue
        files += 1
        unzipped += row.member.size
        headers = LOCAL_HEADER.size + DIRECTORY_ROW.size + 2 * len((PREFIX + path).encode())
        zipped += headers + (row.member.compressed if row.member.size else 0)
    return Outline(zipped_bytes=zipped, unzipped_bytes=unzipped, files=files)
