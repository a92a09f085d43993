"""Run git in one repository, whatever repository the program that started lamina works on."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lamina.core.supervised.process import Finished

_OF_ANOTHER_REPOSITORY = re.compile(
    "GIT_(ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|CONFIG|DIR|GRAFT_FILE|IMPLICIT_WORK_TREE|INDEX_FILE|INTERNAL_SUPER_PREFIX|NAMESPACE"
    "|NO_REPLACE_OBJECTS|OBJECT_DIRECTORY|PREFIX|REPLACE_REF_BASE|SHALLOW_FILE|WORK_TREE)"
)
"""
The variables that git sets for hooks and aliases, which work on the repository and index of that git command: those of
``git rev-parse --local-env-vars`` (git 2.39, read 2026-11). The settings in ``GIT_CONFIG_COUNT`` and ``GIT_CONFIG_PARAMETERS`` remain,
because a CI job passes credentials in them; git hands them on to submodules, too.
"""


def git_environment() -> dict[str, str]:
    """Return the environment of lamina for git, without what makes git work on the repository of another command."""
    return {name: value for name, value in os.environ.items() if not _OF_ANOTHER_REPOSITORY.fullmatch(name)}


def run_git(
    arguments: Sequence[str],
    *,
    directory: Path,
    options: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Finished:
    """
    Run ``git`` with *arguments* in the repository that contains *directory*, without the repository's hooks, and wait until it ends.

    *options* come before the subcommand, and *variables* are set in addition to those of lamina. Raises the errors of
    `lamina.core.supervised.process.run`.
    """
    from lamina.core.supervised.process import run  # slow to import

    return run(
        ["git", "-c", f"core.hooksPath={os.devnull}", *options, *arguments],
        environment=git_environment() | dict(variables or {}),
        directory=directory,
        separate_errors=True,
    )
