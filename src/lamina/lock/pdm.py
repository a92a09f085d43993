"""
Read pdm.lock, format version 4.

Format: PDM's own, described nowhere in full (https://pdm-project.org/en/latest/usage/lockfile/, 2026-11), so the names of keys
were taken from locks that PDM 2.12 and 2.29 write. With the strategy ``inherit_metadata`` each package says for which groups
and under which marker it is locked; without it, that follows from walking the graph from ``pyproject.toml``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from packaging.pylock import Pylock, PylockValidationError
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from lamina.core.errors import LockError, LockSyntaxError
from lamina.lock import files as lookup
from lamina.lock import pdmproject, staleness, validation
from lamina.lock.files import Hashed
from lamina.lock.pdmproject import want
from lamina.lock.resolve import LockedVersion, applies, reach
from lamina.lock.types import Lock
from lamina.lock.wheelnames import near

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from lamina.lock.pdmproject import PdmProject
    from lamina.lock.resolve import Want
    from lamina.lock.types import Request

__all__ = ["read"]

_COMMAND = "pdm lock"
_DEFAULT = "default"
_ROOT = "${PROJECT_ROOT}"


def read(request: Request) -> Lock:
    """
    Return what the lock holds for the request's target, as if it had been made for that target alone.

    Raises `LockError` and its kinds, and `IndexLookupError` naming all that no index has the locked files of.
    """
    path = request.lock_file.path
    document = validation.load(path)
    version = str(document.get("metadata", {}).get("lock_version", "none"))
    if not re.fullmatch(r"4(\.\d+)*", version):
        raise LockError(
            f"`{path}` has format version {version}, and lamina reads version 4",
            hint="look for a newer lamina, or lock with a PDM that writes version 4",
        )
    try:
        return _answer(request, document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        # Every access below states what the format demands, so the first that fails says what is not as demanded.
        raise LockSyntaxError(
            f"`{path}` is not a pdm.lock as PDM writes it: {type(error).__name__}: {error}",
            hint=f"lock again: `{_COMMAND}`",
        ) from error


def _answer(request: Request, document: Mapping[str, Any]) -> Lock:
    path, metadata = request.lock_file.path, document["metadata"]
    rows: Sequence[Mapping[str, Any]] = document.get("package", [])
    project = pdmproject.load(request.lock_file.pyproject)
    if project is not None:
        _refuse_stale(project, metadata, rows, request)
        validation.python_fits(SpecifierSet(project.requires_python or ""), request.target, subject=f"`{path}`")
    _some_target_fits(metadata.get("targets", ()), request)
    _names_known(metadata.get("groups", ()), project, request)
    applicable = [row for row in rows if applies(row.get("marker"), request.extras, request.target)]
    if "inherit_metadata" in metadata.get("strategy", ()):
        chosen = [row for row in applicable if _is_chosen(row, request)]
    elif project is None:
        raise LockError(
            f"`{path}` says not what its packages are for, and there is no `{request.lock_file.pyproject}` to ask",
            hint="lock with `pdm lock --strategy inherit_metadata`, or put the lock beside its `pyproject.toml`",
        )
    else:
        chosen = _walked(applicable, project, request)
    pylock = _pylock(chosen, document, project, request)
    inputs = (path, project.path) if project else (path,)
    return Lock(path=path, pylock=pylock, inputs=inputs, groups=(), extras=())


def _refuse_stale(
    project: PdmProject, metadata: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], request: Request
) -> None:
    """Raise `StaleLockError` where the content hash differs, as PDM warns; name what differs where it can be seen."""
    algorithm, _, digest = metadata.get("content_hash", "").partition(":")
    comparable = algorithm == "sha256" and not project.is_workspace
    if comparable and digest in project.hashes:
        return
    locked = [(canonicalize_name(row["name"]), row.get("version")) for row in rows]
    missing = [
        f"{asked.worded} is required and not locked"
        for asked in project.wants(request.target, groups=request.groups, extras=request.extras)
        if not any(name == asked.name and (version is None or asked.takes(version)) for name, version in locked)
    ]
    staleness.refuse(missing or (["what PDM locks from was changed"] if comparable else []), request, _COMMAND)


def _some_target_fits(targets: Sequence[Mapping[str, Any]], request: Request) -> None:
    """Raise `LockError` if the lock was made for *targets*, and the request's is none of them."""
    target = request.target
    version, machine = target.markers["python_full_version"], target.architecture.machine
    if not targets or any(
        SpecifierSet(each.get("requires_python", "")).contains(version, prereleases=True)
        and re.fullmatch(rf"linux|manylinux_\d+_\d+_{machine}|", _platform(each)) is not None
        and each.get("implementation", "cpython") == "cpython"
        for each in targets
    ):
        return
    worded = sorted(
        " ".join(filter(None, (f"Python {each.get('requires_python', 'any')}", each.get("platform"))))
        for each in targets
    )
    raise LockError(
        f"`{request.lock_file.path}` was not locked for {target}, only for: {'; '.join(worded)}",
        hint=f"add it: `pdm lock --append --python '=={target.python[0]}.{target.python[1]}.*' "
        f"--platform manylinux_{target.glibc[0]}_{target.glibc[1]}_{machine}`",
    )


def _platform(target: Mapping[str, Any]) -> str:
    platform = str(target.get("platform", ""))
    return "manylinux_2_17_x86_64" if platform == "linux" else platform


def _names_known(named: Sequence[str], project: PdmProject | None, request: Request) -> None:
    """Raise `LockError` for groups and extras that are not locked; PDM has one list of both."""
    locked = {canonicalize_name(name) for name in named} - {_DEFAULT}
    extras = set(project.extras) if project else locked
    groups = {name for name in locked - extras if not project or name in project.groups} | (
        locked & set(project.groups) if project else locked
    )
    validation.names_known(request, groups=groups, extras=locked & extras)


def _is_chosen(row: Mapping[str, Any], request: Request) -> bool:
    chosen = {_DEFAULT, *request.groups, *request.extras}
    return not chosen.isdisjoint(name if name == _DEFAULT else canonicalize_name(name) for name in row["groups"])


def _walked(rows: Sequence[Mapping[str, Any]], project: PdmProject, request: Request) -> list[Mapping[str, Any]]:
    """Return the rows that *project* leads to. A package's extras are rows of their own, whose name and version are the same."""
    packages: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        packages.setdefault((canonicalize_name(row["name"]), row["version"]), []).append(row)
    nodes = [
        LockedVersion(name=name, version=version, needs=_PdmNeeds(entries, project, request))
        for (name, version), entries in packages.items()
    ]
    roots = project.wants(request.target, groups=request.groups, extras=request.extras)
    positions, unmet = reach(roots, nodes)
    staleness.refuse([f"{worded} is required and not locked" for worded in unmet], request, _COMMAND)
    return [row for position in positions for row in packages[nodes[position].name, nodes[position].version][:1]]


class _PdmNeeds:
    """What one locked package requires, with a choice of its extras."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], project: PdmProject, request: Request) -> None:
        self._rows = rows
        self._project = project
        self._request = request

    def __call__(self, extras: Collection[str]) -> Iterator[Want]:
        for row in self._rows:
            if not {canonicalize_name(extra) for extra in row.get("extras", ())} <= set(extras):
                continue
            for dependency in row.get("dependencies", ()):
                requirement = Requirement(dependency)
                if asked := want(requirement, extras, self._request.target, overridden=self._project.overridden):
                    yield asked


def _pylock(
    rows: Sequence[Mapping[str, Any]], document: Mapping[str, Any], project: PdmProject | None, request: Request
) -> Pylock:
    path = request.lock_file.path
    packages: dict[tuple[str, str | None], dict[str, Any]] = {}
    hashed: dict[tuple[str, str], Hashed] = {}
    unhashed: set[str] = set()
    indexes = project.indexes if project else (None,)
    for row in rows:
        name = canonicalize_name(row["name"])
        files = _files(row, document)
        if any(key in row for key in ("git", "path", "url", "hg", "svn", "bzr")):
            packages |= {(name, row.get("version")): package for package in _direct(row, files, request, unhashed)}
            continue
        hashes = frozenset(digest for file in files if (digest := _sha256(file)))
        if not hashes:
            unhashed.add(_worded(row))
        elif all("url" in file for file in files):
            packages[name, row["version"]] = _with_urls(name, row["version"], files, request)
        else:
            known = hashed.get((name, row["version"]))
            hashes |= known.hashes if known else frozenset()
            hashed[name, row["version"]] = Hashed(name=name, version=row["version"], hashes=hashes, indexes=indexes)
    validation.hash_missing(sorted(unhashed), path=path, command=_COMMAND)
    tables = [*packages.values(), *lookup.packages(list(hashed.values()), request)]
    try:
        return Pylock.from_dict({"lock-version": "1.0", "created-by": "pdm", "packages": tables})
    except PylockValidationError as error:
        raise LockSyntaxError(f"`{path}` holds what cannot be: {error}", hint=f"lock again: `{_COMMAND}`") from error


def _files(row: Mapping[str, Any], document: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
    """Return names or URLs, with hashes; before 4.3 they stood at the end of the lock."""
    if "files" in row:
        files: Sequence[Mapping[str, str]] = row["files"]
        return files
    at_the_end: Mapping[str, Any] = document["metadata"].get("files", {})
    found: Sequence[Mapping[str, str]] = at_the_end.get(f"{row['name']} {row.get('version', '')}", ())
    return found


def _sha256(file: Mapping[str, str]) -> str | None:
    algorithm, _, digest = file.get("hash", "").partition(":")
    return digest.lower() if algorithm == "sha256" else None


def _with_urls(name: str, version: str, files: Sequence[Mapping[str, str]], request: Request) -> dict[str, Any]:
    """Return the PEP 751 table of a package whose files the lock says the URLs of."""
    artifacts = [
        {
            "url": validation.without_credentials(urlsplit(file["url"])._replace(fragment="").geturl()),
            "hashes": {"sha256": digest},
        }
        for file in files
        if (digest := _sha256(file))
    ]
    wheels = [artifact for artifact in artifacts if _filename(artifact).endswith(".whl")]
    sdists = [artifact for artifact in artifacts if _filename(artifact).endswith((".tar.gz", ".zip"))]
    package: dict[str, Any] = {"name": name, "version": version}
    if wheels:
        package["wheels"] = near(wheels, _filename, request.target)
    if sdists:
        package["sdist"] = sdists[0]
    return package


def _filename(artifact: Mapping[str, Any]) -> str:
    return unquote(urlsplit(artifact["url"]).path).rpartition("/")[2]


def _direct(
    row: Mapping[str, Any], files: Sequence[Mapping[str, str]], request: Request, unhashed: set[str]
) -> list[dict[str, Any]]:
    """Return the PEP 751 table of what names its place, or nothing for the project itself; see `read` for *unhashed*."""
    package: dict[str, Any] = {"name": canonicalize_name(row["name"])}
    if "version" in row:
        package["version"] = row["version"]
    subdirectory = {"subdirectory": row["subdirectory"]} if "subdirectory" in row else {}
    if "git" in row:
        vcs = {"type": "git", "url": validation.without_credentials(row["git"]), "commit-id": row["revision"]}
        requested = {"requested-revision": row["ref"]} if "ref" in row else {}
        return [package | {"vcs": vcs | requested | subdirectory}]
    if not ("path" in row or "url" in row):
        raise LockError(f"{_worded(row)} is in a repository that is not git", hint="take it from git")
    place = str(row.get("path") or row["url"])
    root = request.lock_file.path.parent
    if "path" in row or _ROOT in place:
        local = Path(os.path.normpath(root / place.rpartition(_ROOT)[2].lstrip("/")))
        if local.is_dir():
            editable = {"path": str(local), "editable": bool(row.get("editable", False))}
            return [] if local == request.lock_file.project else [package | {"directory": editable | subdirectory}]
        where = {"path": str(local)}
    else:
        where = {"url": validation.without_credentials(place.partition("#")[0])}
    hashes = {digest for file in files if (digest := _sha256(file))}
    if len(hashes) != 1:
        unhashed.add(_worded(row))
        return []
    return [package | {"archive": where | {"hashes": {"sha256": min(hashes)}} | subdirectory}]


def _worded(row: Mapping[str, Any]) -> str:
    return f"`{row['name']}` {row.get('version', '')}".strip()
