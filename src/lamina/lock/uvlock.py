"""
Read uv.lock, format version 1 of any revision.

Format: https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile (2026-11); it is uv's own and described nowhere in
full, so the names of keys were taken from locks that uv 0.13 writes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from packaging.markers import Marker
from packaging.pylock import Pylock, PylockValidationError
from packaging.specifiers import SpecifierSet

from lamina.core.errors import LockError, LockSyntaxError
from lamina.lock import pyproject, staleness, validation
from lamina.lock.types import Lock
from lamina.lock.uvgraph import ConflictItem, Edge, Graph, UvPackage, reach
from lamina.lock.wheelnames import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lamina.lock.types import LockFile, Request

__all__ = ["read"]

_FORMAT = 1
_LOCAL = ("virtual", "editable", "directory")


def read(request: Request) -> Lock:
    """
    Return what the lock holds for the request's target, as if it had been made for that target alone.

    The project itself is left out: its code goes into function packages.
    """
    path = request.lock_file.path
    document = validation.load(path)
    if document.get("version") != _FORMAT:
        raise LockError(
            f"`{path}` has format version {document.get('version')}, and lamina reads version {_FORMAT}",
            hint="look for a newer lamina, or lock with a uv that writes version 1",
        )
    try:
        return _answer(request, document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        # Every access below states what the format demands, so the first that fails says what is not as demanded.
        raise LockSyntaxError(
            f"`{path}` is not a uv.lock as uv writes it: {type(error).__name__}: {error}", hint="lock again: `uv lock`"
        ) from error


def _answer(request: Request, document: Mapping[str, Any]) -> Lock:
    path, target = request.lock_file.path, request.target
    rows: list[Mapping[str, Any]] = document.get("package", [])
    root = _root(rows, request.lock_file)
    project = pyproject.load(request.lock_file.pyproject)
    workspace = pyproject.load(path.parent / "pyproject.toml")
    validation.python_fits(SpecifierSet(document.get("requires-python", "")), target, subject=f"`{path}`")
    staleness.refuse_uv(project, workspace, rows[root], document, request=request)
    supported = [Marker(marker) for marker in document.get("supported-markers", [])]
    validation.some_environment_fits(supported, target, path=path)
    graph = Graph(nodes=tuple(_node(row) for row in rows), conflicts=_conflicts(document))
    node = graph.nodes[root]
    # uv writes no row for an extra or a group that is empty.
    groups, extras = {*node.groups, *project.groups}, {*node.extras, *(project.extras or ())}
    validation.names_known(request, groups=groups, extras=extras)
    reached = reach(graph, root, groups=request.groups, extras=request.extras, markers=target.markers)
    pylock = _pylock([rows[position] for position in reached], document, request)
    inputs = dict.fromkeys((path, *(file.path for file in (project, workspace) if file.exists)))
    return Lock(path=path, pylock=pylock, inputs=tuple(inputs), groups=(), extras=())


def _root(rows: Sequence[Mapping[str, Any]], lock_file: LockFile) -> int:
    directory = lock_file.path.parent
    members: list[str] = []
    for position, row in enumerate(rows):
        kind, place = _source(row)
        if kind not in _LOCAL:
            continue
        if _absolute(place, directory) == lock_file.project:
            return position
        members.append(row["name"])
    raise LockError(
        f"`{lock_file.path}` does not lock the project in `{lock_file.project}`",
        hint=f"it locks: {', '.join(f'`{name}`' for name in members)}; name a member's directory with `--project`"
        if members
        else "lock it: `uv lock`",
    )


def _source(row: Mapping[str, Any]) -> tuple[str, str]:
    known = ("registry", "git", "url", "path", *_LOCAL)
    source = row["source"]
    for kind in known:
        if kind in source:
            return kind, source[kind]
    raise LockSyntaxError(f"`{row['name']}` has a source that lamina does not know: {', '.join(source)}")


def _absolute(place: str, directory: Path) -> Path:
    # Not resolved: a symbolic link inside a repository is part of how it names its projects.
    return Path(os.path.normpath(directory / place))


def _node(row: Mapping[str, Any]) -> UvPackage:
    return UvPackage(
        name=row["name"],
        version=row.get("version"),
        source=_frozen(row["source"]),
        dependencies=_edges(row.get("dependencies", ())),
        extras={name: _edges(edges) for name, edges in row.get("optional-dependencies", {}).items()},
        groups={name: _edges(edges) for name, edges in row.get("dev-dependencies", {}).items()},
    )


def _edges(rows: Iterable[Mapping[str, Any]]) -> tuple[Edge, ...]:
    return tuple(
        Edge(
            name=row["name"],
            version=row.get("version"),
            source=_frozen(row["source"]) if "source" in row else None,
            extras=tuple(row.get("extra", ())),
            marker=row.get("marker"),
        )
        for row in rows
    )


def _frozen(source: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(source.items()))


def _conflicts(document: Mapping[str, Any]) -> tuple[frozenset[ConflictItem], ...]:
    return tuple(
        frozenset(
            ConflictItem(package=item["package"], extra=item.get("extra"), group=item.get("group")) for item in conflict
        )
        for conflict in document.get("conflicts", ())
    )


def _pylock(rows: Iterable[Mapping[str, Any]], document: Mapping[str, Any], request: Request) -> Pylock:
    path = request.lock_file.path
    unhashed: list[str] = []
    packages = [_package(row, path.parent, unhashed) for row in rows if "virtual" not in row["source"]]
    for package in packages:
        if "wheels" in package:
            package["wheels"] = near(package["wheels"], _filename, request.target)
    # For a directory of wheels uv locks no hashes, but exports them.
    validation.hash_missing(unhashed, path=path, command="uv lock` or `uv export --format pylock.toml")
    converted = {"lock-version": "1.0", "created-by": "uv", "packages": packages}
    if "requires-python" in document:
        converted["requires-python"] = document["requires-python"]
    try:
        return Pylock.from_dict(converted)
    except PylockValidationError as error:
        raise LockSyntaxError(f"`{path}` holds what cannot be: {error}", hint="lock again: `uv lock`") from error


def _package(row: Mapping[str, Any], directory: Path, unhashed: list[str]) -> dict[str, Any]:
    """
    Return the PEP 751 table for *row*; names of artifacts without SHA-256 are appended to *unhashed*.

    Virtual packages never come here: uv calls a project virtual that is not to be installed, only its dependencies are.
    """
    package: dict[str, Any] = {"name": row["name"]}
    if "version" in row:
        package["version"] = row["version"]
    kind, place = _source(row)
    match kind:
        case "registry":
            package |= _registry(row, place, directory, unhashed)
        case "git":
            package["vcs"] = _vcs(place)
        case "url":
            package["archive"] = {"url": validation.without_credentials(place)} | _archive(row, unhashed)
        case "path":
            package["archive"] = {"path": str(_absolute(place, directory))} | _archive(row, unhashed)
        case _:
            package["directory"] = {"path": str(_absolute(place, directory)), "editable": kind == "editable"}
    return package


def _registry(row: Mapping[str, Any], place: str, directory: Path, unhashed: list[str]) -> dict[str, Any]:
    remote = re.match(r"[a-z][a-z0-9+.-]+://", place, re.IGNORECASE)
    local = directory if remote else _absolute(place, directory)
    converted: dict[str, Any] = {"index": validation.without_credentials(place) if remote else local.as_uri()}
    wheels = [_file(wheel, local) for wheel in row.get("wheels", ())]
    sdist = _file(row["sdist"], local) if "sdist" in row else None
    if any("sha256" not in file["hashes"] for file in wheels) or (
        sdist and not wheels and "sha256" not in sdist["hashes"]
    ):
        unhashed.append(_worded(row))
    if wheels:
        converted["wheels"] = wheels
    # A source distribution is only needed where no wheel fits, so one without SHA-256 does not spoil the wheels.
    if sdist and "sha256" in sdist["hashes"]:
        converted["sdist"] = sdist
    return converted


def _file(row: Mapping[str, Any], local: Path) -> dict[str, Any]:
    if "url" in row:
        converted: dict[str, Any] = {"url": validation.without_credentials(row["url"])}
    else:
        converted = {"path": str(_absolute(row["path"], local))}
    if "size" in row:
        converted["size"] = row["size"]
    return converted | {"hashes": _hashes(row)}


def _filename(file: Mapping[str, Any]) -> str:
    # A URL's fragment or query is none of the name, and locks do not carry them for wheels; a rare one is only not near.
    name: str = (file.get("url") or file["path"]).replace(os.sep, "/").rpartition("/")[2]
    return name


def _hashes(row: Mapping[str, Any]) -> dict[str, str]:
    algorithm, _, value = row.get("hash", "").partition(":")
    return {algorithm: value} if value else {}


def _archive(row: Mapping[str, Any], unhashed: list[str]) -> dict[str, Any]:
    file = (*row.get("wheels", ()), row.get("sdist", {}))[0]
    hashes = _hashes(file)
    if "sha256" not in hashes:
        unhashed.append(_worded(row))
    converted = {"hashes": hashes}
    return converted | {key: value for key, value in ({"size": file.get("size")} | _subdirectory(row)).items() if value}


def _subdirectory(row: Mapping[str, Any]) -> dict[str, str | None]:
    return {"subdirectory": row["source"].get("subdirectory")}


def _worded(row: Mapping[str, Any]) -> str:
    return f"`{row['name']}` {row.get('version', '')}".strip()


def _vcs(place: str) -> dict[str, Any]:
    parts = urlsplit(validation.without_credentials(place))
    query = parse_qs(parts.query)
    vcs = {"type": "git", "url": urlunsplit(parts._replace(query="", fragment="")), "commit-id": parts.fragment}
    for key in ("rev", "tag", "branch"):
        if key in query:
            vcs["requested-revision"] = query[key][0]
    if "subdirectory" in query:
        vcs["subdirectory"] = query["subdirectory"][0]
    return vcs
