"""
Read poetry.lock, formats 1.1, 2.0 and 2.1.

Format: https://python-poetry.org/docs/basic-usage/#installing-with-poetrylock (2026-11). Poetry does not document the format in
full, so the key names come from locks written by Poetry 1.2, 1.8 and 2.5. Since format 2.1, each package lists its groups and
its marker. In older formats, lamina finds the needed packages by walking the dependency graph from ``pyproject.toml``. If that
file exists, lamina also walks the graph of format 2.1, because Poetry 2.1.4 omits the marker of an optional dependency that a
group also needs. The lock contains the names and hashes of files, and lamina looks up their URLs in the index.
"""

from __future__ import annotations

import os
import re
from functools import partial
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from lamina.core.errors import LockError
from lamina.core.urls import with_credentials
from lamina.lock import poetryproject, staleness, validation
from lamina.lock.commands import relock
from lamina.lock.graph import LockedVersion
from lamina.lock.markers import holds, parse_marker
from lamina.lock.packages import Hashed, Packages
from lamina.lock.poetryversions import parse
from lamina.lock.reading import LockTable, load_lock, sha256_of, worded, written_by

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from lamina.lock.graph import ActiveDependency
    from lamina.lock.poetryproject import PoetryProject
    from lamina.lock.types import Lock, Request

_COMMAND = "poetry lock"
_MAIN = "main"
_DIRECT = ("directory", "file", "url", "git", "hg", "svn")
_FIRST_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read(request: Request) -> Lock:
    """
    Return the locked packages that the request's target needs, with all markers evaluated.

    Raises the errors of `lamina.lock.formats.read`.
    """
    with written_by("Poetry", request.lock_file, relock(_COMMAND, request.lock_file)):
        return _answer(request, load_lock(request.lock_file, relock(_COMMAND, request.lock_file)))


def _answer(request: Request, document: LockTable) -> Lock:
    path, metadata, rows = request.lock_file.path, document.get_table("metadata"), document.get_tables("package")
    version = _format(metadata, path)
    project = poetryproject.load(request.lock_file.pyproject)
    if project is not None:
        _refuse_stale(project, metadata, rows, request)
    metadata.get_required("python-versions", str)
    validation.python_fits(metadata.get_as("python-versions", parse), request.target, subject=f"`{path}`")
    named = {canonicalize_name(group) for row in rows for group in row.get_strings("groups")}
    groups = (named | set(project.groups if project else ())) - {_MAIN}
    extras = {canonicalize_name(extra) for extra in document.get_table("extras")}
    validation.names_known(request, groups=groups, extras=extras | set(project.extras if project else ()))
    if version >= (2, 1):
        rows = [row for row in rows if _applies(row, request)]
    elif project is None:
        raise LockError(
            f"`{path}` does not list the groups of its packages, and `{request.lock_file.pyproject}` does not exist",
            hint="run `poetry lock` with Poetry 2.1 or newer, or move the lock next to its `pyproject.toml`",
        )
    if project is not None:
        nodes = [
            LockedVersion(name=_name(row), version=_version(row), dependencies=partial(_dependencies, row, request))
            for row in rows
        ]
        rows = [
            rows[position] for position in project.walk(request, nodes, command=relock(_COMMAND, request.lock_file))
        ]
    packages = _packages(rows, metadata, request)
    inputs = (path, project.path) if project else (path,)
    return packages.lock(inputs)


def _format(metadata: LockTable, path: Path) -> tuple[int, int]:
    text = metadata.get_required("lock-version", str)
    found = re.fullmatch(r"(1|2)\.(\d+)", text)
    if found is None or text == "1.0":
        raise LockError(
            f"`{path}` has format version {text}, but lamina supports versions 1.1 to 2.1",
            hint="upgrade lamina, or regenerate the lock with a Poetry release that writes one of these versions",
        )
    return int(found[1]), int(found[2])


def _refuse_stale(project: PoetryProject, metadata: LockTable, rows: Sequence[LockTable], request: Request) -> None:
    """
    Raise `StaleLockError` if Poetry's content hash in the lock does not match the project.

    The error lists the requirements that are not locked, if there are any.
    """
    if metadata.get_required("content-hash", str) in _hashes(project, request.lock_file.path):
        return
    missing = project.unmet(request, [(_name(row), _version(row)) for row in rows])
    staleness.refuse(
        missing or ["dependencies or Poetry settings changed after locking"],
        request,
        relock(_COMMAND, request.lock_file),
    )


def _hashes(project: PoetryProject, path: Path) -> set[str]:
    """Return the content hashes that the Poetry release that wrote the lock at *path* may compute for *project*."""
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    writer = re.search(r"Poetry (\d+)\.(\d+)", first)
    # Poetry hashes PEP 735 dependency groups since 2.3. Old releases do not write their version into the lock.
    knows_groups = writer is not None and (int(writer[1]), int(writer[2])) >= (2, 3)
    return {project.hashes[True]} | (set() if knows_groups else {project.hashes[False]})


def _name(row: LockTable) -> str:
    return canonicalize_name(row.get_required("name", str))


def _version(row: LockTable) -> str:
    return row.get_required("version", str)


def _applies(row: LockTable, request: Request) -> bool:
    """Return whether a locked package is in a selected group, and its marker for that group is true for the target."""
    chosen = {_MAIN, *request.groups}
    groups = [group for group in row.get_strings("groups", required=True) if canonicalize_name(group) in chosen]
    by_group = row.get_table("markers") if row.is_table("markers") else None
    markers = [
        by_group.get_as(group, parse_marker) if by_group else row.get_as("markers", parse_marker) for group in groups
    ]
    return any(holds(marker, request.extras, request.target.markers) for marker in markers)


def _dependencies(row: LockTable, request: Request, extras: Collection[str]) -> Iterator[ActiveDependency]:
    """Yield the dependencies of a locked package with *extras* that apply to the target."""
    switched_on = _switched_on(row.get_table("extras"), extras)
    table = row.get_table("dependencies")
    for name in table:
        for dependency in poetryproject.dependencies(table, name):
            if dependency.optional and dependency.name not in switched_on:
                continue
            if active := dependency.active(request.target, extras):
                yield active


def _switched_on(table: LockTable, extras: Collection[str]) -> set[str]:
    """Return the normalised names of the optional dependencies that *extras* enable, from a package's *table* of extras."""
    chosen = [entry for extra in table if canonicalize_name(extra) in extras for entry in table.get_strings(extra)]
    return {canonicalize_name(found[0]) for entry in chosen if (found := _FIRST_WORD.match(entry))}


def _packages(rows: Sequence[LockTable], metadata: LockTable, request: Request) -> Packages:
    packages = Packages(request, locker="poetry", command=relock(_COMMAND, request.lock_file))
    for row in rows:
        source, files = row.get_table("source"), _files(row, metadata)
        if source.get("type", str) in _DIRECT:
            _add_direct(packages, row, source, files)
        else:
            name, hashes = _name(row), frozenset(digest for _, digest in files)
            locked = Hashed(name=name, version=_version(row), hashes=hashes, indexes=(_index(source),))
            packages.add_hashed(locked, worded(row))
    return packages


def _files(row: LockTable, metadata: LockTable) -> list[tuple[str, str]]:
    """
    Return the names and SHA-256 hashes of the package's files.

    Before format 2.0, a separate table lists the files of all versions of a package together.
    """
    files = row.get_tables("files")
    if "files" not in row:
        marked = re.compile(rf"-{re.escape(_version(row))}(?=-|\.tar\.|\.zip|\.tgz)")
        files = metadata.get_table("files").get_tables(row.get_required("name", str))
        files = [file for file in files if marked.search(file.get_required("file", str))]
    hashed = [(file.get_required("file", str), sha256_of(file.get_required("hash", str))) for file in files]
    return [(name, digest) for name, digest in hashed if digest]


def _index(source: LockTable) -> str | None:
    """
    Return the URL of a package's index, with credentials from Poetry's environment variables.

    ``None`` if *source* is not an index of its own, so that the project's configured indexes are queried.
    """
    if source.get("type", str) != "legacy":
        return None
    url = source.get_required("url", str)
    variable = re.sub(r"[-.]", "_", source.get("reference", str) or "").upper()
    user = os.environ.get(f"POETRY_HTTP_BASIC_{variable}_USERNAME")
    password = os.environ.get(f"POETRY_HTTP_BASIC_{variable}_PASSWORD", "")
    return with_credentials(url, user, password) if user else url


def _add_direct(packages: Packages, row: LockTable, source: LockTable, files: Sequence[tuple[str, str]]) -> None:
    """
    Add a package that is locked to a file, directory or repository; for a file, *files* has the hashes.

    Raises `LockError` if the repository is not git.
    """
    package = {"name": _name(row), "version": _version(row)}
    place, subdirectory = source.get_required("url", str), source.get("subdirectory", str)
    match source.get_required("type", str):
        case "directory":
            packages.add_directory(package, packages.local(place), editable=row.get("develop", bool) or False)
        case "git":
            commit, revision = source.get_required("resolved_reference", str), source.get("reference", str)
            packages.add_git(package, place, commit, revision=revision, subdirectory=subdirectory)
        case "file" | "url" as kind:
            filename = re.split(r"[?#]", place)[0].rpartition("/")[2]
            hashes = {sha256 for name, sha256 in files if name == filename} or {sha256 for _, sha256 in files}
            where = packages.local(place) if kind == "file" else place
            packages.add_archive(package, where, hashes, worded(row), subdirectory=subdirectory)
        case kind:
            raise LockError(
                f"{worded(row)} is in a {kind} repository, but lamina supports only git",
                hint="require the package from git or an index, and regenerate the lock",
            )
