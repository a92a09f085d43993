"""Finish the commands that create a lock: for a target, and for the directory in which the user runs lamina."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.core.frozen import frozen
from lamina.core.paths import relative_path
from lamina.lock import pyproject
from lamina.lock.reading import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.core.target import Target
    from lamina.lock.types import LockFile

REQUIREMENTS = "requirements.txt"
LOCKED_REQUIREMENTS = "requirements-lock.txt"
"""The name of the lock that is compiled from a ``requirements.txt`` that a person wrote."""
_TOOLS = {"uv.lock": "uv", "poetry.lock": "poetry", "pdm.lock": "pdm", "Pipfile.lock": "pipenv"}
# The oldest glibc 2.x minor version that uv has a platform name of its own for, except manylinux2014 (uv 0.9, 2026-11).
_OLDEST_NAMED_GLIBC = 28


@frozen
class Compilation:
    """The command that compiles a requirements file with hashes."""

    command: str
    output: Path
    """The absolute path of the file that the command writes."""


def lock_command(directory: Path, document: dict[str, Any], target: Target) -> str | None:
    """
    Return the command that locks the project in *directory*, or ``None`` if it declares no dependencies.

    *document* is the content of its ``pyproject.toml``; empty if there is none. The command runs in *directory*.
    """
    tool = document.get("tool")
    tools = tool if isinstance(tool, dict) else {}
    if "poetry" in tools:
        return "poetry lock"
    if "pdm" in tools:
        return "pdm lock"
    if "project" in document:
        return f"uv lock --python {target.python[0]}.{target.python[1]}"
    if (directory / "Pipfile").is_file():
        return "pipenv lock"
    if inputs := _inputs(directory, Path(REQUIREMENTS).stem):
        return compile_command(inputs[:1], target, output=REQUIREMENTS)
    return None


def creation(path: Path, target: Target) -> str | None:
    """
    Return the command that creates the lock file *path* for *target*, or ``None`` if the files beside it do not tell.

    A ``requirements.txt`` does not tell: a service's lock may have been compiled from several of them.
    """
    directory = path.parent
    manifest = directory / "pyproject.toml"
    if path.suffix == ".txt":
        inputs = [] if path.name == LOCKED_REQUIREMENTS else _sources(path)
        command = compile_command(inputs[:1], target, output=path.name) if inputs else None
    else:
        command = lock_command(directory, load(manifest) if manifest.is_file() else {}, target)
        if command is None or not command.startswith(f"{_TOOLS.get(path.name)} lock"):
            return None
    return None if command is None else located(command, directory)


def compile_command(files: Sequence[str], target: Target, *, output: str, options: Sequence[str] = ()) -> str:
    """Return the command that compiles the requirements in *files* for *target*, with hashes, to the file *output*."""
    machine, minor = target.architecture.machine, target.glibc[1]
    platform = f"{machine}-manylinux_2_{minor}" if minor >= _OLDEST_NAMED_GLIBC else f"{machine}-manylinux2014"
    python = f"{target.python[0]}.{target.python[1]}"
    words = ["uv", "pip", "compile", "--generate-hashes", "--python-version", python, "--python-platform", platform]
    return shlex.join([*words, *options, *files, "-o", output])


def compilation(path: Path, target: Target, *, options: Sequence[str] = ()) -> Compilation:
    """
    Return the command that compiles the requirements file *path* for *target*, from what it was compiled from before.

    If nothing beside *path* is such a source, a person wrote *path* itself, and the command writes another file.
    """
    directory = path.parent
    inputs = _sources(path)
    output = path if inputs else path.with_name(LOCKED_REQUIREMENTS)
    command = compile_command(inputs[:1] or [path.name], target, output=output.name, options=options)
    return Compilation(command=located(command, directory), output=output)


def recompilation(path: Path, target: Target) -> tuple[tuple[str, ...], Path] | None:
    """
    Return the command that compiles the requirements file *path* again, in its directory, and the absolute path of what it is compiled from.

    The command is the one that made *path*, if its first lines name it and it works there; else one for *target*. ``None`` if nothing
    beside *path* is a source. Raises `OSError` and `UnicodeError` if *path* cannot be read.
    """
    from lamina.lock.requirementsfile import compiler, output_of, read_text

    if not (inputs := _sources(path)):
        return None
    source, words = inputs[0], compiler(read_text(path))
    output = output_of(words)
    is_default = output is None and path.stem == Path(source).stem and words[:1] == ("pip-compile",)
    if source in words and words[:2] != ("uv", "export") and (output == path.name or is_default):
        return words, path.with_name(source)
    if words[:1] == ("pip-compile",):
        return ("pip-compile", "--generate-hashes", "--output-file", path.name, source), path.with_name(source)
    return tuple(shlex.split(compile_command([source], target, output=path.name))), path.with_name(source)


def located(command: str, directory: Path) -> str:
    """Return *command*, which has to run in *directory*, so that it works in the current directory."""
    place = min(relative_path(directory, os.curdir), str(directory), key=len)
    return command if place == os.curdir else f"(cd {shlex.quote(place)} && {command})"


def relock(command: str, lock_file: LockFile) -> str:
    """Return *command*, which writes *lock_file* in its directory, so that it works in the current directory."""
    return located(command, lock_file.path.parent)


def _sources(path: Path) -> list[str]:
    """Return the names of the files that the requirements file *path* can be compiled from, the best one first."""
    inputs = _inputs(path.parent, path.stem)
    manifest = path.with_name("pyproject.toml")
    # A `.in` file is the most specific source, and a script is an older form of the manifest.
    if inputs[:1] != [f"{path.stem}.in"] and pyproject.load(manifest).name is not None:
        return [manifest.name]
    return inputs


def _inputs(directory: Path, stem: str) -> list[str]:
    return [name for name in (f"{stem}.in", "setup.py", "setup.cfg") if (directory / name).is_file()]
