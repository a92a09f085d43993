"""Find the lock that a proposed service will use, or the command that creates it."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from lamina.core.errors import LockError, LockNotFoundError
from lamina.core.names import normalized
from lamina.core.paths import relative_path
from lamina.lock import formats
from lamina.pipeline.proposal.values import ProposedLock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from lamina.core.target import Target

REQUIREMENTS = "requirements.txt"
_LOCKED_REQUIREMENTS = "requirements-lock.txt"
_HASH = re.compile(rb"\s--hash[=\s]\s*sha256:")
_REQUIREMENT = re.compile(rb"^\s*(?:[A-Za-z0-9]|-[rce]\b|--(?:requirement|constraint|editable)\b)", re.MULTILINE)
# The oldest glibc 2.x minor version that uv has a platform name of its own for, except manylinux2014 (uv 0.9, 2026-11).
_OLDEST_NAMED_GLIBC = 28


def propose_lock(
    directory: Path, document: dict[str, Any], requirements: Sequence[Path], target: Target
) -> ProposedLock:
    """
    Return the lock of the service in *directory*, whose ``pyproject.toml`` has the content *document*.

    *requirements* are the requirements files that a template's functions and layers use; empty if the service has a manifest
    of its own.
    """
    if requirements:
        return _from_requirements(directory, requirements, target)
    try:
        found = formats.find(directory)
    except LockNotFoundError:
        # Without dependencies, an empty requirements file is the lock.
        return ProposedLock(path=None, command=_lock_command(directory, document, target) or f"touch {REQUIREMENTS}")
    except LockError:
        # Several locks of the same kind: the build explains how to choose one.
        return ProposedLock(path=None)
    if found.kind == REQUIREMENTS and not is_hashed(found.path):
        return _from_requirements(directory, [found.path], target)
    return ProposedLock(path=found.path)


def is_hashed(path: Path) -> bool:
    """Return whether the requirements file *path* has hashes, or has no requirements."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return _HASH.search(content) is not None or _REQUIREMENT.search(content) is None


def _from_requirements(directory: Path, requirements: Sequence[Path], target: Target) -> ProposedLock:
    if len(requirements) == 1 and is_hashed(requirements[0]):
        path = requirements[0]
        own = path.parent == directory and path.name == REQUIREMENTS
        return ProposedLock(path=path, configured=None if own else relative_path(path, directory))
    lock = directory / _LOCKED_REQUIREMENTS
    files = [relative_path(path, directory) for path in requirements]
    command = _compile_command(files, target) if not lock.is_file() else None
    return ProposedLock(path=lock, configured=lock.name, command=command)


def _lock_command(directory: Path, document: dict[str, Any], target: Target) -> str | None:
    """Return the command that locks the project in *directory*, or ``None`` if it declares no dependencies."""
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
    inputs = [name for name in ("requirements.in", "setup.py", "setup.cfg") if (directory / name).is_file()]
    return _compile_command(inputs[:1], target, output=REQUIREMENTS) if inputs else None


def _compile_command(files: Sequence[str], target: Target, *, output: str = _LOCKED_REQUIREMENTS) -> str:
    machine, minor = target.architecture.machine, target.glibc[1]
    platform = f"{machine}-manylinux_2_{minor}" if minor >= _OLDEST_NAMED_GLIBC else f"{machine}-manylinux2014"
    python = f"{target.python[0]}.{target.python[1]}"
    words = ["uv", "pip", "compile", "--generate-hashes", "--python-version", python, "--python-platform", platform]
    return shlex.join([*words, *files, "-o", output])


def named_like(document: dict[str, Any], names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the dependency groups and the extras of a project whose name is one of *names*, ignoring case and separators."""
    wanted = {normalized(name) for name in names} | {normalized(_dashed(name)) for name in names}
    groups = tuple(name for name in _groups(document) if normalized(name) in wanted)
    project = document.get("project")
    extras = project.get("optional-dependencies") if isinstance(project, dict) else None
    return groups, tuple(name for name in (extras if isinstance(extras, dict) else ()) if normalized(name) in wanted)


def _groups(document: dict[str, Any]) -> Iterator[str]:
    groups = document.get("dependency-groups")
    yield from groups if isinstance(groups, dict) else ()
    poetry: Any = document
    for key in ("tool", "poetry", "group"):
        poetry = poetry.get(key) if isinstance(poetry, dict) else None
    yield from poetry if isinstance(poetry, dict) else ()


def _dashed(name: str) -> str:
    """Return a CamelCase name with dashes: ``CreateOrder`` becomes ``Create-Order``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)
