"""
Read poetry.lock, formats 1.1, 2.0 and 2.1.

Format: Poetry's own, described nowhere in full (https://python-poetry.org/docs/basic-usage/#installing-with-poetrylock,
2026-11), so the names of keys were taken from locks that Poetry 1.2, 1.8 and 2.5 write. From 2.1 on each package says for
which groups and under which marker it is locked; before, that follows from walking the graph from ``pyproject.toml``. The
graph is walked for 2.1 as well, because for an optional dependency that a group needs too, Poetry 2.1.4 leaves the marker out.
The files have names and hashes; their URLs come from the index.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from packaging.pylock import Pylock, PylockValidationError
from packaging.utils import canonicalize_name

from lamina.core.errors import LockError, LockSyntaxError
from lamina.lock import files as lookup
from lamina.lock import poetryproject, staleness, validation
from lamina.lock.files import Hashed
from lamina.lock.poetryversions import parse
from lamina.lock.resolve import LockedVersion, Want, applies, reach
from lamina.lock.types import Lock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.lock.poetryproject import PoetryProject
    from lamina.lock.types import Request

__all__ = ["read"]

_COMMAND = "poetry lock"
_MAIN = "main"
_DIRECT = ("directory", "file", "url", "git", "hg", "svn")
_FIRST_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read(request: Request) -> Lock:
    """
    Return what the lock holds for the request's target, as if it had been made for that target alone.

    Raises `LockError` and its kinds, and `IndexLookupError` naming all that no index has the locked files of.
    """
    path = request.lock_file.path
    document = validation.load(path)
    try:
        return _answer(request, document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        # Every access below states what the format demands, so the first that fails says what is not as demanded.
        raise LockSyntaxError(
            f"`{path}` is not a poetry.lock as Poetry writes it: {type(error).__name__}: {error}",
            hint=f"lock again: `{_COMMAND}`",
        ) from error


def _answer(request: Request, document: Mapping[str, Any]) -> Lock:
    path = request.lock_file.path
    version = _format(document, path)
    rows: Sequence[Mapping[str, Any]] = document.get("package", [])
    project = poetryproject.load(request.lock_file.pyproject)
    if project is not None:
        _refuse_stale(project, document, rows, request)
    _python_fits(document, request)
    named = {canonicalize_name(group) for row in rows for group in row.get("groups", ())}
    groups = (named | set(project.groups if project else ())) - {_MAIN}
    extras = {canonicalize_name(extra) for extra in document.get("extras", {})}
    validation.names_known(request, groups=groups, extras=extras | set(project.extras if project else ()))
    if version >= (2, 1):
        rows = [row for row in rows if _applies(row, request)]
    elif project is None:
        raise LockError(
            f"`{path}` says not what its packages are for, and there is no `{request.lock_file.pyproject}` to ask",
            hint="lock with Poetry 2 (`poetry lock`), whose locks say it, or put the lock beside its `pyproject.toml`",
        )
    chosen = rows if project is None else _walked(rows, project, request)
    pylock = _pylock(chosen, document, request)
    inputs = (path, project.path) if project else (path,)
    return Lock(path=path, pylock=pylock, inputs=inputs, groups=(), extras=())


def _format(document: Mapping[str, Any], path: Path) -> tuple[int, int]:
    text = str(document.get("metadata", {}).get("lock-version"))
    found = re.fullmatch(r"(1|2)\.(\d+)", text)
    if found is None or text == "1.0":
        raise LockError(
            f"`{path}` has format version {text}, and lamina reads versions 1.1 to 2.1",
            hint="look for a newer lamina, or lock with a Poetry that writes one of them",
        )
    return int(found[1]), int(found[2])


def _python_fits(document: Mapping[str, Any], request: Request) -> None:
    locked, target = parse(document["metadata"]["python-versions"]), request.target
    version = str(target.markers["python_full_version"])
    if not locked.takes_python(version):
        raise LockError(
            f"`{request.lock_file.path}` requires Python {locked}, and `{target.runtime}` is Python {version}",
            hint="set `runtime` to one that the lock takes, or change `requires-python` and lock again",
        )


def _refuse_stale(
    project: PoetryProject, document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], request: Request
) -> None:
    """Raise `StaleLockError` as Poetry would, whose content hash is in the lock; name what differs where it can be seen."""
    if document["metadata"]["content-hash"] in _hashes(project, request.lock_file.path):
        return
    wants = project.wants(request.target, groups=request.groups, extras=request.extras)
    locked = [(canonicalize_name(row["name"]), row["version"]) for row in rows]
    missing = [
        f"{want.worded} is required and not locked"
        for want in wants
        if want.name != project.name and not any(name == want.name and want.takes(version) for name, version in locked)
    ]
    staleness.refuse(missing or ["what Poetry locks from was changed"], request, _COMMAND)


def _hashes(project: PoetryProject, path: Path) -> set[str]:
    """Return the content hashes that the Poetry which wrote the lock at *path* may have computed."""
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    writer = re.search(r"Poetry (\d+)\.(\d+)", first)
    # Before 2.3 the groups of PEP 735 were not hashed; older headers name no version.
    knows_groups = writer is not None and (int(writer[1]), int(writer[2])) >= (2, 3)
    return {project.hashes[True]} | (set() if knows_groups else {project.hashes[False]})


def _applies(row: Mapping[str, Any], request: Request) -> bool:
    """Return whether a package is locked for any chosen group, by its marker there."""
    chosen = {_MAIN, *request.groups}
    markers = row.get("markers")
    return any(
        applies(markers.get(group) if isinstance(markers, dict) else markers, request.extras, request.target)
        for group in row["groups"]
        if canonicalize_name(group) in chosen
    )


def _walked(rows: Sequence[Mapping[str, Any]], project: PoetryProject, request: Request) -> list[Mapping[str, Any]]:
    nodes = [
        LockedVersion(name=canonicalize_name(row["name"]), version=row["version"], needs=_PoetryNeeds(row, request))
        for row in rows
    ]
    roots = project.wants(request.target, groups=request.groups, extras=request.extras)
    positions, unmet = reach([want for want in roots if want.name != project.name], nodes)
    staleness.refuse([f"{want} is required and not locked" for want in unmet], request, _COMMAND)
    return [rows[position] for position in positions]


class _PoetryNeeds:
    """What one locked package requires, with a choice of its extras."""

    def __init__(self, row: Mapping[str, Any], request: Request) -> None:
        self._row = row
        self._request = request

    def __call__(self, extras: Collection[str]) -> Iterator[Want]:
        switched_on = self._switched_on(extras)
        for name, specification in self._row.get("dependencies", {}).items():
            for dependency in poetryproject.dependencies(name, specification):
                if dependency.optional and dependency.name not in switched_on:
                    continue
                if want := dependency.want(self._request.target, extras):
                    yield want

    def _switched_on(self, extras: Collection[str]) -> set[str]:
        """Return the names of the optional dependencies that *extras* of the package ask for."""
        names: set[str] = set()
        for extra, entries in self._row.get("extras", {}).items():
            if canonicalize_name(extra) in extras:
                names |= {canonicalize_name(found[0]) for entry in entries if (found := _FIRST_WORD.match(entry))}
        return names


def _pylock(rows: Sequence[Mapping[str, Any]], document: Mapping[str, Any], request: Request) -> Pylock:
    path = request.lock_file.path
    packages: list[dict[str, Any]] = []
    hashed: list[Hashed] = []
    unhashed: list[str] = []
    for row in rows:
        source: Mapping[str, Any] = row.get("source", {})
        if source.get("type") in _DIRECT:
            packages += _direct(row, source, document, request, unhashed)
            continue
        hashes = _sha256(_files(row, document))
        if not hashes:
            unhashed.append(_worded(row))
        name = canonicalize_name(row["name"])
        hashed.append(Hashed(name=name, version=row["version"], hashes=hashes, indexes=(_index(source),)))
    validation.hash_missing(unhashed, path=path, command=_COMMAND)
    packages += lookup.packages(hashed, request)
    try:
        return Pylock.from_dict({"lock-version": "1.0", "created-by": "poetry", "packages": packages})
    except PylockValidationError as error:
        raise LockSyntaxError(f"`{path}` holds what cannot be: {error}", hint=f"lock again: `{_COMMAND}`") from error


def _files(row: Mapping[str, Any], document: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """Return names and hashes; before 2.0 they stand together for all versions of a name."""
    if "files" in row:
        return list(row["files"])
    files = document["metadata"].get("files", {}).get(row["name"], [])
    marked = re.compile(rf"-{re.escape(row['version'])}(?=-|\.tar\.|\.zip|\.tgz)")
    return [file for file in files if marked.search(file["file"])]


def _sha256(files: Sequence[Mapping[str, str]]) -> frozenset[str]:
    return frozenset(
        file["hash"].removeprefix("sha256:").lower() for file in files if file["hash"].startswith("sha256:")
    )


def _index(source: Mapping[str, Any]) -> str | None:
    """Return the URL of a configured source, with the credentials that Poetry takes from the environment."""
    if source.get("type") != "legacy":
        return None
    url, variable = str(source["url"]), re.sub(r"[-.]", "_", str(source.get("reference", ""))).upper()
    user = os.environ.get(f"POETRY_HTTP_BASIC_{variable}_USERNAME")
    password = os.environ.get(f"POETRY_HTTP_BASIC_{variable}_PASSWORD", "")
    return validation.with_credentials(url, user, password) if user else url


def _direct(
    row: Mapping[str, Any],
    source: Mapping[str, Any],
    document: Mapping[str, Any],
    request: Request,
    unhashed: list[str],
) -> list[dict[str, Any]]:
    """Return the PEP 751 table of what names its place, or nothing for the project itself; see `read` for *unhashed*."""
    package: dict[str, Any] = {"name": canonicalize_name(row["name"]), "version": row["version"]}
    place = str(source["url"])
    local = os.path.normpath(request.lock_file.path.parent / place)
    subdirectory = {"subdirectory": source["subdirectory"]} if "subdirectory" in source else {}
    match source["type"]:
        case "directory":
            directory = {"path": local, "editable": bool(row.get("develop", False))}
            return [] if local == str(request.lock_file.project) else [package | {"directory": directory}]
        case "git":
            vcs = {
                "type": "git",
                "url": validation.without_credentials(place),
                "commit-id": source["resolved_reference"],
            }
            requested = {"requested-revision": source["reference"]} if "reference" in source else {}
            return [package | {"vcs": vcs | requested | subdirectory}]
        case "file" | "url":
            files = _files(row, document)
            filename = re.split(r"[?#]", place)[0].rpartition("/")[2]
            hashes = _sha256([file for file in files if file["file"] == filename] or files)
            if len(hashes) != 1:
                unhashed.append(_worded(row))
                return []
            where = {"path": local} if source["type"] == "file" else {"url": validation.without_credentials(place)}
            return [package | {"archive": where | {"hashes": {"sha256": min(hashes)}} | subdirectory}]
        case kind:
            raise LockError(f"{_worded(row)} is in a {kind} repository, and only git is read", hint="take it from git")


def _worded(row: Mapping[str, Any]) -> str:
    return f"`{row['name']}` {row['version']}"
