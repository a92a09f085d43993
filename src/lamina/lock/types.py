"""What is known of a lock: where it stands, what was asked of it, and what it answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.pylock import Pylock

    from lamina.lock.index import IndexFiles
    from lamina.core.target import Target

__all__ = ["Lock", "LockFile", "Request"]


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
