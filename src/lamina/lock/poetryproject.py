"""
Read the parts of ``pyproject.toml`` that Poetry locks: main dependencies, groups and extras.

Format: https://python-poetry.org/docs/pyproject/ and https://python-poetry.org/docs/dependency-specification/ (2026-11).
`lamina.lock.pyproject` reads ``[project]`` and ``[dependency-groups]``.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from lamina.core.errors import ConfigError
from lamina.core.frozen import frozen, replace
from lamina.lock import pyproject, reading
from lamina.lock.graph import Dependency, LockedProject, any_version
from lamina.lock.markers import parse_marker
from lamina.lock.poetryversions import Constraint, parse
from lamina.lock.reading import LockTable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from packaging.requirements import Requirement

    from lamina.lock.pyproject import Manifest

_LEGACY_KEYS = ("dependencies", "source", "extras", "dev-dependencies")
_DIRECT = ("path", "url", "git", "file")


@frozen
class PoetryProject(LockedProject):
    """The requirements in a ``pyproject.toml``, as Poetry reads them."""

    hashes: Mapping[bool, str]
    """Poetry's content hashes: ``True`` has the one with ``[dependency-groups]``, ``False`` the one without."""


def load(path: Path) -> PoetryProject | None:
    """
    Read the ``pyproject.toml`` at *path*, or return ``None`` if it does not exist.

    Raises `LockSyntaxError` if the file is unreadable or not TOML, and `ConfigError` if its contents are invalid.
    """
    if not path.is_file():
        return None
    standard, document = pyproject.load(path), reading.load(path)
    try:
        poetry = LockTable(document).get_table("tool").get_table("poetry")
        return _parse(standard, poetry, document)
    except ValueError as error:
        raise ConfigError(f"`{path}` is not a valid Poetry configuration: {error}") from error


def _parse(standard: Manifest, poetry: LockTable, document: Mapping[str, Any]) -> PoetryProject:
    classic = tuple(_table(poetry.get_table("dependencies")))
    # If `[project]` has dependencies, those in `[tool.poetry]` only define their sources.
    places = {dependency.name for dependency in classic if dependency.allows is any_version}
    main = classic if standard.dependencies is None else tuple(_standard(standard.dependencies, places))
    by_name: dict[str, list[Dependency]] = {}
    for dependency in classic:
        by_name.setdefault(dependency.name, []).append(dependency)
    extras: dict[str, tuple[Dependency, ...]] = {}
    named = poetry.get_table("extras")
    for extra in named:
        names = [canonicalize_name(name.partition("[")[0]) for name in named.get_strings(extra)]
        extras[str(canonicalize_name(extra))] = tuple(found for name in names for found in by_name.get(name, ()))
    for extra, entries in (standard.extras or {}).items():
        extras[extra] = tuple(_standard(entries, places))
    return PoetryProject(
        path=standard.path,
        name=standard.name or poetry.get_as("name", canonicalize_name),
        main=main,
        extras=extras,
        groups=_groups(poetry, standard.groups, places),
        hashes={with_groups: _content_hash(document, with_groups=with_groups) for with_groups in (True, False)},
    )


def _groups(
    poetry: LockTable, standard: Mapping[str, tuple[Requirement, ...]], places: Collection[str]
) -> dict[str, tuple[Dependency, ...]]:
    table = poetry.get_table("group")
    tables = {str(canonicalize_name(group)): table.get_table(group) for group in table}
    own: dict[str, list[Dependency]] = {}
    if "dev-dependencies" in poetry:
        own["dev"] = list(_table(poetry.get_table("dev-dependencies")))
    for group, each in tables.items():
        own.setdefault(group, []).extend(_table(each.get_table("dependencies")))
    for group, entries in standard.items():
        own.setdefault(group, []).extend(_standard(entries, places))

    def included(group: str, seen: tuple[str, ...]) -> list[Dependency]:
        further = tables[group].get_sequence_as("include-groups", canonicalize_name) if group in tables else []
        nested = [found for name in further if name not in seen for found in included(name, (*seen, name))]
        return [*own.get(group, ()), *nested]

    return {group: tuple(included(group, (group,))) for group in own}


def dependencies(table: LockTable, name: str) -> Iterator[Dependency]:
    """
    Yield the dependencies on the package *name* in *table*, a table of dependencies in a ``pyproject.toml`` or poetry.lock.

    There are several if *table* specifies the package several times, for example once for each platform.
    """
    for each in table.get_each(name):
        if isinstance(each, str):
            yield _dependency(name, parse(each))
            continue
        marker = each.get("markers", str)
        if platform := each.get("platform", str):
            condition = f"sys_platform == '{platform}'"
            marker = f"({marker}) and {condition}" if marker else condition
        yield replace(
            _dependency(name, each.get_as("version", parse) or parse("*"), direct=any(key in each for key in _DIRECT)),
            allows_python=python.allows_python if (python := each.get_as("python", parse)) else None,
            marker=parse_marker(marker) if marker else None,
            extras=tuple(each.get_sequence_as("extras", canonicalize_name)),
            optional=each.get("optional", bool) or False,
        )


def _dependency(name: str, version: Constraint, *, direct: bool = False) -> Dependency:
    return Dependency(
        name=canonicalize_name(name),
        allows=any_version if direct else version.contains,
        condition="" if direct or str(version) == "*" else f" {version}",
    )


def _table(table: LockTable) -> Iterator[Dependency]:
    for name in table:
        if name.lower() != "python":
            yield from dependencies(table, name)


def _standard(requirements: Iterable[Requirement], places: Collection[str]) -> Iterator[Dependency]:
    for requirement in requirements:
        found = Dependency.of(requirement, free=canonicalize_name(requirement.name) in places)
        shown = "" if found.allows is any_version or not found.condition else f" {found.condition}"
        yield replace(found, condition=shown)


def _content_hash(document: Mapping[str, Any], *, with_groups: bool) -> str:
    """
    Return Poetry's content hash of a ``pyproject.toml``.

    Poetry hashes ``[dependency-groups]`` since 2.3; *with_groups* includes them (checked with Poetry 2.5, 2026-11). A file
    with requirements only in ``[tool.poetry]`` has the same hash as before Poetry supported ``[project]``.
    """
    project = document.get("project", {})
    poetry = document.get("tool", {}).get("poetry", {})
    standard = {
        key: project[key] for key in ("requires-python", "dependencies", "optional-dependencies") if key in project
    }
    groups = document.get("dependency-groups", {}) if with_groups else {}
    own = {
        key: poetry.get(key)
        for key in (*_LEGACY_KEYS, "group")
        if poetry.get(key) is not None or (key in _LEGACY_KEYS and not standard and not groups)
    }
    content: dict[str, Any] = {}
    if standard:
        content["project"] = standard
    if groups:
        content["dependency-groups"] = groups
    content = content | {"tool": {"poetry": own}} if content else own
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
