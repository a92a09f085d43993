"""Find the lock that a proposed service will use, or the command that creates it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lamina.core.errors import LockError, LockNotFoundError
from lamina.core.names import normalized
from lamina.core.paths import relative_path
from lamina.lock import formats
from lamina.lock.commands import LOCKED_REQUIREMENTS, REQUIREMENTS, compile_command, lock_command
from lamina.lock.requirementsfile import is_hashed
from lamina.pipeline.proposal.values import ProposedLock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from lamina.core.target import Target


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
        return ProposedLock(path=None, command=lock_command(directory, document, target) or f"touch {REQUIREMENTS}")
    except LockError:
        # Several locks of the same kind: the build explains how to choose one.
        return ProposedLock(path=None)
    if found.kind == REQUIREMENTS and not is_hashed(found.path):
        return _from_requirements(directory, [found.path], target)
    return ProposedLock(path=found.path)


def _from_requirements(directory: Path, requirements: Sequence[Path], target: Target) -> ProposedLock:
    if len(requirements) == 1 and is_hashed(requirements[0]):
        path = requirements[0]
        own = path.parent == directory and path.name == REQUIREMENTS
        return ProposedLock(path=path, configured=None if own else relative_path(path, directory))
    lock = directory / LOCKED_REQUIREMENTS
    files = [relative_path(path, directory) for path in requirements]
    command = compile_command(files, target, output=lock.name) if not lock.is_file() else None
    return ProposedLock(path=lock, configured=lock.name, command=command)


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
