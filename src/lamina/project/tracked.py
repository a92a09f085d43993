"""
Read which files git tracks, from git's index.

The format is that of gitformat-index, as of git 2.52 (read 2026-11-28): versions 2 to 4, split and sparse indexes, SHA-1
and SHA-256. The index of a cloned repository is written by the local git, but that of an unpacked archive can be anybody's.
Sizes are therefore limited, and names are only compared, never opened.

No process starts, because git may be missing, and because a repository's settings can make git run other programs.
dulwich 1.2.21 was measured on 2026-11-28: its import takes 0.35 s, and it does not read split indexes.
"""

from __future__ import annotations

import os
import re
import shlex
from bisect import bisect_left
from functools import lru_cache
from typing import TYPE_CHECKING

from lamina.core.errors import PackageError
from lamina.core.files import open_regular
from lamina.core.frozen import frozen
from lamina.core.paths import relative_path
from lamina.core.text import from_here
from lamina.project.repository import find_repository

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.project.repository import Repository

# An entry needs about 100 bytes, so this is enough for two million files.
_LARGEST = 256 << 20
_LARGEST_SETTINGS = 1 << 20
_HEADER_BYTES = 12
# The times, device, inode, mode, owner and size before an entry's hash.
_STAT_BYTES = 40
_SUBMODULE = 0xE
_SHA256 = re.compile(r'^\s*objectformat\s*=\s*"?sha256\b', re.IGNORECASE | re.MULTILINE)


@frozen
class TrackedFiles:
    """The files that git tracks in one working tree. All paths are relative to it, with ``/``."""

    paths: tuple[bytes, ...]
    """The paths of all files and submodules, sorted. A path can be listed repeatedly."""
    submodules: frozenset[bytes]
    """The paths of the submodules. Their own indexes list the files in them."""

    def below(self, path: bytes) -> tuple[bytes, ...]:
        """Return *path* itself, if git tracks it, and the tracked paths below it. An empty *path* is the working tree."""
        if not path:
            return self.paths
        # "0" is the character after "/".
        start, end = (bisect_left(self.paths, path + limit) for limit in (b"/", b"0"))
        position = bisect_left(self.paths, path)
        return (*((path,) if self.paths[position : position + 1] == (path,) else ()), *self.paths[start:end])

    def submodule_of(self, path: bytes) -> bytes | None:
        """Return the path of the submodule that contains *path*, or ``None``."""
        parts = path.split(b"/") if self.submodules else []
        above = (b"/".join(parts[:end]) for end in range(1, len(parts)))
        return next((parent for parent in above if parent in self.submodules), None)


def tracked_files(repository: Repository) -> TrackedFiles:
    """
    Return the files that git tracks in *repository*; none if it has no index yet.

    Raises `PackageError` if the index is damaged, too large, or in an unknown format, or if the git directory of a worktree or submodule is
    missing, and `OSError` if it is unreadable.
    """
    try:
        found = os.stat(repository.index)
    except (FileNotFoundError, NotADirectoryError):
        if repository.git != os.path.join(repository.root, ".git") and not os.path.isdir(repository.git):
            raise _detached(repository) from None
        return TrackedFiles(paths=(), submodules=frozenset())
    # git replaces the file, so a new index has another inode or time. Each package of a service asks again.
    return _load(repository, (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size))


def _detached(repository: Repository) -> PackageError:
    git = from_here(os.path.join(repository.root, ".git"))
    return PackageError(
        f"could not read which files git tracks: `{git}` names the git directory `{repository.git}`, which does not exist",
        hint=f"make this directory available, as in a container that only has the working tree; or, if git is not used here, run `rm {shlex.quote(git)}`",
    )


def path_in(repository: Repository, path: str) -> bytes | None:
    """Return *path* as the index names it, or ``None`` if it is outside *repository*. Links in parent directories are resolved."""
    parent, name = os.path.split(path)
    relative = relative_path(os.path.join(os.path.realpath(parent), name), os.path.realpath(repository.root))
    return None if relative == ".." or relative.startswith("../") else os.fsencode("" if relative == "." else relative)


def digest_below(directory: str) -> str:
    """Return a digest of the paths that git tracks below *directory*. Raises the errors of `tracked_files`."""
    import hashlib

    repository = find_repository(directory)
    inside = None if repository is None else path_in(repository, os.path.realpath(directory))
    if repository is None or inside is None:
        return ""
    files = tracked_files(repository)
    paths = files.below(inside)
    rows = (*paths, b"", *(path for path in paths if path in files.submodules))
    return hashlib.sha256(b"\0".join(rows)).hexdigest()


@lru_cache(maxsize=8)
def _load(repository: Repository, _: tuple[int, ...]) -> TrackedFiles:
    hash_bytes = 32 if _has_sha256(repository) else 20
    try:
        own = _GitIndex(_read(repository.index), hash_bytes)
        paths = own.paths
        if own.shared is not None:
            # In a split index, the entries without a name replace entries of the shared index.
            base = _GitIndex(_read(os.path.join(repository.git, f"sharedindex.{own.shared.hex()}")), hash_bytes)
            deleted = set(_set_bits(own.deleted, len(base.paths)))
            paths = [*own.paths, *(path for number, path in enumerate(base.paths) if number not in deleted)]
            own.submodules |= base.submodules
    except (ValueError, IndexError, FileNotFoundError) as error:
        shown = from_here(repository.index)
        raise PackageError(
            f"could not read which files git tracks: `{shown}` is damaged, or lamina does not support its format",
            hint=f"write it again, which unstages staged changes: run `rm {shown}` and `git reset`",
        ) from error
    # In a sparse index, a path with a slash at its end is a directory that is not checked out.
    kept = sorted(path for path in paths if path and not path.endswith(b"/"))
    return TrackedFiles(paths=tuple(kept), submodules=frozenset(own.submodules))


def _has_sha256(repository: Repository) -> bool:
    try:
        with open_regular(os.path.join(repository.common, "config")) as file:
            return _SHA256.search(file.read(_LARGEST_SETTINGS).decode("utf-8", "replace")) is not None
    except FileNotFoundError:
        return False


def _read(path: str) -> bytes:
    # Opening a named pipe waits for a writer.
    if not os.path.isfile(path) and os.path.exists(path):
        raise ValueError("not a regular file")
    with open(path, "rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"more than {_LARGEST:,} bytes")
    return data


class _GitIndex:
    """The content of one index file. Raises ValueError or IndexError if it is damaged or in an unknown format."""

    def __init__(self, data: bytes, hash_bytes: int) -> None:
        version = int.from_bytes(data[4:8])
        if data[:4] != b"DIRC" or version not in {2, 3, 4}:
            raise ValueError(f"unknown version {version}")
        self.paths: list[bytes] = []
        self.submodules: set[bytes] = set()
        self.shared: bytes | None = None
        """The hash of the shared index of a split index."""
        self.deleted = b""
        """A bitmap of the entries of the shared index that this index removes."""
        position = self._read_entries(data, _STAT_BYTES + hash_bytes, is_compressed=version == 4)
        self._read_extensions(data[position : len(data) - hash_bytes], hash_bytes)

    def _read_entries(self, data: bytes, flags: int, *, is_compressed: bool) -> int:
        """Read all entries, whose flags are at the offset *flags*. Return the position after the last one."""
        position, path, total = _HEADER_BYTES, b"", 0
        for _ in range(int.from_bytes(data[8:_HEADER_BYTES])):
            # The third bit of the flags is set if two more bytes of flags follow.
            start = position + flags + (4 if data[position + flags] & 0x40 else 2)
            if is_compressed:
                removed, start = _offset(data, start)
                if removed > len(path):
                    raise ValueError("an entry removes more than the previous path")
                end = data.index(b"\0", start)
                path = path[: len(path) - removed] + data[start:end]
            else:
                end = data.index(b"\0", start)
                path = data[start:end]
            if data[position + 26] >> 4 == _SUBMODULE:
                self.submodules.add(path)
            self.paths.append(path)
            # A few bytes of a compressed index can stand for a long path.
            total += len(path)
            if total > _LARGEST:
                raise ValueError(f"the paths have more than {_LARGEST:,} bytes")
            # Without compression, NUL bytes fill up each entry to a multiple of eight bytes.
            position = end + 1 if is_compressed else position + (end - position + 8 & ~7)
        return position

    def _read_extensions(self, data: bytes, hash_bytes: int) -> None:
        position = 0
        while position < len(data):
            name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8])
            content = data[position + 8 : position + 8 + size]
            if name == b"link":
                self.shared = content[:hash_bytes] if any(content[:hash_bytes]) else None
                self.deleted = content[hash_bytes:]
            elif not b"A" <= name[:1] <= b"Z" and name != b"sdir":
                # Extensions whose name starts with a capital letter are optional.
                raise ValueError(f"unknown extension {name!r}")
            position += 8 + size
        if position != len(data):
            raise ValueError("the last extension is incomplete")


def _offset(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at *position*, in the variable width of gitformat-pack's offsets, and the position after it."""
    byte = data[position]
    number = byte & 0x7F
    while byte & 0x80:
        position += 1
        byte = data[position]
        number = (number + 1 << 7) + (byte & 0x7F)
        if number > _LARGEST:
            raise ValueError("a number is too large")
    return number, position + 1


def _set_bits(bitmap: bytes, limit: int) -> Iterator[int]:
    """Yield the positions below *limit* of the bits that are set in the EWAH *bitmap* (gitformat-bitmap, appendix A)."""
    if not bitmap:
        return
    end = 8 + 8 * int.from_bytes(bitmap[4:8])
    words = iter([int.from_bytes(bitmap[start : start + 8]) for start in range(8, min(end, len(bitmap)), 8)])
    position = 0
    for marker in words:
        # A marker has a bit, how many words consist of that bit (32 bits), and how many literal words follow (31 bits).
        run = 64 * (marker >> 1 & 0xFFFF_FFFF)
        if marker & 1:
            yield from range(position, min(position + run, limit))
        position += run
        for _ in range(marker >> 33):
            word = next(words, None)
            if word is None or position > limit:
                raise ValueError("a bitmap is too long or incomplete")
            yield from (position + bit for bit in range(64) if word >> bit & 1)
            position += 64
