"""Define a lock file that was found, the request to read it, the result, and the index that completes it."""

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

    def files(
        self, name: str, version: str, hashes: Collection[str], index_url: str | None, *, target: Target
    ) -> Sequence[IndexFile]:
        """
        Return the files of *name* *version* with a SHA-256 among *hashes*; empty if no index has such a file.

        If an index lists the files without SHA-256 hashes, return only the one that suits *target* best.

        *name* is normalised (PEP 503), *hashes* are in lower-case hexadecimal. *index_url* is the root URL of an index
        (PEP 503) as written in the lock, and may contain credentials; ``None`` means the indexes configured for the
        project. Raises `FetchError` or a subclass if an index cannot be queried.
        """


@frozen
class LockFile:
    """The location and format of a lock file that has not been read yet, and the project that it locks."""

    path: Path
    """The lock file's absolute path."""
    kind: str
    """The default file name of the lock's format, such as ``uv.lock``; `path` may have another name."""
    project: Path
    """The absolute path of the project's directory; in a workspace, the member's directory."""
    is_configured: bool = False
    """Whether the configuration names the file. A configured uv.lock may lock another project than `project`."""

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
    without: frozenset[str] = frozenset()
    """The normalised names of distributions to leave out. Local directories stay: function packages may need them."""
    only: frozenset[str] | None = None
    """The normalised names of the only distributions to select; ``None`` for all. Local directories stay."""
    index: IndexFiles

    def leaves_out(self, name: str) -> bool:
        """Return whether the request leaves out the distribution *name*, unless it is in a local directory."""
        return name in self.without or (self.only is not None and name not in self.only)


@frozen
class Lock:
    """The contents of a valid lock file that matches the project's ``pyproject.toml``."""

    path: Path
    pylock: Pylock
    """The locked packages. Paths are absolute, URLs contain no credentials, and every artifact has a SHA-256."""
    inputs: tuple[Path, ...]
    """The paths of all files that the result depends on, the lock file first."""
    groups: tuple[str, ...]
    """The groups to evaluate ``dependency_groups`` markers with; empty if the reader already evaluated all markers."""
    extras: tuple[str, ...]
    """The extras to evaluate ``extras`` markers with; empty if the reader already evaluated all markers."""
    left_out: tuple[str, ...] = ()
    """The normalised names of the locked distributions that the request leaves out, sorted."""
