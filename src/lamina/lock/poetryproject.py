"""
Read from ``pyproject.toml`` what Poetry asks for: main, groups, extras, each as requirements in Poetry's own words.

Format: https://python-poetry.org/docs/pyproject/ and https://python-poetry.org/docs/dependency-specification/ (2026-11).
``[project]`` and ``[dependency-groups]`` come from `lamina.lock.pyproject`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from lamina.core.errors import ConfigError
from lamina.lock import pyproject, validation
from lamina.lock.poetryversions import Constraint, parse
from lamina.lock.resolve import Want, applies

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from packaging.requirements import Requirement

    from lamina.core.target import Target

__all__ = ["Dependency", "PoetryProject", "dependencies", "load"]

_LEGACY_KEYS = ("dependencies", "source", "extras", "dev-dependencies")
_DIRECT = ("path", "url", "git", "file")


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependency:
    """One requirement as Poetry writes it."""

    name: str
    """Normalised (PEP 503)."""
    version: Constraint
    python: Constraint
    markers: str | None
    extras: tuple[str, ...]
    """Normalised (PEP 685)."""
    optional: bool
    direct: bool
    """Whether it names its file, directory or repository, so that *version* says nothing."""

    def want(self, target: Target, extras: Collection[str]) -> Want | None:
        """Return what this asks for, or nothing where it does not apply to *target* with *extras* of its parent."""
        if not self.python.takes_python(str(target.markers["python_full_version"])):
            return None
        if not applies(self.markers, extras, target):
            return None
        brackets = f"[{','.join(self.extras)}]" if self.extras else ""
        condition = "" if self.direct or str(self.version) == "*" else f" {self.version}"
        return Want(
            name=self.name,
            takes=(lambda _: True) if self.direct else self.version.contains,
            extras=self.extras,
            worded=f"`{self.name}{brackets}{condition}`",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PoetryProject:
    """What one ``pyproject.toml`` asks Poetry for."""

    path: Path
    name: str | None
    """Normalised (PEP 503)."""
    main: tuple[Dependency, ...]
    """Optional ones among them."""
    extras: Mapping[str, tuple[Dependency, ...]]
    groups: Mapping[str, tuple[Dependency, ...]]
    """Every group but the main one."""
    hashes: Mapping[bool, str]
    """The content hash, with and without ``[dependency-groups]``."""

    def wants(self, target: Target, *, groups: Iterable[str], extras: Collection[str]) -> Iterator[Want]:
        """Yield what is asked for *target*; names that do not exist ask for nothing."""
        chosen = [dependency for dependency in self.main if not dependency.optional]
        for extra in extras:
            chosen += self.extras.get(extra, ())
        for group in groups:
            chosen += self.groups.get(group, ())
        for dependency in chosen:
            if want := dependency.want(target, extras):
                yield want


def load(path: Path) -> PoetryProject | None:
    """Return what the file at *path* asks for, or nothing if it does not exist; `ConfigError` names what cannot be understood."""
    if not path.is_file():
        return None
    document = validation.load(path)
    try:
        return _parse(document, path)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"`{path}` is not what Poetry understands: {error}") from error


def _parse(document: Mapping[str, Any], path: Path) -> PoetryProject:
    standard = pyproject.load(path)
    poetry: Mapping[str, Any] = document.get("tool", {}).get("poetry", {})
    classic = tuple(_table(poetry.get("dependencies", {})))
    # Where `[project]` has dependencies, those of Poetry only say where to take them from.
    places = {dependency.name for dependency in classic if dependency.direct}
    main = classic if standard.dependencies is None else tuple(_standard(standard.dependencies, places))
    by_name: dict[str, list[Dependency]] = {}
    for dependency in classic:
        by_name.setdefault(dependency.name, []).append(dependency)
    extras: dict[str, tuple[Dependency, ...]] = {
        canonicalize_name(extra): tuple(
            found for name in names for found in by_name.get(canonicalize_name(name.partition("[")[0]), ())
        )
        for extra, names in poetry.get("extras", {}).items()
    }
    extras.update({extra: tuple(_standard(entries, places)) for extra, entries in (standard.extras or {}).items()})
    return PoetryProject(
        path=path,
        name=standard.name or (canonicalize_name(poetry["name"]) if "name" in poetry else None),
        main=main,
        extras=extras,
        groups=_groups(poetry, standard.groups, places),
        hashes={with_groups: _content_hash(document, with_groups=with_groups) for with_groups in (True, False)},
    )


def _groups(
    poetry: Mapping[str, Any], standard: Mapping[str, tuple[Requirement, ...]], places: Collection[str]
) -> dict[str, tuple[Dependency, ...]]:
    tables: dict[str, Mapping[str, Any]] = {
        canonicalize_name(group): table for group, table in poetry.get("group", {}).items()
    }
    own: dict[str, list[Dependency]] = {}
    if "dev-dependencies" in poetry:
        own["dev"] = list(_table(poetry["dev-dependencies"]))
    for group, table in tables.items():
        own.setdefault(group, []).extend(_table(table.get("dependencies", {})))
    for group, entries in standard.items():
        own.setdefault(group, []).extend(_standard(entries, places))

    def included(group: str, seen: tuple[str, ...]) -> list[Dependency]:
        further = [canonicalize_name(name) for name in tables.get(group, {}).get("include-groups", ())]
        nested = [found for name in further if name not in seen for found in included(name, (*seen, name))]
        return [*own.get(group, ()), *nested]

    return {group: tuple(included(group, (group,))) for group in own}


def dependencies(name: str, specification: Any) -> Iterator[Dependency]:
    """Yield what ``name = specification`` asks for, as it stands in a ``pyproject.toml`` or a poetry.lock."""
    for each in specification if isinstance(specification, list) else [specification]:
        table: Mapping[str, Any] = {"version": each} if isinstance(each, str) else each
        markers = table.get("markers")
        if platform := table.get("platform"):
            condition = f"sys_platform == '{platform}'"
            markers = f"({markers}) and {condition}" if markers else condition
        yield Dependency(
            name=canonicalize_name(name),
            version=parse(table.get("version", "*")),
            python=parse(table.get("python", "*")),
            markers=markers,
            extras=tuple(canonicalize_name(extra) for extra in table.get("extras", ())),
            optional=bool(table.get("optional", False)),
            direct=any(key in table for key in _DIRECT),
        )


def _table(table: Mapping[str, Any]) -> Iterator[Dependency]:
    for name, specification in table.items():
        if name.lower() != "python":
            yield from dependencies(name, specification)


def _standard(requirements: Iterable[Requirement], places: Collection[str]) -> Iterator[Dependency]:
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        yield Dependency(
            name=name,
            version=parse(str(requirement.specifier) or "*"),
            python=parse("*"),
            markers=str(requirement.marker) if requirement.marker else None,
            extras=tuple(canonicalize_name(extra) for extra in sorted(requirement.extras)),
            optional=False,
            direct=requirement.url is not None or name in places,
        )


def _content_hash(document: Mapping[str, Any], *, with_groups: bool) -> str:
    """
    Return Poetry's hash of what decides a lock.

    The keys are those that Poetry 2.5 hashes, which before 2.3 were the same but for ``[dependency-groups]`` (2026-11);
    where only Poetry's own table matters, it is hashed as it was before ``[project]`` was understood.
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
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
