"""
Damage the files that lamina keeps, for tests: one bit, a part, everything, or with the content of another file.

`areas` groups the files of a directory, and `damage` damages one. The same *random* damages in the same way.
"""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


def _flipped(content: bytes, _: bytes, random: Random) -> bytes:
    damaged = bytearray(content or b"\0")
    damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def _cut(content: bytes, _: bytes, random: Random) -> bytes:
    return content[: random.randrange(max(1, len(content)))]


def _garbled(content: bytes, _: bytes, random: Random) -> bytes:
    start = random.randrange(max(1, len(content)))
    return content[:start] + random.randbytes(8) + content[start + 8 :]


def _swapped(_: bytes, other: bytes, __: Random) -> bytes:
    return other


KINDS: Mapping[str, Callable[[bytes, bytes, Random], bytes]] = {
    "flipped": _flipped,
    "cut": _cut,
    "garbled": _garbled,
    "swapped": _swapped,
    **{
        name: lambda _, __, ___, content=content: content  # type: ignore[misc]
        for name, content in {
            "empty": b"",
            "list": b"[]",
            "object": b"{}",
            "null": b"null",
            "deep": b"[" * 100_000,
            "deep object": b'{"a":' * 100_000,
            "number": b"1e999",
        }.items()
    },
}
"""The content of a damaged file by the kind of damage, from its content and that of another file."""


def seeded(seed: str) -> Random:
    """Return random numbers that *seed* decides."""
    return Random(seed)  # noqa: S311 - repeatable, not secret


def areas(root: Path) -> dict[str, list[Path]]:
    """Return the files below *root* by the first part of their path, without locks and files that are being written."""
    found: dict[str, list[Path]] = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        area = path.relative_to(root).parts[0]
        if area not in {"tmp", "locks", "in-use", "lock", ".gitignore"}:
            found.setdefault(area, []).append(path)
    return found


def damage(path: Path, kind: str, others: Sequence[Path], random: Random) -> bool:
    """
    Damage the file *path* in the way *kind*, one of `KINDS`, keeping its times, and return whether its content changed.

    *others* are the files whose content it may receive.
    """
    before, status = path.read_bytes(), path.stat()
    after = KINDS[kind](before, random.choice(others).read_bytes(), random)
    # In place, as a disk damages files: the inode and the times stay.
    with path.open("r+b") as file:
        file.write(after)
        file.truncate()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return before != after
