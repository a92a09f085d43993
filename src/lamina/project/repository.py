"""
Locate the git repository of a directory, without starting git.

A build with nothing to do imports this module, so it has few imports of its own.
"""

from __future__ import annotations

import os

from lamina.core.frozen import frozen

# Linux limits a path to 4,096 bytes. A longer file does not contain the path of a git directory.
_LONGEST = 8192


@frozen
class Repository:
    """A git repository with a working tree."""

    root: str
    """The absolute path of the working tree."""
    git: str
    """The git directory of this working tree, which has the index."""
    common: str
    """The git directory with the configuration. It differs from *git* if several working trees share a repository."""

    @property
    def index(self) -> str:
        """The path of the file that lists the tracked files. The file is missing until the first file is added."""
        return os.path.join(self.git, "index")


def find_repository(directory: str | os.PathLike[str]) -> Repository | None:
    """Return the repository that contains *directory*, or ``None``. Raises `OSError` if a ``.git`` file is unreadable."""
    place = os.path.abspath(directory)
    while True:
        if (found := repository_at(place)) is not None:
            return found
        parent = os.path.dirname(place)
        if parent == place:
            return None
        place = parent


def repository_at(directory: str) -> Repository | None:
    """Return the repository whose working tree is *directory*, or ``None``. Raises the errors of `find_repository`."""
    git = os.path.join(directory, ".git")
    if os.path.isdir(git):
        return Repository(root=directory, git=git, common=git)
    if not os.path.isfile(git):
        return None
    # In a worktree or submodule, `.git` is a file with the path of the git directory (gitrepository-layout).
    _, _, where = _line(git).partition("gitdir: ")
    git = os.path.join(directory, where) if where else git
    shared = os.path.join(git, "commondir")
    common = os.path.join(git, _line(shared)) if os.path.isfile(shared) else git
    return Repository(root=directory, git=git, common=common)


def commit_files(directory: str | os.PathLike[str]) -> tuple[str, ...]:
    """
    Return the paths of the files that decide which commit is checked out at *directory*; empty outside a repository.

    One that does not exist is included, because git can create it. Those that are unreadable are left out, as git fails then, too.
    Formats: gitrepository-layout, and git-reftable (git 2.45, read 2026-11).
    """
    try:
        repository = find_repository(directory)
        if repository is None:
            return ()
        head = os.path.join(repository.git, "HEAD")
        kind, _, reference = _line(head).partition(": ")
    except (OSError, ValueError):
        return ()
    places = [head]
    if kind == "ref" and reference != "refs/heads/.invalid":
        own = os.path.join(repository.common, reference)
        places += [own] if os.path.exists(own) else [own, os.path.join(repository.common, "packed-refs")]
    elif kind == "ref":
        places += [os.path.join(each, "reftable", "tables.list") for each in {repository.git, repository.common}]
    return tuple(path for path in places if not os.path.exists(path) or os.access(path, os.R_OK))


def _line(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read(_LONGEST).strip()
