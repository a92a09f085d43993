"""Define the values of a lock lookup: the lock file found, the request to read it, and the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from packaging.pylock import Pylock

    from lamina.core.target import Target


@frozen
class IndexFile:
    """One file that an index lists for a locked version."""

    filename: str
    """The file's name as the index spells it: a wheel or a source distribution."""
    url: str
    """The file's absolute URL, without credentials."""
    sha256: str
    """The file's SHA-256 in lower-case hexadecimal."""
    size: int | None = None
    """The file's size in bytes; ``None`` where the index does not report it."""


class IndexFiles(Protocol):
    """
    Looks up the files of a locked version by their hashes.

    Some lock formats need an index to complete them. Hashed requirements and Pipfile.lock contain only hashes;
    poetry.lock and pdm.lock contain file names and hashes, but no URLs. An implementation must be thread-safe.
    """

    def files(self, name: str, version: str, hashes: Collection[str], index_url: str | None) -> Sequence[IndexFile]:
        """
        Return every file of *name* *version* with a SHA-256 among *hashes*; empty if the index has no such file.

        *name* is normalised (PEP 503), *hashes* are lower-case hexadecimal SHA-256. *index_url* is the root of a simple
        index as written in the lock, and may contain credentials; ``None`` means the indexes configured for the
        project. Raises `FetchError` if a request to an index fails.
        """


@frozen
class LockFile:
    """The location and format of a lock file that is not read yet."""

    path: Path
    """The lock file's absolute path."""
    kind: str
    """The name of the lock file's format, such as ``uv.lock``."""
    project: Path
    """The absolute path of the locked project's directory; in a workspace, the member's directory."""

    @property
    def pyproject(self) -> Path:
        """The path of the project's ``pyproject.toml``; the file may not exist."""
        return self.project / "pyproject.toml"


@frozen
class Request:
    """A request to read a lock file for one target, with selected groups and extras."""

    lock_file: LockFile
    target: Target
    groups: tuple[str, ...]
    """The selected dependency groups: normalised names (PEP 735), sorted."""
    extras: tuple[str, ...]
    """The selected extras: normalised names (PEP 685), sorted."""
    index: IndexFiles


@frozen
class Lock:
    """The contents of a lock file that is valid and matches its ``pyproject.toml``."""

    path: Path
    pylock: Pylock
    """The locked packages. Paths are absolute, URLs contain no credentials, and every artifact has a SHA-256."""
    inputs: tuple[Path, ...]
    """The paths of all files that the result depends on, the lock file first."""
    groups: tuple[str, ...]
    """The groups to evaluate ``dependency_groups`` markers with; empty if the reader already evaluated all markers."""
    extras: tuple[str, ...]
    """The extras to evaluate ``extras`` markers with; empty if the reader already evaluated all markers."""
