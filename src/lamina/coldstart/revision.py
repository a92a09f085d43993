"""Build another revision of the same service, in a work tree of its own that is gone afterwards."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError
from lamina.core.reporter import SILENT
from lamina.pipeline.build import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.core.reporter import Reporter
    from lamina.pipeline.context import BuildOptions, TeamStore

__all__ = ["built"]


@contextmanager
def built(
    project: Path,
    revision: str,
    options: BuildOptions,
    *,
    team_store: TeamStore | None = None,
    reporter: Reporter = SILENT,
) -> Iterator[Path]:
    """
    Provide the directory of *project* as it was at *revision*, built there with *options*.

    Raises ConfigError if it is no revision of a git repository that holds *project*, and whatever a build raises.
    """
    top, prefix = _git(project, "rev-parse", "--show-toplevel", "--show-prefix").split("\n")[:2]
    commit = _git(project, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").strip()
    directory = Path(tempfile.mkdtemp(prefix="lamina-revision-"))
    tree = directory / "tree"
    try:
        # The repository's own hooks are for its working tree.
        _git(Path(top), "-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", "--quiet", str(tree), commit)
        service = tree / prefix
        if not service.is_dir():
            raise ConfigError(f"There is no `{prefix}` in revision `{revision}`", hint="compare with a later revision")
        build(service, options, team_store=team_store, reporter=reporter)
        yield service
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        _git(Path(top), "worktree", "prune")


def _git(directory: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
        )
    except FileNotFoundError as error:
        raise ConfigError("Comparing with a revision needs `git`", hint="compare with a directory instead") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ConfigError(
            f"`git {' '.join(arguments[:2])}` failed in `{directory}`: {said}",
            hint="give a revision of the repository that holds the service, or a directory that was built",
        ) from error
    return done.stdout
