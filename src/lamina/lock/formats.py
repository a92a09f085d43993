"""
Find a project's lock file, and read any supported format into a ``packaging.pylock.Pylock``.

A format's reader is imported only when a file of that format is read, because even a build with nothing to do calls `find`.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lamina.core.errors import LockError, LockNotFoundError
from lamina.core.names import normalized
from lamina.lock.types import IndexFiles, Lock, LockFile, Request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from lamina.core.target import Target


# In order of preference within one directory: a tool's own lock contains more than an export of it.
# The values are modules of this package, each with a `read(Request) -> Lock`.
READERS: Final[Mapping[str, str]] = {
    "uv.lock": "uvlock",
    "pylock.toml": "pylock",
    "poetry.lock": "poetry",
    "pdm.lock": "pdm",
    "Pipfile.lock": "pipfile",
    "requirements.txt": "requirements",
}

_NAMED_PYLOCK = re.compile(r"pylock\.[^.]+\.toml")


def find(start: Path, explicit: Path | None = None, *, target: Target | None = None) -> LockFile:
    """
    Return the lock file of the project at *start*: the nearest one in it or its parents, up to the repository's root.

    *explicit* is the configured path, absolute or relative to *start*; with it, nothing is searched. It belongs to the
    ``pyproject.toml`` beside it, not to one above *start*; a uv.lock may also lock the project at *start* as a member of a
    workspace. Raises `LockNotFoundError` if there is no lock file, with the command that creates one for *target*. Raises
    `LockError` if *explicit* is not a supported file name, or if the nearest directory has several ``pylock.<name>.toml`` and
    neither a ``uv.lock`` nor a ``pylock.toml``.
    """
    # Symbolic links are not resolved: a link inside a repository is a valid path to a project.
    here = Path(os.path.normpath(start.absolute()))
    project = _project(here)
    if explicit is not None:
        path = Path(os.path.normpath(here / explicit))
        kind = _kind(path, target)
        if kind == "uv.lock":
            # The reader decides, because the lock names the projects that it locks.
            return LockFile(path=path, kind=kind, project=project, is_configured=True)
        beside = path.parent if (path.parent / "pyproject.toml").is_file() else here
        return LockFile(path=path, kind=kind, project=beside, is_configured=True)
    directories = tuple(_upwards(here))
    for directory in directories:
        names = _names(directory)
        for kind in READERS:
            if found := _matching(kind, names, directory):
                return LockFile(path=directory / found, kind=kind, project=project)
    raise LockNotFoundError(
        f"no lock file found in `{directories[0]}`"
        + (f" or its parent directories up to `{directories[-1]}`" if len(directories) > 1 else ""),
        hint=f"{_create(project, target)}; supported files: {', '.join(f'`{kind}`' for kind in READERS)} and `pylock.<name>.toml`",
    )


def searched(lock_file: LockFile, start: Path, explicit: Path | None = None) -> tuple[Path, ...]:
    """
    Return the readable directories that `find` searched before and including the one with *lock_file*.

    A lock file added to one of these directories later may be found instead of *lock_file*. Empty if *explicit* is given,
    because `find` then searches nothing.
    """
    if explicit is not None:
        return ()
    directories = []
    for directory in _upwards(Path(os.path.normpath(start.absolute()))):
        if os.access(directory, os.R_OK):
            directories.append(directory)
        if directory == lock_file.path.parent:
            break
    return tuple(directories)


def read(
    lock_file: LockFile,
    *,
    target: Target,
    groups: Collection[str],
    extras: Collection[str],
    without: Collection[str] = (),
    only: Collection[str] | None = None,
    index: IndexFiles,
) -> Lock:
    """
    Read the packages that *target* needs from *lock_file*: the project's dependencies, and those of *groups* and *extras*.

    No group is selected implicitly, neither ``dev`` nor a tool's default groups. The distributions in *without*, and
    those that are not in *only*, need no hash and no file, but those in local directories are read. *index* is queried only if the lock has no URLs.

    Raises `LockError` or a subclass if the lock is invalid or stale, lacks hashes, does not support *target*, lacks a
    selected group or extra, or declares that some of them conflict. Raises `ConfigError` if ``pyproject.toml`` is invalid.
    Raises `IndexLookupError` listing all packages that no index has locked files for, and `FetchError` or another subclass
    if an index cannot be queried.
    """
    request = Request(
        lock_file=lock_file,
        target=target,
        groups=tuple(sorted({normalized(name) for name in groups})),
        extras=tuple(sorted({normalized(name) for name in extras})),
        without=frozenset(map(normalized, without)),
        only=None if only is None else frozenset(map(normalized, only)),
        index=index,
    )
    lock: Lock = import_module(f"lamina.lock.{READERS[lock_file.kind]}").read(request)
    return lock


def _upwards(start: Path) -> Iterator[Path]:
    for directory in (start, *start.parents):
        yield directory
        if (directory / ".git").exists():
            return


def _project(start: Path) -> Path:
    return next((directory for directory in _upwards(start) if (directory / "pyproject.toml").is_file()), start)


def _create(project: Path, target: Target | None) -> str:
    """Return how to create a lock of *project* for *target*, for a hint."""
    if target is None:
        return "create one: `lamina init --dry-run` shows the command"
    from lamina.lock.commands import REQUIREMENTS, located, lock_command
    from lamina.lock.reading import load

    manifest = project / "pyproject.toml"
    command = lock_command(project, load(manifest) if manifest.is_file() else {}, target)
    if command is None:
        return f"without dependencies, an empty file is the lock: run `{located(f'touch {REQUIREMENTS}', project)}`"
    return f"create one: run `{located(command, project)}`"


def _create_configured(path: Path, target: Target | None) -> str:
    from lamina.lock.commands import creation

    command = None if target is None else creation(path, target)
    if command is None:
        return "correct `lock` in `[tool.lamina]`, or create the file: `lamina init --dry-run` shows the command for the target"
    return f"create it: run `{command}`; or correct `lock` in `[tool.lamina]`"


def _names(directory: Path) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in directory.iterdir())
    except OSError:
        # A parent directory without read permission is treated as empty.
        return frozenset()


def _matching(kind: str, names: frozenset[str], directory: Path) -> str | None:
    if kind in names:
        return kind
    named = sorted(name for name in names if _NAMED_PYLOCK.fullmatch(name)) if kind == "pylock.toml" else []
    if len(named) > 1:
        raise LockError(
            f"`{directory}` has several `pylock.<name>.toml` files but no `pylock.toml`: {', '.join(f'`{name}`' for name in named)}",
            hint=f'choose one: set `lock = "{named[0]}"` in `[tool.lamina]`',
        )
    return named[0] if named else None


def _kind(path: Path, target: Target | None) -> str:
    if not path.is_file():
        raise LockNotFoundError(
            f"the configured lock file `{path}` does not exist", hint=_create_configured(path, target)
        )
    if path.name in READERS:
        return path.name
    if _NAMED_PYLOCK.fullmatch(path.name):
        return "pylock.toml"
    if path.suffix == ".txt":
        return "requirements.txt"
    raise LockError(
        f"the configured lock file `{path.name}` does not have a supported name",
        hint=f"use {', '.join(f'`{kind}`' for kind in READERS)}, `pylock.<name>.toml`, or a `*.txt` with hashes",
    )
