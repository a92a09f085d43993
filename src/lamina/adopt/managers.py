"""Write requirements into a project with the package manager that made its lock file."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement

from lamina.bytecode.interpreter import find_uv
from lamina.core.errors import ConfigError, LockError, StartError
from lamina.core.files import read_file, replace_file
from lamina.core.frozen import frozen
from lamina.core.names import normalized
from lamina.core.supervised.process import run
from lamina.core.text import decoded
from lamina.core.urls import without_url_secrets
from lamina.lock.commands import located, recompilation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from lamina.core.target import Target
    from lamina.lock.types import LockFile

_SHOWN_LINES = 20
_ADDING = {
    # None of these changes an environment: they only write the manifest and the lock.
    "uv.lock": (("uv", "add", "--no-sync"), "pyproject.toml"),
    "poetry.lock": (("poetry", "add", "--lock", "--no-interaction"), "pyproject.toml"),
    "pdm.lock": (("pdm", "--non-interactive", "add", "--no-sync"), "pyproject.toml"),
    "Pipfile.lock": (("pipenv", "upgrade"), "Pipfile"),
}
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


@frozen
class Adding:
    """How a project's requirements are changed and locked again."""

    directory: Path
    """The absolute path of the directory that the commands run in."""
    commands: tuple[tuple[str, ...], ...]
    files: tuple[Path, ...]
    """The absolute paths of all files that are written."""
    source: Path | None = None
    """The requirements file to edit before the commands run; ``None`` if the first command edits the manifest."""
    lines: tuple[str, ...] = ()
    """The requirements to write into *source*."""

    @property
    def shown(self) -> tuple[str, ...]:
        """What is done, as commands to paste."""
        edit = (
            ()
            if self.source is None
            else (f"printf '%s\\n' {shlex.join(self.lines)} >> {shlex.quote(self.source.name)}",)
        )
        return tuple(located(command, self.directory) for command in (*edit, *map(shlex.join, self.commands)))


def adding(requirements: Sequence[str], lock_file: LockFile, target: Target) -> Adding:
    """
    Return how to add *requirements* to the project of *lock_file* with its package manager, and lock them for *target*.

    Raises `ConfigError` if the lock file does not tell which program made it from what.
    """
    if lock_file.kind in _ADDING:
        command, manifest = _ADDING[lock_file.kind]
        directory = lock_file.project if lock_file.kind == "uv.lock" else lock_file.path.parent
        return Adding(
            directory=directory,
            commands=((*command, *requirements),),
            # PDM also records the interpreter that it chose.
            files=(directory / manifest, lock_file.path, directory / ".pdm-python"),
        )
    compiled = recompilation(lock_file.path, target) if lock_file.kind == "requirements.txt" else None
    if compiled is None:
        listed = "\n".join(requirements)
        raise ConfigError(
            f"lamina does not know which program made `{lock_file.path.name}`, so it cannot add requirements to it",
            hint=f"add these requirements yourself, and lock them:\n{listed}",
        )
    command, source = compiled
    directory = lock_file.path.parent
    if source.name != "pyproject.toml":
        return Adding(
            directory=directory,
            commands=(command,),
            files=(source, lock_file.path),
            source=source,
            lines=tuple(requirements),
        )
    return Adding(
        directory=directory,
        commands=(("uv", "add", "--frozen", *requirements), command),
        files=(source, lock_file.path),
    )


def add(plan: Adding) -> None:
    """
    Write the requirements of *plan* and lock them.

    Raises `ConfigError` if a program is not installed, and `LockError` with the end of its output if it fails.
    """
    programs = {command[0]: _program(command, plan) for command in plan.commands}
    if plan.source is not None:
        content = decoded(read_file(plan.source))
        replace_file(plan.source, edited(content, plan.lines).encode())
    for command in plan.commands:
        try:
            done = run([programs[command[0]], *command[1:]], environment=_environment(), directory=plan.directory)
        except StartError as error:
            raise ConfigError(str(error), hint=error.hint) from error
        if done.code:
            said = without_url_secrets(done.output.decode("utf-8", "replace")).strip().splitlines()
            raise LockError(
                f"`{command[0]}` could not add the requirements: `{shlex.join(command)}` ended with exit code {done.code}",
                hint="\n".join(("the files are as before; the last lines of its output:", *said[-_SHOWN_LINES:])),
            )


def edited(content: str, requirements: Iterable[str]) -> str:
    """Return the *content* of a requirements file with *requirements*, each in place of that of the same distribution."""
    wanted = {normalized(Requirement(each).name): each for each in requirements}
    lines = []
    for line in content.splitlines():
        found = _NAME.match(line)
        name = normalized(found[1]) if found is not None and _is_requirement(line) else ""
        lines.append(wanted.pop(name, line))
    return "\n".join((*lines, *wanted.values(), ""))


def _is_requirement(line: str) -> bool:
    try:
        Requirement(line.partition(" #")[0].strip())
    except InvalidRequirement:
        return False
    return True


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
