"""Find out which git commit a project is at, and whether the inputs of a build differ from it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from lamina.core.frozen import frozen
from lamina.core.paths import relative_path
from lamina.core.supervised.git import git_environment
from lamina.core.urls import public_url
from lamina.project.repository import find_repository

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path
    from subprocess import Popen

_OPTIONS = ("--no-optional-locks", "--literal-pathspecs", "-c", "core.fsmonitor=false")
"""Do not write git's index, take paths literally, and do not start a program that the repository configures."""
_STATUS = (
    "status",
    "--porcelain=v2",
    "--branch",
    "-z",
    "--no-renames",
    "--untracked-files=all",
    "--ignore-submodules=dirty",
)
_ORIGIN = ("config", "--get", "remote.origin.url")
_COMMIT = re.compile(r"# branch\.oid ([0-9a-f]{40,64})")
_CHANGED = ("1", "u")
"""How the lines of changed and of unmerged tracked files start (git-status, porcelain format version 2)."""
# A remote like `git@host:team/repository.git`; a letter before the colon is a drive of Windows.
_SCP = re.compile(r"(?:([\w.-]+)@)?(?!file:)([\w.-]{2,}):(?!//|:)(.+)", re.IGNORECASE)


@frozen
class SourceCommit:
    """The git commit that a project was built at."""

    commit: str
    """The full hash of the commit."""
    repository: str | None
    """The URL of the remote ``origin``, without credentials; ``None`` if there is none, or if it is a local path."""
    directory: str
    """The project's directory in the repository, with ``/``; ``.`` for its root."""
    is_modified: bool
    """Whether an input of the build differs from the commit. Tracked files that were deleted or changed count in any case."""


def source_commit(project: Path, inputs: Iterable[str], places: Iterable[Path] = ()) -> SourceCommit | None:
    """
    Return the commit that *project* is at, or ``None`` if it is not in a git repository with a commit, or git is not installed.

    *inputs* are the files that a build read, relative to *project*. A new file counts as a modification if it is one of them, and a
    changed or deleted file if it is in *project* or *places*.
    """
    try:
        repository = find_repository(project)
    except OSError:
        return None
    if repository is None:
        return None
    outside = (relative_path(place, project) for place in places)
    scopes = [".", *sorted({place for place in outside if place.startswith("../")})]
    try:
        # Both at once, as starting git takes most of the time.
        with _git(project, *_STATUS, "--", *scopes) as status, _git(project, *_ORIGIN) as origin:
            said, _ = status.communicate()
            url, _ = origin.communicate()
    except OSError:
        return None
    lines = os.fsdecode(said).split("\0")
    commit = next((found[1] for found in map(_COMMIT.fullmatch, lines) if found is not None), None)
    if status.returncode or commit is None:
        return None
    known = {os.path.normpath(os.path.join(os.path.realpath(project), path)) for path in inputs}
    return SourceCommit(
        commit=commit,
        repository=_public(os.fsdecode(url).strip()),
        directory=relative_path(project, repository.root),
        is_modified=any(_is_input(line, os.path.realpath(repository.root), known) for line in lines),
    )


def _git(project: Path, *arguments: str) -> Popen[bytes]:
    import subprocess  # slow to import, and a build with nothing to do starts no git

    return subprocess.Popen(
        ["git", *_OPTIONS, *arguments],
        cwd=project,
        env=git_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _is_input(line: str, root: str, known: Collection[str]) -> bool:
    """Return whether *line* of git's status says that the build's input differs; *known* are the inputs that exist."""
    kind, _, rest = line.partition(" ")
    if kind == "?":
        return os.path.join(root, os.path.normpath(rest)) in known
    return kind in _CHANGED


def _public(url: str) -> str | None:
    """Return the remote *url*, which may have git's short form for SSH, as `public_url` does."""
    if "://" not in url and (found := _SCP.fullmatch(url)):
        user, host, path = found.groups()
        url = f"ssh://{f'{user}@' if user else ''}{host}/{path.lstrip('/')}"
    return public_url(url)
