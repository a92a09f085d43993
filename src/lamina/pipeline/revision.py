"""Build a project as it is at another git revision."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError, NotInRevisionError, StartError
from lamina.core.frozen import frozen
from lamina.core.supervised.git import run_git
from lamina.core.temporary import temporary_directory
from lamina.pipeline.build import build
from lamina.project.file import configures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.pipeline.context import TeamStore
    from lamina.project.options import BuildOptions

_NO_REPOSITORY = b"not a git repository"
"""What git says outside of a repository (git 2.39, ``setup.c``; 2026-11)."""


@frozen
class RevisionOption:
    """An option of the command line that has a git revision or something else as its value, for hints."""

    name: str
    other: str
    """What else the value can name, such as ``directory``."""
    alternative: str
    """The same in full, such as ``the directory of a built project``."""
    metavar: str


@contextmanager
def at_revision(
    project: Path,
    revision: str,
    options: BuildOptions,
    *,
    asked: RevisionOption,
    team_store: TeamStore,
    reporter: Reporter,
    store: Store | None = None,
) -> Iterator[Path]:
    """
    Check out *revision* of the git repository of *project* in a temporary directory, and build the project there with *options*.

    Provide the project's directory in the checkout, which is deleted on exit. *asked* is how the command line asks for a revision.

    Raises `ConfigError` if git is not installed, *project* is not in a git repository, or *revision* does not exist, and
    `NotInRevisionError` if *revision* does not contain the project's configuration. Also raises what `lamina.pipeline.build.build` raises.
    """
    top, prefix = _git(project, asked, "rev-parse", "--show-toplevel", "--show-prefix").split("\n")[:2]
    commit = _commit(project, revision, asked)
    try:
        with temporary_directory("revision") as directory:
            tree = directory / "tree"
            _git(Path(top), asked, "worktree", "add", "--detach", "--quiet", str(tree), commit)
            service = tree / prefix
            if not configures(service):
                raise NotInRevisionError(
                    f"directory `{prefix or '.'}` does not configure a service in revision `{revision}`",
                    hint="compare with a revision that contains the service",
                )
            build(service, options, store=store, team_store=team_store, reporter=reporter)
            yield service
    finally:
        _git(Path(top), asked, "worktree", "prune")


def _commit(project: Path, revision: str, asked: RevisionOption) -> str:
    """Return the commit of *revision*. Raises `ConfigError` if there is none, as in a CI job that fetches only one branch."""
    try:
        return _git(project, asked, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").strip()
    except ConfigError as error:
        remote = f"origin/{revision}"
        if _git(project, asked, "branch", "--remotes", "--list", remote).strip():
            hint = f"compare with the remote branch: `{asked.name} {remote}`"
        elif _git(project, asked, "remote").strip():
            hint = f"fetch it: `git fetch --depth 1 origin {revision}`, then pass `{asked.name} FETCH_HEAD`"
        elif not _git(project, asked, "rev-list", "--all", "--max-count=1"):
            raise ConfigError(
                f"revision `{revision}` does not exist: the git repository has no commits",
                hint=f"commit the project, or compare with {asked.alternative}: `{asked.name} {asked.metavar}`",
            ) from error
        else:
            hint = "list the branches: `git branch --all`"
        raise ConfigError(
            f"revision `{revision}` does not exist, nor does a {asked.other} with this name", hint=hint
        ) from error


def _git(directory: Path, asked: RevisionOption, *arguments: str) -> str:
    try:
        # The messages are in English, because one of them is recognised.
        done = run_git(arguments, directory=directory, variables={"LC_ALL": "C"})
    except StartError as error:
        raise ConfigError(
            "comparing with a revision requires `git`",
            hint=f"install `git`, or compare with {asked.alternative}: `{asked.name} {asked.metavar}`",
        ) from error
    if done.code:
        if _NO_REPOSITORY in done.errors:
            raise ConfigError(
                f"`{directory}` is not in a git repository, which has the revisions to compare with",
                hint=f"compare with {asked.alternative}: `{asked.name} {asked.metavar}`",
            )
        said = (done.errors.decode("utf-8", "replace").strip().splitlines() or ["no error message"])[-1]
        raise ConfigError(
            f"`git {' '.join(arguments[:2])}` failed in `{directory}`: {said}",
            hint=f"pass a revision of the project's repository, such as `{asked.name} main`, or {asked.alternative}",
        )
    return os.fsdecode(done.output)
