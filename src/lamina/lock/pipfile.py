"""
Read Pipfile.lock, specification 6.

Format: https://pipenv.pypa.io/en/latest/pipfile.html (2026-11); the names of keys were taken from locks that Pipenv 2026.10 writes.
A category is a group: ``develop`` is called ``dev``, and further ones have their own names. There are no extras. Files have
neither names nor URLs, only hashes; the rest comes from the index.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from packaging.pylock import Pylock, PylockValidationError
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from lamina.core.errors import LockError, LockSyntaxError
from lamina.lock import files, staleness, validation
from lamina.lock.files import Hashed
from lamina.lock.resolve import applies
from lamina.lock.types import Lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lamina.lock.types import Request

__all__ = ["read"]

_COMMAND = "pipenv lock"
_SPECIFICATION = 6
_MAIN = "default"
_GROUPS: Final = {"develop": "dev"}
_SECTIONS = {"source", "packages", "dev-packages", "requires", "scripts", "pipfile", "pipenv"}
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def read(request: Request) -> Lock:
    """
    Return what the lock holds for the request's target.

    Raises `LockError` and its kinds, and `IndexLookupError` naming all that no index has the locked files of.
    """
    path = request.lock_file.path
    try:
        document = json.loads(path.read_bytes())
        specification = document["_meta"]["pipfile-spec"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LockSyntaxError(f"`{path}` cannot be read: {error}", hint=f"lock again: `{_COMMAND}`") from error
    if specification != _SPECIFICATION:
        raise LockError(
            f"`{path}` follows Pipfile specification {specification}, and lamina reads {_SPECIFICATION}",
            hint="look for a newer lamina, or lock with a Pipenv that follows it",
        )
    try:
        return _answer(request, document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        # Every access below states what the format demands, so the first that fails says what is not as demanded.
        raise LockSyntaxError(
            f"`{path}` is not a Pipfile.lock as Pipenv writes it: {type(error).__name__}: {error}",
            hint=f"lock again: `{_COMMAND}`",
        ) from error


def _answer(request: Request, document: Mapping[str, Any]) -> Lock:
    path = request.lock_file.path
    pipfile = path.with_name("Pipfile")
    if pipfile.is_file():
        _refuse_stale(pipfile, document["_meta"]["hash"]["sha256"], request)
    _python_fits(document["_meta"].get("requires", {}), request)
    categories = {_GROUPS.get(name, canonicalize_name(name)): name for name in document if name not in {"_meta", _MAIN}}
    validation.names_known(request, groups=categories, extras=())
    rows: dict[str, Mapping[str, Any]] = {}
    for category in (_MAIN, *(categories[group] for group in request.groups)):
        for name, row in document.get(category, {}).items():
            # Pipenv installs the default category last, so what is in several is the default's.
            if applies(row.get("markers"), (), request.target):
                rows.setdefault(canonicalize_name(name), row)
    pylock = _pylock(rows, document, request)
    inputs = (path, pipfile) if pipfile.is_file() else (path,)
    return Lock(path=path, pylock=pylock, inputs=inputs, groups=(), extras=())


def _refuse_stale(pipfile: Path, locked: str, request: Request) -> None:
    """
    Raise `StaleLockError` where the hash of the Pipfile is not the one in the lock, as ``pipenv verify`` does.

    Names are hashed in their normalised form since Pipenv 2026, and as they are written before (2026-11).
    """
    manifest = validation.load(pipfile)
    tables = {"default": manifest.get("packages", {}), "develop": manifest.get("dev-packages", {})}
    tables |= {name: table for name, table in manifest.items() if name not in _SECTIONS | tables.keys()}
    meta = {
        "sources": manifest.get("source", [{"name": "pypi", "url": _public_index(request), "verify_ssl": True}]),
        "requires": manifest.get("requires", {}),
    }
    normalised = {
        category: {canonicalize_name(name): row for name, row in table.items()} if isinstance(table, dict) else table
        for category, table in tables.items()
    }
    if locked not in {_hash({"_meta": meta, **each}) for each in (tables, normalised)}:
        staleness.refuse(["what Pipenv locks from was changed"], request, _COMMAND, manifest=pipfile)


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _public_index(request: Request) -> str:
    """Return the URL of the source that Pipenv adds to a Pipfile without one, which is then in the lock."""
    sources = json.loads(request.lock_file.path.read_bytes())["_meta"].get("sources", [])
    return str(sources[0]["url"]) if sources else ""


def _python_fits(requires: Mapping[str, str], request: Request) -> None:
    """Raise `LockError` for another Python: Pipenv leaves out what its own does not need."""
    wanted = requires.get("python_full_version") or requires.get("python_version")
    if wanted and wanted != "*":
        minor = ".".join(wanted.split(".")[:2])
        validation.python_fits(SpecifierSet(f"=={minor}.*"), request.target, subject=f"`{request.lock_file.path}`")


def _pylock(rows: Mapping[str, Mapping[str, Any]], document: Mapping[str, Any], request: Request) -> Pylock:
    path = request.lock_file.path
    sources = {source["name"]: _expanded(source["url"]) for source in document["_meta"].get("sources", ())}
    packages: list[dict[str, Any]] = []
    hashed: list[Hashed] = []
    problems: list[str] = []
    unhashed: list[str] = []
    for name, row in rows.items():
        if "version" not in row or row.keys() & {"git", "path", "file"}:
            packages += _direct(name, row, request, problems, unhashed)
        elif not (version := _version(row["version"])):
            problems.append(f"`{name}` is not pinned, because it did not apply to the machine that locked")
        else:
            hashes = frozenset(
                digest.removeprefix("sha256:") for digest in row.get("hashes", ()) if digest.startswith("sha256:")
            )
            if not hashes:
                unhashed.append(f"`{name}` {version}")
            # The index of a package comes first; without one, Pipenv asks them in the order of the Pipfile.
            chosen = (sources[row["index"]],) if row.get("index") in sources else tuple(sources.values())
            hashed.append(Hashed(name=name, version=version, hashes=hashes, indexes=chosen or (None,)))
    if problems:
        raise LockError(
            f"`{path}` does not lock everything for {request.target}: {'; '.join(sorted(problems))}",
            hint="Pipenv locks for the machine that it runs on: lock on one like the target, or use a lock for all "
            "platforms (uv, Poetry, PDM)",
        )
    validation.hash_missing(unhashed, path=path, command=_COMMAND)
    packages += files.packages(hashed, request)
    try:
        return Pylock.from_dict({"lock-version": "1.0", "created-by": "pipenv", "packages": packages})
    except PylockValidationError as error:
        raise LockSyntaxError(f"`{path}` holds what cannot be: {error}", hint=f"lock again: `{_COMMAND}`") from error


def _expanded(url: str) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: os.environ.get(found[1], found[0]), url)


def _version(specifier: str) -> str | None:
    found = re.fullmatch(r"={2,3}\s*([^\s*,]+)", specifier)
    return found[1] if found else None


def _direct(
    name: str, row: Mapping[str, Any], request: Request, problems: list[str], unhashed: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield the PEP 751 table of what names its place, but not of the project itself; see `_pylock` for the lists."""
    package: dict[str, Any] = {"name": name}
    if version := _version(row.get("version", "")):
        package["version"] = version
    subdirectory = {"subdirectory": row["subdirectory"]} if "subdirectory" in row else {}
    if "git" in row:
        reference = str(row.get("ref", ""))
        if not _COMMIT.fullmatch(reference):
            problems.append(f"`{name}` names `{reference or 'no revision'}`, which is not a full commit")
            return
        url = validation.without_credentials(_expanded(row["git"]).removeprefix("git+"))
        yield package | {"vcs": {"type": "git", "url": url, "commit-id": reference} | subdirectory}
        return
    place = _expanded(str(row.get("path") or row.get("file") or ""))
    if not place:
        problems.append(f"`{name}` has neither a version nor a place")
        return
    remote = re.match(r"https?://", place) is not None
    local = Path(os.path.normpath(request.lock_file.path.parent / place))
    if not remote and local.is_dir():
        if local != request.lock_file.project:
            yield package | {"directory": {"path": str(local), "editable": bool(row.get("editable", False))}}
        return
    hashes = {digest.removeprefix("sha256:") for digest in row.get("hashes", ()) if digest.startswith("sha256:")}
    if len(hashes) != 1:
        unhashed.append(f"`{name}` ({unquote(urlsplit(place).path).rpartition('/')[2]})")
        return
    where = {"url": validation.without_credentials(place)} if remote else {"path": str(local)}
    yield package | {"archive": where | {"hashes": {"sha256": min(hashes)}} | subdirectory}
