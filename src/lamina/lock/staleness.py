"""
Compare a lock with ``pyproject.toml``, and raise `StaleLockError` listing every difference.

Markers are compared by their value for the target instead of their text, because lock tools rewrite the text. A difference
that affects only other platforms is therefore ignored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs, urlsplit

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from lamina.core.errors import StaleLockError
from lamina.lock.commands import relock
from lamina.lock.pyproject import origin_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from packaging.requirements import Requirement

    from lamina.core.target import Target
    from lamina.lock.pyproject import Manifest
    from lamina.lock.reading import LockTable
    from lamina.lock.types import Request

# Python versions that cover every bound a project is likely to set.
_MINORS = ("2.7", *(f"3.{minor}" for minor in range(6, 25)), "4.0")


def refuse_uv(project: Manifest, workspace: Manifest, row: LockTable, document: LockTable, *, request: Request) -> None:
    """
    Raise `StaleLockError` unless a uv.lock matches the current requirements of *project*, if there is a ``pyproject.toml``.

    *document* is the lock, and *row* is the project's own package in it. *workspace* is the ``pyproject.toml`` in the lock's
    directory; the ``[tool.uv.sources]`` there apply to all members of the workspace.
    """
    if not project.exists:
        return
    comparison = _UvComparison({**workspace.origins, **project.origins}, request.target)
    metadata = row.get_table("metadata")
    differences = _python_differences(project, document)
    if project.dependencies is not None and "metadata" in row:
        asked = [(requirement, "") for requirement in project.dependencies]
        extras = project.extras or {}
        asked += [(requirement, extra) for extra, entries in extras.items() for requirement in entries]
        scopes = ("", *extras) if project.extras is not None else ("",)
        differences += comparison.differences(asked, metadata.get_tables("requires-dist"), scopes)
    if "metadata" in row:
        locked = metadata.get_table("requires-dev")
        for group in sorted({*project.groups, *locked}):
            entries = [(requirement, "") for requirement in project.groups.get(group, ())]
            differences += [
                f"{difference} (group `{group}`)"
                for difference in comparison.differences(entries, locked.get_tables(group), ("",))
            ]
    refuse(differences, request, relock("uv lock", request.lock_file))


def refuse_pins(
    project: Manifest, pins: Mapping[str, Collection[Version | None]], *, request: Request, partial: bool, command: str
) -> None:
    """
    Raise `StaleLockError` unless *pins* satisfies every direct dependency of *project* that applies to the target.

    *pins* maps normalised names to the locked versions, with ``None`` for a package without a version. If *partial* is true,
    as for a ``pylock.<name>.toml``, the lock may lack dependencies. Those that the request leaves out may be missing too.
    *command* regenerates the lock.
    """
    wanted = [(requirement, "") for requirement in project.dependencies or ()]
    for extra in request.extras:
        wanted += [(requirement, extra) for requirement in (project.extras or {}).get(extra, ())]
    for group in request.groups:
        wanted += [(requirement, "") for requirement in project.groups.get(group, ())]
    differences: list[str] = []
    for requirement, extra in wanted:
        name = canonicalize_name(requirement.name)
        if name == project.name or request.leaves_out(name) or not _applies(requirement.marker, extra, request.target):
            continue
        if name not in pins:
            differences += [] if partial else [f"`{_worded(requirement)}` is required but not locked"]
        else:
            differences += [
                f"`{_worded(requirement)}` is required but {version} is locked"
                for version in pins[name]
                if version is not None and not requirement.specifier.contains(version, prereleases=True)
            ]
    refuse(differences, request, command)


def refuse(differences: Iterable[str], request: Request, command: str, *, manifest: Path | None = None) -> None:
    """
    Raise `StaleLockError` listing the *differences*, if there are any.

    *command* regenerates the lock. *manifest* is the file that the lock was generated from, if not ``pyproject.toml``.
    """
    named = sorted(set(differences))
    if named:
        raise StaleLockError(
            f"`{request.lock_file.path}` does not match `{manifest or request.lock_file.pyproject}`: {'; '.join(named)}",
            hint=f"regenerate the lock: run `{command}`",
        )


class _UvComparison:
    """Compares the requirements of a ``pyproject.toml`` with those in a uv.lock, for one target."""

    def __init__(self, origins: Mapping[str, str | None], target: Target) -> None:
        self._origins = origins
        self._target = target

    def differences(
        self, asked: Iterable[tuple[Requirement, str]], locked: Iterable[LockTable], scopes: Collection[str]
    ) -> list[str]:
        """
        Return the requirements that are only in *asked* or only in *locked*, formatted for errors.

        *asked* has pairs of a requirement and the extra that it belongs to. Markers are evaluated once for each extra in
        *scopes*. In both, ``""`` means no extra.
        """
        wanted = {
            (self._asked(requirement), scope)
            for requirement, scope in asked
            if _applies(requirement.marker, scope, self._target)
        }
        held: set[tuple[str, str]] = set()
        for row in locked:
            marker = row.get_as("marker", Marker)
            # A requirement that applies without an extra also applies with every extra; report it once.
            applicable = [scope for scope in scopes if _applies(marker, scope, self._target)]
            held |= {(self._locked(row), scope) for scope in (applicable[:1] if "" in applicable else applicable)}
        return [
            *(f"{_scoped(*difference)} is required but not locked" for difference in wanted - held),
            *(f"{_scoped(*difference)} is locked but not required" for difference in held - wanted),
        ]

    def _asked(self, requirement: Requirement) -> str:
        name = canonicalize_name(requirement.name)
        origin = self._origins.get(name, "registry") if requirement.url is None else _url_origin(requirement.url)
        return _canonical(name, requirement.extras, str(requirement.specifier), origin)

    def _locked(self, row: LockTable) -> str:
        keys = dict.fromkeys(row, "")
        if repository := row.get("git", str):
            keys |= {key: values[0] for key, values in parse_qs(urlsplit(repository).query).items()}
        name = row.get_required("name", str)
        origin = None if self._origins.get(name, "") is None else origin_of(keys)
        return _canonical(name, row.get_strings("extras"), row.get("specifier", str) or "", origin)


def _scoped(requirement: str, extra: str) -> str:
    return f"`{requirement}`" + (f" (extra `{extra}`)" if extra else "")


def _canonical(name: str, extras: Iterable[str], specifier: str, origin: str | None) -> str:
    brackets = ",".join(sorted(canonicalize_name(extra) for extra in extras))
    # uv locks the specifier only for packages from an index.
    condition = _specifier(specifier) if origin == "registry" else f" from {origin}" if origin else ""
    return f"{name}{f'[{brackets}]' if brackets else ''}{condition}"


def _specifier(specifier: str) -> str:
    return ",".join(sorted(f"{clause.operator}{_version(clause.version)}" for clause in SpecifierSet(specifier)))


def _version(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion:
        # A prefix such as `1.*`, or the arbitrary text after `===`.
        return text


def _url_origin(url: str) -> str:
    scheme = urlsplit(url).scheme
    if scheme.startswith("git+"):
        path = urlsplit(url).path
        return f"git {path.rpartition('@')[2]}" if "@" in path else "git"
    return "local" if scheme == "file" else "url"


def _worded(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def _applies(marker: Marker | None, extra: str, target: Target) -> bool:
    return marker is None or marker.evaluate({**cast("Mapping[str, str]", target.markers), "extra": extra})


def _python_differences(project: Manifest, document: LockTable) -> list[str]:
    locked = document.get_as("requires-python", SpecifierSet)
    asked = project.requires_python
    if asked is None or locked is None:
        return []
    named = {Version(number) for number in re.findall(r"\d+(?:\.\d+)*", f"{asked} {locked}")}
    neighbours = {Version(f"{version.major}.{version.minor}.{version.micro + 1}") for version in named}
    samples = {*named, *neighbours, *(Version(f"{minor}.{patch}") for minor in _MINORS for patch in (0, 999))}
    only_locked = any(version in locked and version not in asked for version in samples)
    only_asked = any(version in asked and version not in locked for version in samples)
    # A workspace is locked only for the Python versions that all its members support.
    alone = len(document.get_table("manifest").get_strings("members")) <= 1
    if only_locked or (only_asked and alone):
        return [f"`requires-python` is `{asked}`, but was `{locked}` when the lock was generated"]
    return []
