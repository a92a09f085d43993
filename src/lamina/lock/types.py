"""What is known of a lock: where it stands, what was asked of it, and what it answered."""

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
    """One file that an index offers for a locked version."""

    filename: str
    """As the index spells it: a wheel or a source distribution."""
    url: str
    """Absolute, without credentials."""
    sha256: str
    """Lower-case hexadecimal."""
    size: int | None = None
    """Bytes, where the index says so."""


class IndexFiles(Protocol):
    """
    Finds the files that belong to locked hashes.

    Needed by the formats that hold hashes only: hashed requirements and Pipfile.lock name neither files nor URLs,
    poetry.lock and pdm.lock no URLs. The method may be called from several threads at once.
    """

    def files(self, name: str, version: str, hashes: Collection[str], index_url: str | None) -> Sequence[IndexFile]:
        """
        Return every file of *name* *version* whose SHA-256 is among *hashes*; none if the index knows no such file.

        *name* is normalised (PEP 503), *hashes* are lower-case hexadecimal SHA-256. *index_url* is the root of a simple
        index as the lock names it, and may carry credentials; ``None`` means the indexes that are configured for the
        project. Raises `FetchError` if an index cannot be asked.
        """


@frozen
class LockFile:
    """A lock file that was found, not read."""

    path: Path
    """Absolute."""
    kind: str
    """The name that stands for its format, such as ``uv.lock``."""
    project: Path
    """The absolute directory of the project that is locked; in a workspace, of the member."""

    @property
    def pyproject(self) -> Path:
        """The project's ``pyproject.toml``, which need not exist."""
        return self.project / "pyproject.toml"


@frozen
class Request:
    """What a lock is asked: for which target, with which choice of groups and extras."""

    lock_file: LockFile
    target: Target
    groups: tuple[str, ...]
    """Normalised names (PEP 735), sorted."""
    extras: tuple[str, ...]
    """Normalised names (PEP 685), sorted."""
    index: IndexFiles


@frozen
class Lock:
    """A lock that was read, is valid, and matches its ``pyproject.toml``."""

    path: Path
    pylock: Pylock
    """Paths inside are absolute, URLs carry no credentials, every artifact has a SHA-256."""
    inputs: tuple[Path, ...]
    """Every file whose bytes decided the answer, the lock itself first."""
    groups: tuple[str, ...]
    """What to evaluate ``dependency_groups`` markers with; empty where the reader has evaluated everything."""
    extras: tuple[str, ...]
    """What to evaluate ``extras`` markers with; empty where the reader has evaluated everything."""
