"""
Read Pipfile.lock, specification 6.

Format: https://pipenv.pypa.io/en/latest/pipfile.html (2026-11). The key names come from locks written by Pipenv 2026.10.
lamina reads a category of packages as a dependency group of the same name, and ``develop`` as the group ``dev``. There are no
extras. The lock contains only the hashes of files, so lamina looks up their names and URLs in the index.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from lamina.core.errors import LockError
from lamina.lock import staleness, validation
from lamina.lock.commands import relock
from lamina.lock.markers import holds, parse_marker
from lamina.lock.packages import Hashed, Packages
from lamina.lock.reading import LockTable, load, load_lock, sha256_of, written_by

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lamina.lock.types import Lock, Request

_COMMAND = "pipenv lock"
_SPECIFICATION = 6
_MAIN = "default"
_GROUPS: Final = {"develop": "dev"}
_SECTIONS = {"source", "packages", "dev-packages", "requires", "scripts", "pipfile", "pipenv"}
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def read(request: Request) -> Lock:
    """
    Return the locked packages that the request's target needs, with all markers evaluated.

    Raises the errors of `lamina.lock.formats.read`.
    """
    command = relock(_COMMAND, request.lock_file)
    with written_by("Pipenv", request.lock_file, command):
        return _answer(request, load_lock(request.lock_file, command, parse=json.loads))


def _answer(request: Request, document: LockTable) -> Lock:
    path, meta = request.lock_file.path, document.get_table("_meta")
    if (specification := meta.get_required("pipfile-spec", int)) != _SPECIFICATION:
        raise LockError(
            f"`{path}` has Pipfile specification {specification}, but lamina supports specification {_SPECIFICATION}",
            hint=f"upgrade lamina, or regenerate the lock with a Pipenv release that writes specification {_SPECIFICATION}",
        )
    pipfile = path.with_name("Pipfile")
    if pipfile.is_file():
        _refuse_stale(pipfile, meta, request)
    _python_fits(meta.get_table("requires"), request)
    categories = {_GROUPS.get(name, canonicalize_name(name)): name for name in document if name not in {"_meta", _MAIN}}
    validation.names_known(request, groups=categories, extras=())
    rows: dict[str, LockTable] = {}
    for category in (_MAIN, *(categories[group] for group in request.groups)):
        table = document.get_table(category)
        for name in table:
            row = table.get_table(name)
            # Pipenv installs the default category last, so its version wins for a package in several categories.
            if holds(row.get_as("markers", parse_marker), (), request.target.markers):
                rows.setdefault(canonicalize_name(name), row)
    packages = _packages(rows, meta, request)
    inputs = (path, pipfile) if pipfile.is_file() else (path,)
    return packages.lock(inputs)


def _refuse_stale(pipfile: Path, meta: LockTable, request: Request) -> None:
    """
    Raise `StaleLockError` if the Pipfile does not have the hash in the lock; ``pipenv verify`` does the same check.

    Pipenv 2026 and later hash normalised names, earlier releases hash the names as written (2026-11).
    """
    manifest = load(pipfile)
    tables = {"default": manifest.get("packages", {}), "develop": manifest.get("dev-packages", {})}
    tables |= {name: table for name, table in manifest.items() if name not in _SECTIONS | tables.keys()}
    # For a Pipfile without a source, Pipenv hashes a default source and writes it to the lock.
    public = next((source.get_required("url", str) for source in meta.get_tables("sources")), "")
    head = {
        "sources": manifest.get("source", [{"name": "pypi", "url": public, "verify_ssl": True}]),
        "requires": manifest.get("requires", {}),
    }
    normalised = {
        category: {canonicalize_name(name): row for name, row in table.items()} if isinstance(table, dict) else table
        for category, table in tables.items()
    }
    locked = meta.get_table("hash").get_required("sha256", str)
    if locked not in {_hash({"_meta": head, **each}) for each in (tables, normalised)}:
        staleness.refuse(
            ["packages, sources or `[requires]` changed after locking"],
            request,
            relock(_COMMAND, request.lock_file),
            manifest=pipfile,
        )


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str, separators=(",", ":")).encode()).hexdigest()


def _python_fits(requires: LockTable, request: Request) -> None:
    """
    Raise `LockError` if the lock requires another minor version of Python than the target's.

    Pipenv locks only the packages that its own Python version needs.
    """
    wanted = requires.get("python_full_version", str) or requires.get("python_version", str)
    if wanted and wanted != "*":
        minor = ".".join(wanted.split(".")[:2])
        validation.python_fits(SpecifierSet(f"=={minor}.*"), request.target, subject=f"`{request.lock_file.path}`")


def _packages(rows: Mapping[str, LockTable], meta: LockTable, request: Request) -> Packages:
    sources = {
        source.get_required("name", str): _expanded(source.get_required("url", str))
        for source in meta.get_tables("sources")
    }
    packages = Packages(request, locker="pipenv", command=relock(_COMMAND, request.lock_file))
    problems: list[str] = []
    for name, row in rows.items():
        if "path" not in row and packages.leaves_out(name):
            continue
        if "version" not in row or any(key in row for key in ("git", "path", "file")):
            _add_direct(packages, name, row, problems)
        elif not (version := _version(row)):
            problems.append(f"`{name}` has no exact version, because the machine that ran Pipenv did not need it")
        else:
            # A package with an index uses only that index; for others, Pipenv queries all in the order of the Pipfile.
            index = row.get("index", str)
            chosen = (sources[index],) if index in sources else tuple(sources.values())
            locked = Hashed(name=name, version=version, hashes=_hashes(row), indexes=chosen or (None,))
            packages.add_hashed(locked, f"`{name}` {version}")
    if problems:
        raise LockError(
            f"`{request.lock_file.path}` does not lock every package for {request.target}: {'; '.join(sorted(problems))}",
            hint="run `pipenv lock` on a machine like the target: Pipenv locks only for the machine that it runs on; "
            "uv, Poetry and PDM lock for all platforms",
        )
    return packages


def _expanded(url: str) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: os.environ.get(found[1], found[0]), url)


def _version(row: LockTable) -> str | None:
    found = re.fullmatch(r"={2,3}\s*([^\s*,]+)", row.get("version", str) or "")
    return found[1] if found else None


def _hashes(row: LockTable) -> frozenset[str]:
    return frozenset(digest for each in row.get_strings("hashes") if (digest := sha256_of(each)))


def _add_direct(packages: Packages, name: str, row: LockTable, problems: list[str]) -> None:
    """Add a package that is locked to a file, directory or repository. If it is incomplete, add the reason to *problems*."""
    package, version = {"name": name}, _version(row)
    if version:
        package["version"] = version
    subdirectory = row.get("subdirectory", str)
    if url := row.get("git", str):
        reference = row.get("ref", str) or ""
        if _COMMIT.fullmatch(reference):
            packages.add_git(package, _expanded(url).removeprefix("git+"), reference, subdirectory=subdirectory)
        else:
            revision = f"`{reference}`" if reference else "the default branch"
            problems.append(f"`{name}` is locked to {revision} instead of a full git commit")
        return
    place = _expanded(row.get("path", str) or row.get("file", str) or "")
    remote, local = re.match(r"https?://", place) is not None, packages.local(place)
    if not place:
        problems.append(f"`{name}` has no version, path or URL")
    elif not remote and local.is_dir():
        packages.add_directory(package, local, editable=row.get("editable", bool) or False)
    else:
        shown = f"`{name}` ({unquote(urlsplit(place).path).rpartition('/')[2]})"
        packages.add_archive(package, place if remote else local, _hashes(row), shown, subdirectory=subdirectory)
