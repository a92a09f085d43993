"""Read the parts of ``pyproject.toml`` that a lock has to match: dependencies, extras, groups and the Python version."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from lamina.core.errors import ConfigError
from lamina.lock import reading
from lamina.lock.reading import LockTable
from lamina.lock.requirementsfile import is_quotable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_MOST_GROUPS = 100
_REFERENCES = ("rev", "tag", "branch")


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The requirements in a ``pyproject.toml``; all empty if the file does not exist."""

    path: Path
    exists: bool = False
    name: str | None = None
    """The project's normalised name (PEP 503)."""
    requires_python: SpecifierSet | None = None
    dependencies: tuple[Requirement, ...] | None = None
    """The project's dependencies; ``None`` if there is no ``[project]`` table, or if the dependencies are dynamic."""
    extras: Mapping[str, tuple[Requirement, ...]] | None = None
    groups: Mapping[str, tuple[Requirement, ...]] = field(default_factory=dict)
    """Dependency groups (PEP 735), with included groups expanded."""
    origins: Mapping[str, str | None] = field(default_factory=dict)
    """The origin, from `origin_of`, of each package in ``[tool.uv.sources]``; ``None`` if it depends on a condition."""


def load(path: Path) -> Manifest:
    """
    Read the ``pyproject.toml`` at *path*; the file may not exist.

    Raises `LockSyntaxError` if the file is unreadable or not TOML, and `ConfigError` if it does not follow its specification.
    """
    if not path.is_file():
        return Manifest(path=path)
    try:
        return _parse_document(LockTable(reading.load(path)), path)
    except ValueError as error:
        raise ConfigError(f"`{path}` does not follow the `pyproject.toml` specification: {error}") from error


def origin_of(keys: Mapping[str, str]) -> str:
    """
    Return the origin of a requirement: ``registry``, ``local``, ``url``, ``git``, or ``git main`` for the revision ``main``.

    *keys* is the requirement's entry in ``[tool.uv.sources]`` or in ``requires-dist`` of a uv.lock.
    """
    if "git" in keys:
        reference = next((keys[key] for key in _REFERENCES if key in keys), "")
        return f"git {reference}".strip()
    if "url" in keys:
        return "url"
    return "local" if {"path", "workspace", "editable", "directory", "virtual"} & keys.keys() else "registry"


def _parse_document(document: LockTable, path: Path) -> Manifest:
    project, uv = document.get_table("project"), document.get_table("tool").get_table("uv")
    dynamic = project.get_strings("dynamic") if "project" in document else ["dependencies", "optional-dependencies"]
    extras, sources = project.get_table("optional-dependencies"), uv.get_table("sources")
    return Manifest(
        path=path,
        exists=True,
        name=project.get_as("name", canonicalize_name),
        requires_python=project.get_as("requires-python", SpecifierSet),
        dependencies=None if "dependencies" in dynamic else _parse(project.get_strings("dependencies"), path),
        extras=None
        if "optional-dependencies" in dynamic
        else {canonicalize_name(extra): _parse(extras.get_strings(extra), path) for extra in extras},
        groups=_groups(document.get_table("dependency-groups"), uv, path),
        origins={canonicalize_name(name): _origin(sources, name) for name in sources},
    )


def _origin(sources: LockTable, name: str) -> str | None:
    if not sources.is_table(name) or {"marker", "extra", "group"}.intersection(source := sources.get_table(name)):
        return None
    return origin_of({key: (source.get(key, str) or "") if key in _REFERENCES else "" for key in source})


def _parse(requirements: Iterable[str], path: Path) -> tuple[Requirement, ...]:
    parsed = []
    for text in requirements:
        try:
            parsed.append(Requirement(text))
        except InvalidRequirement as error:
            # The error quotes the requirement, which may have a URL with a password.
            reason = f": {error}" if is_quotable(text) else ""
            raise ConfigError(f"`{path}` has an invalid requirement{reason}") from None
    return tuple(parsed)


def _groups(groups: LockTable, uv: LockTable, path: Path) -> dict[str, tuple[Requirement, ...]]:
    by_name: dict[str, list[str | LockTable]] = {canonicalize_name(name): groups.get_each(name) for name in groups}
    if "dev-dependencies" in uv:
        # uv's name for the group `dev`, from before dependency groups were standardised.
        by_name["dev"] = [*by_name.get("dev", ()), *uv.get_strings("dev-dependencies")]

    def flatten(name: str, including: tuple[str, ...]) -> list[str]:
        if name in including or name not in by_name:
            problem = "includes itself" if name in including else "includes an unknown group"
            chain = " → ".join(f"`{group}`" for group in (*including, name))
            raise ConfigError(f"`{path}` has a dependency group that {problem}: {chain}")
        if len(including) > _MOST_GROUPS:
            raise ConfigError(
                f"`{path}` has dependency groups that include each other over more than {_MOST_GROUPS} groups"
            )
        flat: list[str] = []
        for entry in by_name[name]:
            if isinstance(entry, str):
                flat.append(entry)
            else:
                flat += flatten(canonicalize_name(entry.get_required("include-group", str)), (*including, name))
        return flat

    return {name: _parse(flatten(name, ()), path) for name in by_name}
