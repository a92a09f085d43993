"""
Read the parts of ``pyproject.toml`` that PDM locks: ``[project]``, dependency groups, and ``[tool.pdm]``.

Format: https://pdm-project.org/en/latest/reference/pep621/ and https://pdm-project.org/en/latest/reference/configuration/ (2026-11).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from lamina.core.errors import ConfigError
from lamina.core.frozen import frozen
from lamina.core.urls import with_credentials
from lamina.lock import pyproject, reading
from lamina.lock.graph import Dependency, LockedProject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from packaging.specifiers import SpecifierSet

# A direct reference that is not a PEP 508 requirement: `-e file:///${PROJECT_ROOT}/shared#egg=shared`.
_EDITABLE = re.compile(r"^-e\s+\S*?#egg=([A-Za-z0-9._-]+)|^-e\s+\S*?([A-Za-z0-9._-]+)/?$")


@frozen
class PdmProject(LockedProject):
    """The requirements in a ``pyproject.toml``, as PDM reads them."""

    requires_python: SpecifierSet | None
    overridden: frozenset[str]
    """The normalised names of the packages in ``[tool.pdm.resolution.overrides]``; any locked version of them is allowed."""
    indexes: tuple[str | None, ...]
    """The index URLs to query, as in `lamina.lock.packages.Hashed`; they may contain credentials."""
    hashes: frozenset[str]
    """The content hash of the project as each PDM release with lock format 4 computes it."""
    is_workspace: bool


def load(path: Path) -> PdmProject | None:
    """
    Read the ``pyproject.toml`` at *path*, or return ``None`` if it does not exist.

    Raises `LockSyntaxError` if the file is unreadable or not TOML, and `ConfigError` if its contents are invalid.
    """
    if not path.is_file():
        return None
    document = reading.load(path)
    try:
        return _parse(document, path)
    except (AttributeError, KeyError, TypeError, InvalidRequirement) as error:
        raise ConfigError(f"`{path}` is not a valid PDM configuration: {error}") from error


def _parse(document: Mapping[str, Any], path: Path) -> PdmProject:
    standard = pyproject.load(path)
    pdm: Mapping[str, Any] = document.get("tool", {}).get("pdm", {})
    overridden = frozenset(canonicalize_name(name) for name in pdm.get("resolution", {}).get("overrides", {}))

    def dependencies(requirements: Iterable[Requirement]) -> tuple[Dependency, ...]:
        return tuple(Dependency.of(each, free=canonicalize_name(each.name) in overridden) for each in requirements)

    groups = {group: dependencies(entries) for group, entries in standard.groups.items()}
    for group, entries in pdm.get("dev-dependencies", {}).items():
        name = canonicalize_name(group)
        groups[name] = (*groups.get(name, ()), *dependencies(map(_requirement, entries)))
    return PdmProject(
        path=path,
        main=dependencies(standard.dependencies or ()),
        extras={extra: dependencies(entries) for extra, entries in (standard.extras or {}).items()},
        groups=groups,
        requires_python=standard.requires_python,
        overridden=overridden,
        indexes=tuple(_indexes(pdm.get("source", ()))),
        hashes=frozenset(_content_hashes(document, pdm)),
        is_workspace="workspace" in pdm,
    )


def _requirement(text: str) -> Requirement:
    if found := _EDITABLE.match(text):
        # Only the name is needed: the lock has the URL or path.
        return Requirement(f"{found[1] or found[2]} @ file:///")
    return Requirement(text)


def _indexes(sources: Iterable[Mapping[str, Any]]) -> Iterator[str | None]:
    """
    Yield the index URLs in ``[[tool.pdm.source]]``, then ``None`` for the indexes configured elsewhere.

    ``None`` is omitted if a source named ``pypi`` replaces the default index. URLs include the configured credentials.
    """
    replaced = False
    for source in sources:
        if source.get("type", "index") != "index":
            continue
        url = _expanded(source["url"])
        if "username" in source:
            url = with_credentials(url, _expanded(source["username"]), _expanded(source.get("password", "")))
        replaced |= source.get("name") == "pypi"
        yield url
    if not replaced:
        yield None


def _expanded(text: str) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], found[0]), text)


def _content_hashes(document: Mapping[str, Any], pdm: Mapping[str, Any]) -> Iterator[str]:
    """
    Yield the content hashes of a ``pyproject.toml`` that different PDM releases compute.

    PDM 2.15 and later hash the whole ``resolution`` table, earlier releases only its overrides (2026-11).
    """
    project = document.get("project", {})
    development: dict[str, list[Any]] = {
        canonicalize_name(group): list(entries) for group, entries in document.get("dependency-groups", {}).items()
    }
    for group, entries in pdm.get("dev-dependencies", {}).items():
        development.setdefault(canonicalize_name(group), []).extend(entries)
    content = {
        "sources": pdm.get("source", []),
        "dependencies": project.get("dependencies", []),
        "optional-dependencies": project.get("optional-dependencies", {}),
        "requires-python": project.get("requires-python", ""),
    }
    resolution = pdm.get("resolution", {})
    for groups in (development, pdm.get("dev-dependencies", {})):
        for last in ({"resolution": resolution}, {"overrides": resolution.get("overrides", {})}):
            hashed = json.dumps({**content, "dev-dependencies": groups, **last}, sort_keys=True, default=str)
            yield hashlib.sha256(hashed.encode()).hexdigest()
