"""Write requirements into a project with the package manager that made its lock file."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from lamina.adopt.files import as_before
from lamina.adopt.sources import changes_of_files, changes_of_manifest
from lamina.bytecode.interpreter import find_uv
from lamina.core.errors import ConfigError, LockError, StartError
from lamina.core.files import replace_file
from lamina.core.frozen import frozen
from lamina.core.paths import relative_path
from lamina.core.supervised.process import run
from lamina.core.urls import without_url_secrets
from lamina.lock.commands import located, recompilation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lamina.adopt.sources import ChangedFile, RequirementChange
    from lamina.core.target import Target
    from lamina.lock.types import LockFile

_SHOWN_LINES = 20
_SHOWN_ERRORS = 3
_LONGEST_LINE = 500
_MOST_SECONDS = 1800.0
"""The longest time for a package manager, which may build packages to find out what they require."""
# A frame of a traceback: the line that names the file, and those with its source.
_FRAME = re.compile(r"^  File \".*\n(?:    .*\n)*", re.MULTILINE)
_ADDING = {
    # None of these changes an environment: they only write the manifest and the lock.
    "uv.lock": (("uv", "add", "--no-sync"), "pyproject.toml"),
    "poetry.lock": (("poetry", "add", "--lock", "--no-interaction"), "pyproject.toml"),
    "pdm.lock": (("pdm", "--non-interactive", "add", "--no-sync"), "pyproject.toml"),
    "Pipfile.lock": (("pipenv", "upgrade"), "Pipfile"),
}


@frozen
class Adding:
    """How a project's requirements are changed and locked again."""

    directory: Path
    """The absolute path of the directory that the commands run in."""
    commands: tuple[tuple[str, ...], ...]
    files: tuple[Path, ...]
    """The absolute paths of all files that are written."""
    changes: tuple[RequirementChange, ...]
    edited: tuple[ChangedFile, ...] = ()
    """The requirements files to write before the commands run; empty if the first command edits the manifest."""

    @property
    def shown(self) -> tuple[str, ...]:
        """The requirements that change, and the commands that run, one line each."""
        return (*self.shown_changes, *(f"run {command}" for command in self.shown_commands))

    @property
    def shown_changes(self) -> tuple[str, ...]:
        """The requirements that change, such as ``in requirements.in: `a>=1` → `a==1.2` ``."""
        return tuple(
            f"in {relative_path(each.file, os.curdir)}: "
            + (f"`{each.new}` (new)" if each.old is None else f"`{each.old}` → `{each.new}`")
            for each in self.changes
        )

    @property
    def shown_commands(self) -> tuple[str, ...]:
        """The commands that run, to paste."""
        return tuple(located(shlex.join(command), self.directory) for command in self.commands)


def adding(requirements: Sequence[str], lock_file: LockFile, targets: Sequence[Target]) -> Adding:
    """
    Return how to add *requirements* to the project of *lock_file* with its package manager, and lock them for the first of *targets*.

    Raises `ConfigError` if the lock file does not tell which program made it from what, or if a requirement that the project has would lose
    something, and the errors of reading the files that state requirements.
    """
    wanted = [Requirement(each) for each in requirements]
    if lock_file.kind in _ADDING:
        command, name = _ADDING[lock_file.kind]
        directory = lock_file.project if lock_file.kind == "uv.lock" else lock_file.path.parent
        manifest = directory / name
        changes = changes_of_manifest(manifest, wanted, targets)
        return Adding(
            directory=directory,
            commands=((*command, *(each.new for each in changes)),),
            # PDM also records the interpreter that it chose.
            files=(manifest, lock_file.path, directory / ".pdm-python"),
            changes=changes,
        )
    compiled = recompilation(lock_file.path, targets[0]) if lock_file.kind == "requirements.txt" else None
    if compiled is None or compiled[1].suffix not in {".in", ".toml"}:
        listed = "\n".join(requirements)
        fact = (
            f"lamina does not know which program made `{lock_file.path.name}`"
            if compiled is None
            else f"`{lock_file.path.name}` is compiled from `{compiled[1].name}`, which lamina does not edit"
        )
        raise ConfigError(
            f"{fact}, so it cannot add requirements to it",
            hint=f"add these requirements yourself, and lock them:\n{listed}",
        )
    command, source = compiled
    directory = lock_file.path.parent
    if source.suffix == ".in":
        others = [directory / word for word in command if word.endswith(".in") and (directory / word).is_file()]
        edited, changes = changes_of_files([*dict.fromkeys((source, *others))], wanted, targets)
        return Adding(
            directory=directory,
            commands=(command,),
            files=(*(each.path for each in edited), lock_file.path),
            changes=changes,
            edited=edited,
        )
    changes = changes_of_manifest(source, wanted, targets)
    return Adding(
        directory=directory,
        commands=(("uv", "add", "--frozen", *(each.new for each in changes)), command),
        files=(source, lock_file.path),
        changes=changes,
    )


def add(plan: Adding, *, seconds: float = _MOST_SECONDS) -> None:
    """
    Write the requirements of *plan* and lock them. Each command may take *seconds*.

    Raises `ConfigError` if a program is not installed, and `LockError` with the end of its output if it fails or does not end.
    """
    programs = {command[0]: _program(command, plan) for command in plan.commands}
    for file in plan.edited:
        replace_file(file.path, file.content.encode())
    for command in plan.commands:
        arguments = [programs[command[0]], *command[1:]]
        try:
            done = run(arguments, environment=_environment(), directory=plan.directory, seconds=seconds)
        except StartError as error:
            raise ConfigError(str(error), hint=error.hint) from error
        if done is None or done.code:
            fact = "does not end" if done is None else f"ended with exit code {done.code}"
            said = [] if done is None else _said(done.output)
            raise LockError(
                f"`{command[0]}` could not add the requirements: `{shlex.join(command)}` {fact}",
                hint="\n".join((f"{as_before(plan.files)}; the last lines of its output:", *said))
                if said
                else f"{as_before(plan.files)}; run the command yourself, and look why",
            )


def _said(output: bytes) -> list[str]:
    """Return the last lines of the *output* of a package manager, with its errors, but without frames of tracebacks and secrets of URLs."""
    text = without_url_secrets(output.decode("utf-8", "replace"))
    lines = [line[:_LONGEST_LINE] for line in _FRAME.sub("", text).splitlines() if line.strip()]
    errors = [line for line in lines[:-_SHOWN_LINES] if line.lower().startswith("error")]
    return [*errors[:_SHOWN_ERRORS], *lines[-_SHOWN_LINES:]]


def _program(command: Sequence[str], plan: Adding) -> str:
    program = command[0]
    found = find_uv() if program == "uv" else shutil.which(program)
    if found is None:
        raise ConfigError(
            f"`{program}`, which writes the lock file of this project, is not installed or not on `PATH`",
            hint="\n".join(("run where it is installed, or add the requirements yourself:", *plan.shown)),
        )
    return found


def _environment() -> Mapping[str, str]:
    # The package manager is the user's, with its own settings and credentials of indexes, and it locks for no environment.
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
