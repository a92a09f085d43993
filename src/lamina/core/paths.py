"""
Which member paths are safe, and which of many stand in each other's way.

A path is a promise to every extractor, so what any of them could read as pointing elsewhere is refused.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from lamina.core.errors import UnsafeMemberError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PREFIX = "python/"
"""Where Lambda looks for a Python layer's modules (AWS, "Working with layers for Python Lambda functions", 2026-11)."""

_COMPONENT_BYTES = 255  # NAME_MAX of every file system that Linux mounts
# Linux takes 4,095 bytes with all directories above; real wheels stay under 300. What is longer, or nested deeper
# than any real tree, was made to exhaust its reader.
_PATH_BYTES = 1024
_COMPONENTS = 64
# So few characters are never too many bytes in one component (UTF-8 takes up to four for one), nor too many components.
_SHORT = _COMPONENT_BYTES // 4
_SHORT_ASCII = 2 * _COMPONENTS - 1

_NO_COMPONENTS = frozenset(("", ".", ".."))
_USUAL = bytes(set(range(0x20, 0x7F)) - set(b"\\:"))


class Clash(NamedTuple):
    """Two members that cannot both be extracted."""

    path: bytes
    """The path of a file."""
    is_directory: bool
    """Whether the other member needs a directory there; otherwise it has the same path."""


def flaw(path: str) -> str | None:
    """Return what is wrong with a member's *path*, as the end of a sentence, or nothing."""
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
    Return whether `flaw` finds nothing in any of *paths*, not counting the slash at the end of a directory's.

    A no may be wrong, a yes is not: it comes from looking at all of them together.
    """
    text = "\n".join(paths)
    if not text.isascii() or text.count("\n") != max(0, len(paths) - 1):
        return False
    together = text.removesuffix("/").replace("/\n", "/").replace("\n", "/")
    return (
        # What is left without the usual characters.
        not together.encode().translate(None, _USUAL)
        and _NO_COMPONENTS.isdisjoint(together.split("/"))
        and max(map(len, paths), default=0) <= _SHORT_ASCII
    )


def _flaw(path: str) -> str | None:
    components = path.split("/")
    flaws = {
        "is not relative": not path or path[0] == "/" or "\\" in path or path[1:2] == ":",
        "holds a control character": any(ord(each) < 0x20 or 0x7F <= ord(each) <= 0x9F for each in path),
        "has an empty, `.` or `..` component": not _NO_COMPONENTS.isdisjoint(components),
        f"has a component over {_COMPONENT_BYTES} bytes": any(
            len(each.encode()) > _COMPONENT_BYTES for each in components
        ),
        f"is over {_PATH_BYTES:,} bytes long": len(path.encode()) > _PATH_BYTES,
        f"is over {_COMPONENTS} directories deep": len(components) > _COMPONENTS,
    }
    return next((reason for reason, found in flaws.items() if found), None)


def check_path(path: str) -> None:
    """
    Refuse a member path that any extractor could read as pointing elsewhere.

    Raises UnsafeMemberError for absolute paths, drive letters, backslashes, ``.``, ``..`` or empty components, control
    characters, components over 255 bytes, and paths that are longer or deeper than any real one.
    """
    if (reason := flaw(path)) is not None:
        raise UnsafeMemberError(f"Member path `{printable(path)}` {reason}")


def printable(path: str) -> str:
    """Return *path* as it may be shown: what could steer a terminal is escaped."""
    return path if path.isprintable() else path.encode("unicode_escape").decode("ascii")


def clashes(paths: Iterable[bytes]) -> list[Clash]:
    """Return where *paths* (UTF-8) hold one path twice, or a file where another needs a directory; sorted."""
    paths = list(paths)
    unique = set(paths)
    if len(unique) == len(paths) and unique.isdisjoint(_directories(unique)):
        return []
    # With the least byte between components, whatever stands below a path follows it at once. No path holds that byte.
    ordered = sorted(path.replace(b"/", b"\0") for path in paths)
    found = {
        Clash(before.replace(b"\0", b"/"), len(after) > len(before))
        for before, after in pairwise(ordered)
        if after.startswith(before) and (len(after) == len(before) or after[len(before)] == 0)
    }
    return sorted(found)


def _directories(paths: Iterable[bytes]) -> set[bytes]:
    """Return every directory above *paths*."""
    found: set[bytes] = set()
    above = {path.rpartition(b"/")[0] for path in paths} - {b""}
    while above:
        found |= above
        above = {path.rpartition(b"/")[0] for path in above} - found - {b""}
    return found
