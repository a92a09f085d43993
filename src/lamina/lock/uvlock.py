"""
Read uv.lock, format version 1 with any revision.

Format: https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile (2026-11). uv does not document the format in full,
so the key names come from locks written by uv 0.13.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

from lamina.core.errors import LockError
from lamina.core.frozen import replace
from lamina.core.urls import without_credentials
from lamina.lock import pyproject, staleness, validation
from lamina.lock.commands import relock
from lamina.lock.packages import Packages
from lamina.lock.reading import LayoutError, LockTable, load_lock, sha256_of, worded, written_by
from lamina.lock.uvgraph import reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.lock.types import Lock, LockFile, Request

_FORMAT = 1
_COMMAND = "uv lock"
_LOCAL = ("virtual", "editable", "directory")


def read(request: Request) -> Lock:
    """
    Return the locked packages that the request's target needs, with all markers evaluated.

    The project itself is omitted, because its code belongs in function packages. Raises the errors of
    `lamina.lock.formats.read`.
    """
    with written_by("uv", request.lock_file, relock(_COMMAND, request.lock_file)):
        return _answer(request, load_lock(request.lock_file, relock(_COMMAND, request.lock_file)))


def _answer(request: Request, document: LockTable) -> Lock:
    path, target = request.lock_file.path, request.target
    if (version := document.get_required("version", int)) != _FORMAT:
        raise LockError(
            f"`{path}` has format version {version}, but lamina supports version {_FORMAT}",
            hint=f"upgrade lamina, or regenerate the lock with a uv release that writes format version {_FORMAT}",
        )
    rows = document.get_tables("package")
    root, directory = _root(rows, request.lock_file)
    request = replace(request, lock_file=replace(request.lock_file, project=directory))
    project = pyproject.load(request.lock_file.pyproject)
    workspace = pyproject.load(path.parent / "pyproject.toml")
    validation.python_fits(document.get_as("requires-python", SpecifierSet), target, subject=f"`{path}`")
    staleness.refuse_uv(project, workspace, rows[root], document, request=request)
    validation.some_environment_fits(document.get_sequence_as("supported-markers", Marker), target, path=path)
    # uv omits empty extras and groups.
    groups = {*rows[root].get_table("dev-dependencies"), *project.groups}
    extras = {*rows[root].get_table("optional-dependencies"), *(project.extras or ())}
    validation.names_known(request, groups=groups, extras=extras)
    reached = reach(rows, root, document.get_arrays("conflicts"), request)
    # For a local directory of wheels, uv.lock has no hashes, but an export has them.
    export = relock("uv export --format pylock.toml -o pylock.toml", request.lock_file)
    hashing = f"{relock(_COMMAND, request.lock_file)}` or `{export}"
    packages = Packages(request, locker="uv", command=relock(_COMMAND, request.lock_file), hashing=hashing)
    for position in reached:
        _add(packages, rows[position])
    python = document.get("requires-python", str)
    inputs = dict.fromkeys((path, *(file.path for file in (project, workspace) if file.exists)))
    return packages.lock(tuple(inputs), **({"requires-python": python} if python is not None else {}))


def _root(rows: Sequence[LockTable], lock_file: LockFile) -> tuple[int, Path]:
    """
    Return the position of the project's row, and the project's directory.

    If the lock is configured and does not include the project, it stands for the project beside the lock.
    """
    members = {
        Path(os.path.normpath(lock_file.path.parent / place)): position
        for position, row in enumerate(rows)
        for kind, place in [_source(row)]
        if kind in _LOCAL
    }
    for directory in (lock_file.project, *((lock_file.path.parent,) if lock_file.is_configured else ())):
        if directory in members:
            return members[directory], directory
    names = [rows[position].get_required("name", str) for position in members.values()]
    raise LockError(
        f"`{lock_file.path}` does not include the project in `{lock_file.project}`",
        hint=f"set `--project` to the directory of one of the locked projects: {', '.join(f'`{name}`' for name in names)}"
        if names
        else f"lock the project: run `{relock(_COMMAND, lock_file)}`",
    )


def _source(row: LockTable) -> tuple[str, str]:
    """Return the kind of a package's source, and the source's URL or path."""
    row.get_required("source", dict)
    source = row.get_table("source")
    for kind in ("registry", "git", "url", "path", *_LOCAL):
        if kind in source:
            return kind, source.get_required(kind, str)
    raise LayoutError(f"{worded(row)} has an unsupported source: {', '.join(source)}")


def _add(packages: Packages, row: LockTable) -> None:
    package = {"name": row.get_required("name", str)}
    if version := row.get("version", str):
        package["version"] = version
    kind, place = _source(row)
    match kind:
        case "registry":
            _add_registry(packages, package, row, place)
        case "git":
            _add_git(packages, package, place)
        case "url" | "path":
            _add_archive(packages, package, row, place if kind == "url" else packages.local(place))
        case "virtual":
            # uv installs only the dependencies of a virtual project, not the project itself.
            pass
        case _:
            packages.add_directory(package, packages.local(place), editable=kind == "editable")


def _add_registry(packages: Packages, package: dict[str, Any], row: LockTable, place: str) -> None:
    remote = re.match(r"[a-z][a-z0-9+.-]+://", place, re.IGNORECASE)
    local = packages.local("." if remote else place)
    wheels, sdists = row.get_tables("wheels"), [row.get_table("sdist")] if "sdist" in row else []
    if not all(_sha256(file) for file in wheels or sdists):
        packages.add_unhashed(package["name"], worded(row))
    found: dict[str, Any] = {"index": without_credentials(place) if remote else local.as_uri()}
    if wheels:
        found["wheels"] = [_file(wheel, local) for wheel in packages.near(wheels, _filename)]
    # A source distribution is needed only without wheels, so its missing SHA-256 is no error if there are wheels.
    if any(map(_sha256, sdists)):
        found["sdist"] = _file(sdists[0], local)
    packages.add(package | found)


def _file(row: LockTable, local: Path) -> dict[str, Any]:
    if url := row.get_as("url", without_credentials):
        file: dict[str, Any] = {"url": url}
    else:
        file = {"path": os.path.normpath(local / row.get_required("path", str))}
    if (size := row.get("size", int)) is not None:
        file["size"] = size
    return file | {"hashes": {"sha256": _sha256(row)}}


def _filename(row: LockTable) -> str:
    # The URLs of wheels in locks have no query or fragment. If one did, `near` would only misjudge its tags.
    place = row.get("url", str) or row.get_required("path", str).replace(os.sep, "/")
    return place.rpartition("/")[2]


def _sha256(row: LockTable) -> str | None:
    return sha256_of(row.get("hash", str))


def _add_archive(packages: Packages, package: dict[str, Any], row: LockTable, place: Path | str) -> None:
    file = (*row.get_tables("wheels"), row.get_table("sdist"))[0]
    hashes = [digest for digest in (_sha256(file),) if digest]
    subdirectory = row.get_table("source").get("subdirectory", str)
    packages.add_archive(
        package, place, hashes, worded(row), size=file.get("size", int) or None, subdirectory=subdirectory or None
    )


def _add_git(packages: Packages, package: dict[str, Any], place: str) -> None:
    parts = urlsplit(place)
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    revision = next((query[key] for key in ("branch", "tag", "rev") if key in query), None)
    url = urlunsplit(parts._replace(query="", fragment=""))
    packages.add_git(package, url, parts.fragment, revision=revision, subdirectory=query.get("subdirectory"))
