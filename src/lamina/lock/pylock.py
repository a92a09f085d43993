"""
Read pylock.toml, the lock format that tools share.

Format: PEP 751, https://packaging.python.org/en/latest/specifications/pylock-toml/ (2026-11).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from packaging.markers import InvalidMarker, Marker
from packaging.pylock import Pylock, PylockValidationError
from packaging.utils import canonicalize_name

from lamina.core.errors import LockSyntaxError
from lamina.lock import pyproject, staleness, validation
from lamina.lock.types import Lock

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.pylock import Package
    from packaging.version import Version

    from lamina.lock.pyproject import Manifest
    from lamina.lock.types import Request

__all__ = ["read"]


def read(request: Request) -> Lock:
    """
    Return the lock as it is, with absolute paths and without the project itself.

    Its markers are left to `lamina.lock.select`, except that artifacts without SHA-256 are refused where they apply.
    """
    path = request.lock_file.path
    document = validation.load(path)
    project = pyproject.load(request.lock_file.pyproject)
    groups = _groups(document, project, request)
    variables = _variables(request, groups)
    packages = [_placed(row, path.parent) for row in _rows(document, "packages")]
    unhashed = [position for position, row in enumerate(packages) if not _hashed(row)]
    offenders = [packages[position] for position in unhashed if _row_applies(packages[position], variables, path)]
    validation.hash_missing([_worded(row) for row in offenders], path=path, command=_command(document))
    kept = [
        row for position, row in enumerate(packages) if position not in set(unhashed) and not _is_project(row, request)
    ]
    try:
        pylock = Pylock.from_dict({**document, "packages": kept})
    except PylockValidationError as error:
        raise LockSyntaxError(
            f"`{path}` is not what PEP 751 demands: {error}", hint=f"lock again: `{_command(document)}`"
        ) from error
    validation.python_fits(pylock.requires_python, request.target, subject=f"`{path}`")
    validation.some_environment_fits(pylock.environments or (), request.target, path=path)
    known = map(canonicalize_name, pylock.dependency_groups or ())
    validation.names_known(request, groups=known, extras=pylock.extras or ())
    staleness.refuse_pins(
        project,
        _pins(pylock, variables),
        request=request,
        partial=path.name != "pylock.toml",
        command=_command(document),
    )
    inputs = (path, project.path) if project.exists else (path,)
    return Lock(path=path, pylock=pylock, inputs=inputs, groups=groups, extras=request.extras)


def _groups(document: Mapping[str, Any], project: Manifest, request: Request) -> tuple[str, ...]:
    """
    Return the requested groups and the synthetic ones that stand for the project's own dependencies.

    PEP 751 means ``default-groups`` for just those; a development group that a locker lists there is not implied.
    """
    declared = {*project.groups, "dev"}
    defaults = document.get("default-groups")
    synthetic = {str(group) for group in defaults} if isinstance(defaults, list) else set()
    return tuple(sorted({*request.groups, *(group for group in synthetic if canonicalize_name(group) not in declared)}))


def _variables(request: Request, groups: tuple[str, ...]) -> dict[str, str | frozenset[str]]:
    markers = cast("Mapping[str, str]", request.target.markers)
    return {**markers, "extras": frozenset(request.extras), "dependency_groups": frozenset(groups)}


def _rows(table: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the array of tables at *key*; `LockSyntaxError` if it is something else."""
    rows = table.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise LockSyntaxError(f"`{key}` is not an array of tables", hint="lock again")
    return rows


def _placed(row: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Return *row* with absolute paths and without credentials."""
    placed = {**row}
    for key in ("vcs", "directory", "archive", "sdist"):
        if isinstance(row.get(key), dict):
            placed[key] = _placed_artifact(row[key], directory)
    if "wheels" in row:
        placed["wheels"] = [_placed_artifact(wheel, directory) for wheel in _rows(row, "wheels")]
    if isinstance(row.get("index"), str):
        placed["index"] = validation.without_credentials(row["index"])
    return placed


def _placed_artifact(artifact: dict[str, Any], directory: Path) -> dict[str, Any]:
    placed = {**artifact}
    if isinstance(artifact.get("path"), str):
        placed["path"] = os.path.normpath(directory / artifact["path"])
    if isinstance(artifact.get("url"), str):
        placed["url"] = validation.without_credentials(artifact["url"])
    return placed


def _hashed(row: Mapping[str, Any]) -> bool:
    wheels = _rows(row, "wheels")
    others = [row[key] for key in ("archive", "sdist") if isinstance(row.get(key), dict)]
    # A source distribution is only needed where no wheel fits, so one without SHA-256 does not spoil the wheels.
    return all(
        isinstance(artifact.get("hashes"), Mapping) and artifact["hashes"].get("sha256")
        for artifact in wheels or others
    )


def _row_applies(row: Mapping[str, Any], variables: Mapping[str, str | frozenset[str]], path: Path) -> bool:
    try:
        return "marker" not in row or Marker(row["marker"]).evaluate(variables, context="lock_file")
    except InvalidMarker as error:
        raise LockSyntaxError(f"`{path}` has a marker that cannot be understood: {error}") from error


def _is_project(row: Mapping[str, Any], request: Request) -> bool:
    directory = row.get("directory")
    return isinstance(directory, dict) and directory.get("path") == str(request.lock_file.project)


def _pins(pylock: Pylock, variables: Mapping[str, str | frozenset[str]]) -> dict[str, list[Version | None]]:
    pins: dict[str, list[Version | None]] = {}
    for package in pylock.packages:
        if _applies(package, variables):
            pins.setdefault(package.name, []).append(package.version)
    return pins


def _applies(package: Package, variables: Mapping[str, str | frozenset[str]]) -> bool:
    return package.marker is None or package.marker.evaluate(variables, context="lock_file")


def _worded(row: Mapping[str, Any]) -> str:
    return f"`{row.get('name')}` {row.get('version', '')}".strip()


def _command(document: Mapping[str, Any]) -> str:
    commands = {
        "uv": "uv export --format pylock.toml",
        "pdm": "pdm lock",
        "pip": "pip lock",
        "poetry-plugin-export": "poetry export --format pylock.toml",
    }
    locker = str(document.get("created-by", "")).partition(" ")[0].lower()
    return commands.get(locker, "uv export --format pylock.toml")
