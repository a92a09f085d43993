"""
Reject unsafe member paths of zip files, and find paths that conflict with each other.

A path is rejected if any extractor could write its file outside the extraction directory.
"""

from __future__ import annotations

import os
import unicodedata
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from lamina.core.errors import UnsafeMemberError
from lamina.core.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PREFIX = "python/"
"""The layer directory that Lambda imports from (AWS, "Working with layers for Python Lambda functions", 2026-11)."""

_COMPONENT_BYTES = 255  # NAME_MAX of Linux file systems
# Linux limits a whole path to 4,095 bytes, and real wheels stay below 300. Longer or deeper paths can only be meant
# to exhaust the program that reads them.
_PATH_BYTES = 1024
_COMPONENTS = 64
# A path of at most this many characters cannot exceed the component limits: UTF-8 needs up to four bytes a character.
_SHORT = _COMPONENT_BYTES // 4
_SHORT_ASCII = 2 * _COMPONENTS - 1

# With more slashes, keeping all directories needs more memory than sorting the paths. Layers have a tenth of it.
_SHALLOW = 500_000

_NO_COMPONENTS = frozenset(("", ".", ".."))
_USUAL = bytes(set(range(0x20, 0x7F)) - set(b"\\:"))


class Clash(NamedTuple):
    """Two members that cannot both be extracted."""

    path: bytes
    """The path of the first member, a file."""
    is_directory: bool
    """Whether the second member requires a directory at *path*. If false, both members have the same path."""


def flaw(path: str) -> str | None:
    """Return why a member's *path* is unsafe, such as ``is longer than 1,024 bytes``, or ``None`` if it is safe."""
    suspicious = (
        not path
        or path[0] in "/."
        or len(path) > (_SHORT_ASCII if path.isascii() else _SHORT)
        or "/." in path
        or "//" in path
        or "\\" in path
        or ":" in path
        or path[-1] == "/"
        or not path.isprintable()
    )
    return _flaw(path) if suspicious else None


def flawless(paths: Sequence[str]) -> bool:
    """
    Return whether all *paths* are safe. The slash at the end of a directory's path is allowed.

    This is a quick test of all paths together. It may return False for safe paths: then test each path with `flaw`.
    """
    text = "\n".join(paths)
    if not text.isascii() or text.count("\n") != max(0, len(paths) - 1):
        return False
    together = text.removesuffix("/").replace("/\n", "/").replace("\n", "/")
    return (
        # No unusual character is left after removing the usual ones.
        not together.encode().translate(None, _USUAL)
        and _NO_COMPONENTS.isdisjoint(together.split("/"))
        and max(map(len, paths), default=0) <= _SHORT_ASCII
    )


def _flaw(path: str) -> str | None:
    components = path.split("/")
    flaws = {
        "is not a relative path with `/`": not path or path[0] == "/" or "\\" in path or path[1:2] == ":",
        "contains a control character": any(ord(each) < 0x20 or 0x7F <= ord(each) <= 0x9F for each in path),
        "has an empty, `.` or `..` component": not _NO_COMPONENTS.isdisjoint(components),
        f"has a component longer than {_COMPONENT_BYTES} bytes": any(
            len(each.encode()) > _COMPONENT_BYTES for each in components
        ),
        f"is longer than {_PATH_BYTES:,} bytes": len(path.encode()) > _PATH_BYTES,
        f"has more than {_COMPONENTS} components": len(components) > _COMPONENTS,
    }
    return next((reason for reason, found in flaws.items() if found), None)


def check_path(path: str) -> None:
    """
    Reject a member path that an extractor could write outside the extraction directory.

    Raises `UnsafeMemberError` for empty or absolute paths, drive letters, backslashes, control characters, components that are
    empty, ``.``, ``..`` or longer than 255 bytes, paths over 1,024 bytes and paths with more than 64 components.
    """
    if (reason := flaw(path)) is not None:
        raise UnsafeMemberError(f"member path `{printable(path)}` {reason}")


def printable(path: str) -> str:
    """Return *path* with unprintable characters escaped, so that it cannot control the terminal."""
    return visible(path, keep="")


def relative_path(path: str | os.PathLike[str], directory: str | os.PathLike[str]) -> str:
    """Return *path* relative to *directory*, with ``/`` on every system."""
    return os.path.relpath(path, directory).replace(os.sep, "/")


def clashes(paths: Iterable[bytes]) -> list[Clash]:
    """Return the conflicts among the UTF-8 *paths*, sorted: repeated paths, and files where another path needs a directory."""
    paths = list(paths)
    unique = set(paths)
    is_shallow = b"".join(paths).count(b"/") <= _SHALLOW
    if is_shallow and len(unique) == len(paths) and unique.isdisjoint(_directories(unique)):
        return []
    # NUL sorts before every other byte, so all paths below a directory directly follow it. No path contains NUL.
    ordered = sorted(path.replace(b"/", b"\0") for path in paths)
    found = {
        Clash(before.replace(b"\0", b"/"), len(after) > len(before))
        for before, after in pairwise(ordered)
        if after.startswith(before) and (len(after) == len(before) or after[len(before)] == 0)
    }
    return sorted(found)


def twins(paths: Iterable[bytes]) -> list[str]:
    """
    Return the UTF-8 *paths* that clash only after Unicode normalisation, in NFC and sorted.

    Linux has a file for each of them. Other systems have one file, so they extract or import one of the two.
    """
    paths = set(paths)
    if b"".join(paths).isascii():
        return []
    exact = {clash.path for clash in clashes(paths)}
    normal = (unicodedata.normalize("NFC", path.decode()).encode() for path in paths)
    return [clash.path.decode() for clash in clashes(normal) if clash.path not in exact]


def _directories(paths: Iterable[bytes]) -> set[bytes]:
    """Return all parent directories of *paths*."""
    found: set[bytes] = set()
    above = {path.rpartition(b"/")[0] for path in paths} - {b""}
    while above:
        found |= above
        above = {path.rpartition(b"/")[0] for path in above} - found - {b""}
    return found
