"""
Read pylock.toml, the standard lock format.

Format: PEP 751, https://packaging.python.org/en/latest/specifications/pylock-toml/ (2026-11).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.markers import Marker
from packaging.pylock import Pylock, PylockValidationError
from packaging.utils import canonicalize_name

from lamina.core.errors import LockSyntaxError
from lamina.core.urls import without_credentials
from lamina.lock import pyproject, staleness, validation
from lamina.lock.commands import relock
from lamina.lock.markers import holds
from lamina.lock.reading import LockTable, load_lock, worded
from lamina.lock.types import Lock

if TYPE_CHECKING:
    from packaging.version import Version

    from lamina.lock.pyproject import Manifest
    from lamina.lock.types import Request


def read(request: Request) -> Lock:
    """
    Return the lock with absolute paths, without credentials, and without the project itself.

    The result has the packages for all targets; `lamina.lock.select` evaluates their markers. Only packages that apply to
    the request's target need a SHA-256. Raises the errors of `lamina.lock.formats.read`.
    """
    path = request.lock_file.path
    document = load_lock(request.lock_file, relock(_command(LockTable({})), request.lock_file))
    command = relock(_command(document), request.lock_file)
    try:
        return _answer(request, document, command)
    except (PylockValidationError, ValueError) as error:
        raise LockSyntaxError(
            f"`{path}` does not follow PEP 751, the format of pylock.toml: {error}",
            hint=f"regenerate the lock: run `{command}`",
        ) from error


def _answer(request: Request, document: LockTable, command: str) -> Lock:
    path = request.lock_file.path
    project = pyproject.load(request.lock_file.pyproject)
    groups = _groups(document, project, request)
    extras, markers = request.extras, request.target.markers
    rows = [row for row in document.get_tables("packages") if not _is_project(row, request)]
    left_out = [row for row in rows if not row.is_table("directory") and request.leaves_out(row.get("name", str) or "")]
    rows = [row for row in rows if row not in left_out]
    unhashed = [row for row in rows if not _hashed(row)]
    needed = [worded(row) for row in unhashed if holds(row.get_as("marker", Marker), extras, markers, groups)]
    validation.hash_missing(needed, path=path, command=command)
    packages = [_placed(row, path.parent) for row in rows if row not in unhashed]
    pylock = Pylock.from_dict({**document.values, "packages": packages})
    validation.python_fits(pylock.requires_python, request.target, subject=f"`{path}`")
    validation.some_environment_fits(pylock.environments or (), request.target, path=path)
    known = map(canonicalize_name, pylock.dependency_groups or ())
    validation.names_known(request, groups=tuple(known), extras=pylock.extras or ())
    pins: dict[str, list[Version | None]] = {}
    for package in pylock.packages:
        if holds(package.marker, extras, markers, groups):
            pins.setdefault(package.name, []).append(package.version)
    staleness.refuse_pins(project, pins, request=request, partial=path.name != "pylock.toml", command=command)
    inputs = (path, project.path) if project.exists else (path,)
    names = {row.get_required("name", str) for row in left_out}
    return Lock(path=path, pylock=pylock, inputs=inputs, groups=groups, extras=extras, left_out=tuple(sorted(names)))


def _groups(document: LockTable, project: Manifest, request: Request) -> tuple[str, ...]:
    """
    Return the requested groups, and the groups in ``default-groups`` that represent the project's own dependencies.

    Only the latter should be in ``default-groups`` (PEP 751). A group that ``pyproject.toml`` declares, or that is named
    ``dev``, is therefore not selected implicitly, even if a tool lists it there.
    """
    declared = {*project.groups, "dev"}
    synthetic = {group for group in document.get_strings("default-groups") if canonicalize_name(group) not in declared}
    return tuple(sorted({*request.groups, *synthetic}))


def _placed(row: LockTable, directory: Path) -> dict[str, Any]:
    """Return a package's table *row* with absolute paths and without credentials."""
    placed = {**row.values}
    for key in ("vcs", "directory", "archive", "sdist"):
        if row.is_table(key):
            placed[key] = _placed_artifact(row.get_table(key), directory)
    if "wheels" in row:
        placed["wheels"] = [_placed_artifact(wheel, directory) for wheel in row.get_tables("wheels")]
    if index := row.get_as("index", without_credentials):
        placed["index"] = index
    return placed


def _placed_artifact(artifact: LockTable, directory: Path) -> dict[str, Any]:
    placed = {**artifact.values}
    if path := artifact.get("path", str):
        placed["path"] = os.path.normpath(directory / path)
    if url := artifact.get_as("url", without_credentials):
        placed["url"] = url
    return placed


def _hashed(row: LockTable) -> bool:
    others = [row.get_table(key) for key in ("archive", "sdist") if row.is_table(key)]
    # A source distribution is needed only without wheels, so its missing SHA-256 is no error if there are wheels.
    return all(each.get_table("hashes").get("sha256", str) for each in row.get_tables("wheels") or others)


def _is_project(row: LockTable, request: Request) -> bool:
    path = row.get_table("directory").get("path", str) if row.is_table("directory") else None
    return (
        path is not None and Path(os.path.normpath(request.lock_file.path.parent / path)) == request.lock_file.project
    )


def _command(document: LockTable) -> str:
    commands = {
        "uv": "uv export --format pylock.toml -o pylock.toml",
        "pdm": "pdm lock",
        "pip": "pip lock",
        "poetry-plugin-export": "poetry export --format pylock.toml -o pylock.toml",
    }
    locker = str(document.values.get("created-by", "")).partition(" ")[0].lower()
    return commands.get(locker, "uv export --format pylock.toml -o pylock.toml")
