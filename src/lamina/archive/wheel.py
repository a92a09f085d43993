"""
Read a wheel's members without extracting it.

Layers copy members without inflating them. lamina inflates a member only to verify it against RECORD, once, before it
stores the wheel.
Format: packaging.python.org, "Binary distribution format" (read 2026-11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.archive.zip.copying import read_pieces
from lamina.archive.zip.inflate import BROKEN_WHEEL_HINT, member_content
from lamina.archive.zip.opened import ZipArchive
from lamina.core.errors import CorruptArchiveError, UnsupportedMemberError
from lamina.core.names import normalized

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import BinaryIO

    from lamina.archive.zip.directory import Located

_SCHEMES = frozenset(("purelib", "platlib", "data", "scripts", "headers"))


class WheelArchive(ZipArchive):
    """
    A wheel opened for reading, as a context manager.

    Raises the errors of `ZipArchive`. Raises `CorruptArchiveError` if the file has no or several ``.dist-info`` directories,
    or has one for another distribution than the file name. Raises `UnsupportedMemberError` for the ``.data`` directory of
    another distribution.
    """

    def __init__(self, path: Path, *, name: str | None = None) -> None:
        """Open the wheel at *path* and check its headers. *name* is the wheel's file name (default: the name of *path*)."""
        super().__init__(path, name=name)
        try:
            directories = {member[0].partition("/")[0] for member, _ in self.members if "/" in member[0]}
            self.stem = self._find_stem(directories)
            self.data_prefixes = data_prefixes(directories, self.stem)
            self._check_data(directories)
        except BaseException:
            self.close()
            raise

    def _check_data(self, directories: set[str]) -> None:
        """
        Check that no directory in *directories*, those at the top of the wheel, looks like the ``.data`` directory of another wheel.

        pip installs the files of every such directory, uv only those of the wheel's own.
        """
        foreign = [
            f"{each}/" for each in directories if _has_suffix(each, ".data") and f"{each}/" not in self.data_prefixes
        ]
        if not foreign:
            return
        found = {(prefix, scheme) for prefix in foreign for scheme in _SCHEMES}
        for member, _ in self.members:
            top, _, below = member.path.partition("/")
            if (f"{top}/", _folded(below.partition("/")[0])) in found and "/" in below:
                raise UnsupportedMemberError(
                    f"`{self.name}` has the directory `{top}`, whose name and version differ from `{self.dist_info}`; "
                    "installers disagree where its files belong",
                    hint=BROKEN_WHEEL_HINT,
                )

    def _find_stem(self, directories: set[str]) -> str:
        found = sorted(directory for directory in directories if _has_suffix(directory, ".dist-info"))
        if len(found) != 1 or not found[0].endswith(".dist-info"):
            named = ", ".join(f"`{directory}`" for directory in found) or "none"
            raise CorruptArchiveError(
                f"`{self.name}` must have exactly one `.dist-info` directory; found {named}", hint=BROKEN_WHEEL_HINT
            )
        stem = found[0].removesuffix(".dist-info")
        if normalized(stem.rpartition("-")[0]) != normalized(self.name.partition("-")[0]):
            raise CorruptArchiveError(
                f"`{self.name}` contains the metadata of another distribution: `{found[0]}`", hint=BROKEN_WHEEL_HINT
            )
        return stem

    @property
    def dist_info(self) -> str:
        """The name of the wheel's metadata directory."""
        return f"{self.stem}.dist-info"


def same_version(first: str, second: str) -> bool:
    """Return whether two spellings are the same version. In the names of files and directories, ``_`` stands for ``-``."""
    if first == second:
        return True
    from packaging.version import InvalidVersion, Version

    try:
        return Version(first.replace("_", "-")) == Version(second.replace("_", "-"))
    except InvalidVersion:
        return False


def _folded(name: str) -> str:
    """Return *name* as a file system sees it that ignores case, and blanks and dots at the end."""
    return name.rstrip(" .").lower()


def _has_suffix(directory: str, suffix: str) -> bool:
    return _folded(directory).endswith(suffix)


def data_prefixes(directories: Iterable[str], stem: str) -> tuple[str, ...]:
    """
    Return those of the top-level *directories* that are ``.data`` directories of the wheel with the name and version *stem*.

    Each ends with a slash. As for ``.dist-info``, the spelling of the name and the version does not matter.
    """
    name, _, version = stem.rpartition("-")
    found = [each for each in directories if each.endswith(".data")]
    split = [(each, *each.removesuffix(".data").rpartition("-")[::2]) for each in sorted(found)]
    return tuple(
        f"{each}/"
        for each, own, number in split
        if normalized(own) == normalized(name) and same_version(number, version)
    )


def member_pieces(file: BinaryIO, located: Located, *, name: str) -> Iterable[bytes | memoryview]:
    """
    Return a member's uncompressed content from an unbuffered *file*, in pieces of at most 1 MiB, without mapping the file.

    Use it to read a few members of a wheel whose directory was read before. *name* is the wheel's file name. Raises the
    errors of `ZipArchive.read`.
    """
    member, start = located
    return member_content(read_pieces(file, start, member.compressed), member, name=name)
