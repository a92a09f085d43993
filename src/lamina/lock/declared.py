"""Find what a project requires itself, whatever its lock file adds to that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.names import normalized
from lamina.lock import pdmproject, poetryproject, pyproject, reading, requirementsfile
from lamina.lock.graph import Dependency, LockedProject
from lamina.lock.offers import AnyFile
from lamina.lock.types import Request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from packaging.requirements import Requirement

    from lamina.core.target import Target
    from lamina.lock.types import LockFile


def declared(
    lock_file: LockFile, target: Target, *, groups: Collection[str], extras: Collection[str]
) -> dict[str, frozenset[str]] | None:
    """
    Return the distributions that the project of *lock_file* requires for *target*, each with the extras that it requests of it.

    All names are normalised. ``None`` if no file of the project lists them, such as beside a ``requirements.txt`` without its source. Raises
    `LockSyntaxError` or `ConfigError` if the file is unreadable or invalid.
    """
    if lock_file.kind == "Pipfile.lock":
        return _of_pipfile(lock_file.path.with_name("Pipfile"), groups)
    project = _project(lock_file)
    if project is None:
        return None
    request = Request(lock_file=lock_file, target=target, groups=tuple(groups), extras=tuple(extras), index=AnyFile())
    found: dict[str, frozenset[str]] = {}
    for each in project.active_dependencies(request):
        found[each.name] = found.get(each.name, frozenset()).union(each.extras)
    own = found.pop(pyproject.load(lock_file.pyproject).name or "", frozenset())
    # An extra can consist of others: `all = ["shop[a,b]"]`.
    return declared(lock_file, target, groups=groups, extras=own.union(extras)) if own.difference(extras) else found


def _project(lock_file: LockFile) -> LockedProject | None:
    if lock_file.kind == "poetry.lock":
        return poetryproject.load(lock_file.pyproject)
    if lock_file.kind == "pdm.lock":
        return pdmproject.load(lock_file.pyproject)
    manifest, source = pyproject.load(lock_file.pyproject), lock_file.path.with_suffix(".in")
    if lock_file.kind == "requirements.txt" and source.is_file():
        lines = requirementsfile.parse(source).entries
        main = _dependencies(each.requirement for each in lines if each.requirement is not None)
    elif manifest.dependencies is None:
        return None
    else:
        main = _dependencies(manifest.dependencies)
    return LockedProject(
        path=manifest.path,
        main=main,
        extras={name: _dependencies(each) for name, each in (manifest.extras or {}).items()},
        groups={name: _dependencies(each) for name, each in manifest.groups.items()},
    )


def _dependencies(requirements: Iterable[Requirement]) -> tuple[Dependency, ...]:
    return tuple(map(Dependency.of, requirements))


def _of_pipfile(path: Path, groups: Iterable[str]) -> dict[str, frozenset[str]] | None:
    if not path.is_file():
        return None
    document = reading.load(path)
    tables = [
        document.get(name) for name in ("packages", *({"dev": "dev-packages"}.get(each, each) for each in groups))
    ]
    return {
        normalized(name): frozenset(map(normalized, row.get("extras", ()))) if isinstance(row, dict) else frozenset()
        for table in tables
        if isinstance(table, dict)
        for name, row in table.items()
    }
