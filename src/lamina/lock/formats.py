"""
Lock files of every format, each read into one ``packaging.pylock.Pylock``.

`find` is on the path of a build with nothing to do, so a format's reader is imported only when its file is read.
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


# In the order of preference within one directory: a locker's own file says more than what was exported from it.
# The values are modules of this room, each with a `read(Request) -> Lock`.
READERS: Final[Mapping[str, str]] = {
    "uv.lock": "uvlock",
    "pylock.toml": "pylock",
    "poetry.lock": "poetry",
    "pdm.lock": "pdm",
    "Pipfile.lock": "pipfile",
    "requirements.txt": "requirements",
}

_NAMED_PYLOCK = re.compile(r"pylock\.[^.]+\.toml")
_MAKE_ONE = "make one: `uv lock`, `uv export --format pylock.toml`, or `pip-compile --generate-hashes`"


def find(start: Path, explicit: Path | None = None) -> LockFile:
    """
    Return the lock file of the project at *start*: the nearest one upwards, up to the repository's root.

    *explicit* is the configured path (relative to *start*), and ends the search.
    Raises `LockNotFoundError`, and `LockError` where a directory has several ``pylock.<name>.toml`` and no other lock.
    """
    # Not resolved: a symbolic link inside a repository is part of how it names its projects.
    here = Path(os.path.normpath(start.absolute()))
    project = _project(here)
    if explicit is not None:
        path = Path(os.path.normpath(here / explicit))
        return LockFile(path=path, kind=_kind(path), project=project)
    directories = tuple(_upwards(here))
    for directory in directories:
        names = _names(directory)
        for kind in READERS:
            if found := _matching(kind, names, directory):
                return LockFile(path=directory / found, kind=kind, project=project)
    raise LockNotFoundError(
        f"no lock file in `{directories[0]}`"
        + (f" or above it, up to `{directories[-1]}`" if len(directories) > 1 else ""),
        hint=f"looked for {', '.join(f'`{kind}`' for kind in READERS)} and `pylock.<name>.toml`; {_MAKE_ONE}",
    )


def searched(lock_file: LockFile, start: Path, explicit: Path | None = None) -> tuple[Path, ...]:
    """Return the directories that `find` listed before it found *lock_file*: what appears in them may be taken instead."""
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
    lock_file: LockFile, *, target: Target, groups: Collection[str], extras: Collection[str], index: IndexFiles
) -> Lock:
    """
    Return what *lock_file* holds for *target*, with the dependency *groups* and *extras* of the project.

    *index* is asked only for formats that name no files. Groups are never implied: neither ``dev`` nor a tool's default.
    Raises `LockError` and its kinds: syntax, staleness, missing hashes, unknown or conflicting names, another Python.
    """
    request = Request(
        lock_file=lock_file,
        target=target,
        groups=tuple(sorted({normalized(name) for name in groups})),
        extras=tuple(sorted({normalized(name) for name in extras})),
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


def _names(directory: Path) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in directory.iterdir())
    except OSError:
        # A parent that may not be listed holds nothing that could be read.
        return frozenset()


def _matching(kind: str, names: frozenset[str], directory: Path) -> str | None:
    if kind in names:
        return kind
    named = sorted(name for name in names if _NAMED_PYLOCK.fullmatch(name)) if kind == "pylock.toml" else []
    if len(named) > 1:
        raise LockError(
            f"several locks in `{directory}`, and none is `pylock.toml`: {', '.join(f'`{name}`' for name in named)}",
            hint=f'name the one to build from: [tool.lamina] lock = "{named[0]}"',
        )
    return named[0] if named else None


def _kind(path: Path) -> str:
    if not path.is_file():
        raise LockNotFoundError(f"the configured lock file `{path}` does not exist", hint=_MAKE_ONE)
    if path.name in READERS:
        return path.name
    if _NAMED_PYLOCK.fullmatch(path.name):
        return "pylock.toml"
    if path.suffix == ".txt":
        return "requirements.txt"
    raise LockError(
        f"`{path.name}` is not the name of a lock file",
        hint=f"known: {', '.join(f'`{kind}`' for kind in READERS)}, `pylock.<name>.toml`, and hashed `*.txt`",
    )
