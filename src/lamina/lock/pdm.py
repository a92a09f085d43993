"""
Read pdm.lock, format version 4.

Format: https://pdm-project.org/en/latest/usage/lockfile/ (2026-11). PDM does not document the format in full, so the key names
come from locks written by PDM 2.12 and 2.29. With the strategy ``inherit_metadata``, each package lists its groups and its
marker. Without it, lamina finds the needed packages by walking the dependency graph from ``pyproject.toml``.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from lamina.core.errors import LockError
from lamina.lock import pdmproject, staleness, validation
from lamina.lock.commands import relock
from lamina.lock.graph import Dependency, LockedVersion
from lamina.lock.markers import holds, parse_marker
from lamina.lock.packages import Hashed, Packages
from lamina.lock.reading import LockTable, load_lock, sha256_of, worded, written_by
from lamina.lock.types import IndexFile, Lock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from lamina.lock.graph import ActiveDependency
    from lamina.lock.pdmproject import PdmProject
    from lamina.lock.types import Lock, Request

    _Rows = Sequence[LockTable]
    """The tables of one package version in the lock. PDM writes a separate table for the package with extras."""

_COMMAND = "pdm lock"
_DEFAULT = "default"
_ROOT = "${PROJECT_ROOT}"


def read(request: Request) -> Lock:
    """
    Return the locked packages that the request's target needs, with all markers evaluated.

    Raises the errors of `lamina.lock.formats.read`.
    """
    with written_by("PDM", request.lock_file, relock(_COMMAND, request.lock_file)):
        return _answer(request, load_lock(request.lock_file, relock(_COMMAND, request.lock_file)))


def _answer(request: Request, document: LockTable) -> Lock:
    path, metadata, rows = request.lock_file.path, document.get_table("metadata"), document.get_tables("package")
    version = metadata.get_required("lock_version", str)
    if not re.fullmatch(r"4(\.\d+)*", version):
        raise LockError(
            f"`{path}` has format version {version}, but lamina supports version 4",
            hint="upgrade lamina, or regenerate the lock with a PDM release that writes format version 4",
        )
    project = pdmproject.load(request.lock_file.pyproject)
    if project is not None:
        _refuse_stale(project, metadata, rows, request)
        validation.python_fits(project.requires_python, request.target, subject=f"`{path}`")
    _some_target_fits(metadata.get_tables("targets"), request)
    _names_known(metadata.get_strings("groups"), project, request)
    rows = [row for row in rows if holds(row.get_as("marker", parse_marker), request.extras, request.target.markers)]
    if "inherit_metadata" in metadata.get_strings("strategy"):
        chosen = _grouped(row for row in rows if _is_chosen(row, request))
    elif project is None:
        raise LockError(
            f"`{path}` does not list the groups of its packages, and `{request.lock_file.pyproject}` does not exist",
            hint="run `pdm lock --strategy inherit_metadata`, or move the lock next to its `pyproject.toml`",
        )
    else:
        chosen = _walked(_grouped(rows), project, request)
    packages = _packages(chosen, metadata, project, request)
    inputs = (path, project.path) if project else (path,)
    return packages.lock(inputs)


def _refuse_stale(project: PdmProject, metadata: LockTable, rows: _Rows, request: Request) -> None:
    """
    Raise `StaleLockError` if the lock's content hash does not match the project; PDM itself only warns.

    The error lists the requirements that are not locked, if there are any. The hash of a workspace is not compared, only its
    requirements.
    """
    algorithm, _, digest = (metadata.get("content_hash", str) or "").partition(":")
    comparable = algorithm == "sha256" and not project.is_workspace
    if comparable and digest in project.hashes:
        return
    missing = project.unmet(request, [(_name(row), row.get("version", str)) for row in rows])
    staleness.refuse(
        missing or (["dependencies or PDM settings changed after locking"] if comparable else []),
        request,
        relock(_COMMAND, request.lock_file),
    )


def _some_target_fits(targets: Sequence[LockTable], request: Request) -> None:
    """Raise `LockError` if the lock is limited to *targets*, and none of them covers the request's target."""
    target = request.target
    version, machine = target.markers["python_full_version"], target.architecture.machine
    named: list[str] = []
    for each in targets:
        python, platform = each.get_as("requires_python", SpecifierSet), each.get("platform", str) or ""
        known = "manylinux_2_17_x86_64" if platform == "linux" else platform
        if (
            (python is None or python.contains(version, prereleases=True))
            and re.fullmatch(rf"linux|manylinux_\d+_\d+_{machine}|", known)
            and (each.get("implementation", str) or "cpython") == "cpython"
        ):
            return
        versions = each.get("requires_python", str)
        named.append(" on ".join(filter(None, (f"Python {versions}" if versions else "any Python", platform))))
    if named:
        raise LockError(
            f"`{request.lock_file.path}` does not cover {target}; it covers only: {'; '.join(sorted(named))}",
            hint=f"add the target: run `pdm lock --append --python '=={target.python[0]}.{target.python[1]}.*' "
            f"--platform manylinux_{target.glibc[0]}_{target.glibc[1]}_{machine}`",
        )


def _names_known(named: Iterable[str], project: PdmProject | None, request: Request) -> None:
    """Raise `LockError` for requested groups and extras that are not locked. pdm.lock lists both together, as groups."""
    locked = {canonicalize_name(name) for name in named} - {_DEFAULT}
    extras = set(project.extras) if project else locked
    groups = locked & set(project.groups) if project else locked
    validation.names_known(request, groups=groups, extras=locked & extras)


def _name(row: LockTable) -> str:
    return canonicalize_name(row.get_required("name", str))


def _is_chosen(row: LockTable, request: Request) -> bool:
    chosen = {_DEFAULT, *request.groups, *request.extras}
    return not chosen.isdisjoint(map(canonicalize_name, row.get_strings("groups", required=True)))


def _grouped(rows: Iterable[LockTable]) -> list[_Rows]:
    packages: dict[tuple[str, str | None], list[LockTable]] = {}
    for row in rows:
        packages.setdefault((_name(row), row.get("version", str)), []).append(row)
    return list(packages.values())


def _walked(packages: Sequence[_Rows], project: PdmProject, request: Request) -> list[_Rows]:
    nodes = [
        LockedVersion(
            name=_name(rows[0]),
            version=rows[0].get_required("version", str),
            dependencies=partial(_dependencies, rows, project, request),
        )
        for rows in packages
    ]
    return [
        packages[position] for position in project.walk(request, nodes, command=relock(_COMMAND, request.lock_file))
    ]


def _dependencies(
    rows: _Rows, project: PdmProject, request: Request, extras: Collection[str]
) -> Iterator[ActiveDependency]:
    for row in rows:
        if {canonicalize_name(extra) for extra in row.get_strings("extras")} <= set(extras):
            for requirement in row.get_sequence_as("dependencies", Requirement):
                free = canonicalize_name(requirement.name) in project.overridden
                if active := Dependency.of(requirement, free=free).active(request.target, extras):
                    yield active


def _packages(chosen: Iterable[_Rows], metadata: LockTable, project: PdmProject | None, request: Request) -> Packages:
    packages = Packages(request, locker="pdm", command=relock(_COMMAND, request.lock_file))
    for rows in chosen:
        row, name = rows[-1], _name(rows[-1])
        files = [file for each in rows for file in _files(each, metadata)]
        hashes = {digest: file.get("url", str) for file in files if (digest := sha256_of(file.get("hash", str)))}
        if any(key in row for key in ("git", "path", "url", "hg", "svn", "bzr")):
            _add_direct(packages, row, hashes)
            continue
        version = row.get_required("version", str)
        if hashes and all("url" in file for file in files):
            packages.add_files(name, version, [_file(url or "", sha256) for sha256, url in hashes.items()])
        else:
            indexes = project.indexes if project else (None,)
            locked = Hashed(name=name, version=version, hashes=frozenset(hashes), indexes=indexes)
            packages.add_hashed(locked, worded(row))
    return packages


def _files(row: LockTable, metadata: LockTable) -> list[LockTable]:
    """Return one table for each file of the package. Before format 4.3, these are at the end of the lock."""
    if "files" in row:
        return row.get_tables("files")
    name, version = row.get_required("name", str), row.get("version", str) or ""
    return metadata.get_table("files").get_tables(f"{name} {version}")


def _file(url: str, sha256: str) -> IndexFile:
    parts = urlsplit(url)
    return IndexFile(
        filename=unquote(parts.path).rpartition("/")[2], url=parts._replace(fragment="").geturl(), sha256=sha256
    )


def _add_direct(packages: Packages, row: LockTable, hashes: Mapping[str, object]) -> None:
    """Add a package that is locked to a file, directory or repository. Raises `LockError` if the repository is not git."""
    package = {"name": _name(row)}
    if version := row.get("version", str):
        package["version"] = version
    subdirectory = row.get("subdirectory", str)
    if url := row.get("git", str):
        commit = row.get_required("revision", str)
        packages.add_git(package, url, commit, revision=row.get("ref", str), subdirectory=subdirectory)
        return
    place = row.get("path", str) or row.get("url", str)
    if not place:
        raise LockError(
            f"{worded(row)} is in a repository that is not git, the only kind that lamina supports",
            hint="require the package from git or an index, and regenerate the lock",
        )
    if "path" not in row and _ROOT not in place:
        packages.add_archive(package, place.partition("#")[0], hashes, worded(row), subdirectory=subdirectory)
        return
    local = packages.local(place.rpartition(_ROOT)[2].lstrip("/"))
    if local.is_dir():
        editable = row.get("editable", bool) or False
        packages.add_directory(package, local, editable=editable, subdirectory=subdirectory)
    else:
        packages.add_archive(package, local, hashes, worded(row), subdirectory=subdirectory)
