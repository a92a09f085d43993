"""
Read hashed requirements files: every requirement pinned with ``==`` and ``--hash=sha256:``, as ``pip --require-hashes`` wants it.

They name neither files nor URLs; those come from the index, by hash. Several hashes of one requirement are its files.
"""

from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from packaging.markers import InvalidMarker, Marker
from packaging.pylock import Pylock, PylockValidationError
from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import InvalidVersion, Version

from lamina.core.errors import IndexLookupError, LockError, LockSyntaxError, MissingHashError
from lamina.core.names import path_of
from lamina.lock import files as lookup
from lamina.lock import pyproject, staleness, validation
from lamina.lock.requirementsfile import RequirementLine, Requirements, parse
from lamina.lock.types import IndexFile, Lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    from lamina.lock.types import Request

__all__ = ["read"]

_COMMAND = "pip-compile --generate-hashes"
# One request per requirement, each mostly waiting.
_REQUESTS_AT_ONCE = 8
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pinned:
    """A requirement that applies to the target, is pinned, and has hashes."""

    name: str
    version: str
    hashes: frozenset[str]


def read(request: Request) -> Lock:
    """
    Return what the file holds for the request's target. It has neither groups nor extras, so it is asked for none.

    Raises `MissingHashError` and `LockError` naming all offenders with file and line, `IndexLookupError` naming all
    requirements that no index has files for.
    """
    path = request.lock_file.path
    validation.names_known(request, groups=(), extras=())
    parsed = parse(path)
    _refuse(parsed.problems, f"`{path}` cannot be understood")
    entries = [entry for entry in parsed.entries if _applies(entry, request, path)]
    constraints = [entry for entry in parsed.constraints if _applies(entry, request, path)]
    named = [entry for entry in entries if entry.requirement is not None and entry.requirement.url is None]
    direct = [_Direct(entry) for entry in entries if entry not in named]
    pinned = _pinned(named, constraints, direct, path)
    packages = [package for entry in direct if (package := entry.package(request)) is not None]
    packages += _looked_up(pinned, parsed, request)
    try:
        pylock = Pylock.from_dict({"lock-version": "1.0", "created-by": "lamina", "packages": packages})
    except PylockValidationError as error:
        raise LockSyntaxError(f"`{path}` leads to what cannot be: {error}") from error
    project = pyproject.load(request.lock_file.pyproject)
    pins: dict[str, list[Version | None]] = {package.name: [package.version] for package in pylock.packages}
    staleness.refuse_pins(project, pins, request=request, partial=False, command=_COMMAND)
    inputs = (*parsed.inputs, *((project.path,) if project.exists else ()))
    return Lock(path=path, pylock=pylock, inputs=inputs, groups=(), extras=())


def _refuse(problems: Sequence[str], fact: str) -> None:
    if problems:
        raise LockSyntaxError(f"{fact}: {'; '.join(problems)}", hint=f"make it with `{_COMMAND}`, not by hand")


def _applies(entry: RequirementLine, request: Request, path: Path) -> bool:
    try:
        marker = Marker(entry.marker) if entry.marker else entry.requirement.marker if entry.requirement else None
    except InvalidMarker as error:
        raise LockSyntaxError(f"`{path}`, {entry.origin}: {error}") from error
    variables = cast("Mapping[str, str]", request.target.markers)
    return marker is None or marker.evaluate({**variables, "extra": ""})


def _pinned(
    named: Iterable[RequirementLine], constraints: Iterable[RequirementLine], direct: Iterable[_Direct], path: Path
) -> list[_Pinned]:
    """Return the *named* entries together with what the *constraints* add; raise for all that are not pinned and hashed."""
    by_name: dict[str, list[RequirementLine]] = {}
    for entry in constraints:
        if entry.requirement is not None:
            by_name.setdefault(canonicalize_name(entry.requirement.name), []).append(entry)
    unpinned: list[str] = [problem for entry in direct if (problem := entry.problem)]
    unhashed: list[str] = [entry.worded for entry in direct if entry.needs_hash]
    pinned: dict[str, _Pinned] = {}
    for entry in named:
        requirement = cast("Requirement", entry.requirement)
        name = canonicalize_name(requirement.name)
        specifier, hashes = requirement.specifier, entry.hashes
        for constraint in by_name.get(name, ()):
            specifier &= cast("Requirement", constraint.requirement).specifier
            hashes = hashes & constraint.hashes if hashes and constraint.hashes else hashes | constraint.hashes
        worded = f"`{requirement.name}{requirement.specifier}` ({entry.origin})"
        version = _version(specifier)
        if version is None:
            unpinned.append(f"{worded} is not pinned to one version")
        elif not hashes:
            unhashed.append(worded)
        elif name in pinned and pinned[name].version != version:
            unpinned.append(f"{worded} is pinned to {pinned[name].version} elsewhere")
        else:
            known = pinned[name].hashes if name in pinned else frozenset()
            pinned[name] = _Pinned(name=name, version=version, hashes=hashes | known)
    _refuse_unpinned(unpinned, unhashed, path)
    return list(pinned.values())


def _refuse_unpinned(unpinned: Sequence[str], unhashed: Sequence[str], path: Path) -> None:
    missing = f"no SHA-256 for {', '.join(unhashed)}" if unhashed else ""
    message = f"`{path}` does not lock everything: {'; '.join(filter(None, (missing, *unpinned)))}"
    hint = f'lock versions and hashes: `{_COMMAND}` or `uv export`; or name another lock: [tool.lamina] lock = "…"'
    if unhashed:
        raise MissingHashError(message, hint=hint)
    if unpinned:
        raise LockError(message, hint=hint)


def _version(specifier: SpecifierSet) -> str | None:
    exact = {
        clause.version for clause in specifier if clause.operator in {"==", "==="} and not clause.version.endswith(".*")
    }
    if len({canonicalize_version(version) for version in exact}) != 1:
        return None
    version = min(exact)
    try:
        return version if specifier.contains(Version(version), prereleases=True) else None
    except InvalidVersion:
        return None


class _Direct:
    """A requirement that names its file, directory or repository."""

    def __init__(self, entry: RequirementLine) -> None:
        place = entry.place or (entry.requirement.url if entry.requirement else None) or ""
        address, _, fragment = place.partition("#")
        self._entry = entry
        self._fragment = {key: values[0] for key, values in parse_qs(fragment).items()}
        self._vcs, _, repository = address.partition("+") if re.match(r"(git|hg|svn|bzr)\+", address) else ("", "", "")
        self._url = repository if self._vcs else address if re.match(r"https?://", address) else None
        if self._vcs:
            parts = urlsplit(self._url or "")
            where, _, self._commit = parts.path.rpartition("@") if "@" in parts.path else (parts.path, "", "")
            self._url = urlunsplit(parts._replace(path=where))
        local = path_of(address) if address.startswith("file:") else re.sub(r"\[[^\]]*\]$", "", address)
        self._path = Path(os.path.normpath(entry.directory / local))
        self._hashes = entry.hashes | (
            {self._fragment["sha256"].lower()} if "sha256" in self._fragment else frozenset()
        )
        self._is_file = self._url is not None or self._path.suffix in {".whl", ".gz", ".zip", ".bz2", ".xz", ".tar"}

    @property
    def worded(self) -> str:
        """Name and place, for errors."""
        shown = validation.without_credentials(self._url) if self._url else self._path.name
        return f"`{self._entry.requirement.name if self._entry.requirement else shown}` ({self._entry.origin})"

    @property
    def needs_hash(self) -> bool:
        """Whether this is a file without the one hash that it has to have."""
        return not self._vcs and self._is_file and len(self._hashes) != 1

    @property
    def problem(self) -> str | None:
        """What keeps this from being locked, hashes apart."""
        if self._vcs and self._vcs != "git":
            return f"{self.worded} is in a {self._vcs} repository, and only git can be pinned"
        if self._vcs and not _COMMIT.fullmatch(self._commit):
            return f"{self.worded} names `{self._commit or 'no revision'}`, which is not a full commit"
        if not self._vcs and not self._is_file and not self._path.is_dir():
            return f"{self.worded} is neither a file nor a directory: `{self._path}`"
        if self._name is None:
            return f"{self.worded} does not say which distribution it is: write `name @ …`"
        return None

    @property
    def _name(self) -> str | None:
        if self._entry.requirement:
            return canonicalize_name(self._entry.requirement.name)
        if "egg" in self._fragment:
            return canonicalize_name(self._fragment["egg"].partition("[")[0])
        filename = self._filename
        if filename.endswith(".whl"):
            return canonicalize_name(filename.partition("-")[0])
        if self._is_file or self._vcs:
            return canonicalize_name(filename.rpartition("-")[0]) or None
        return pyproject.load(self._path / "pyproject.toml").name

    @property
    def _filename(self) -> str:
        return unquote(urlsplit(self._url).path).rpartition("/")[2] if self._url else self._path.name

    def package(self, request: Request) -> dict[str, Any] | None:
        """Return the PEP 751 table, or nothing for the project itself, whose code goes into function packages."""
        if not self._vcs and not self._is_file:
            if self._path == request.lock_file.project:
                return None
            return {"name": self._name, "directory": {"path": str(self._path), "editable": self._entry.editable}}
        url = validation.without_credentials(self._url) if self._url else None
        source: dict[str, Any] = {"url": url} if url else {"path": str(self._path)}
        if "subdirectory" in self._fragment:
            source["subdirectory"] = self._fragment["subdirectory"]
        if self._vcs:
            return {"name": self._name, "vcs": {"type": "git", "commit-id": self._commit, **source}}
        return {"name": self._name, "archive": {**source, "hashes": {"sha256": min(self._hashes)}}}


def _looked_up(pinned: Sequence[_Pinned], parsed: Requirements, request: Request) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(max_workers=_REQUESTS_AT_ONCE) as pool:
        found = list(pool.map(lambda pin: _package(pin, parsed, request), pinned))
    missing = [f"`{pin.name}` {pin.version}" for pin, package in zip(pinned, found, strict=True) if package is None]
    if missing:
        places = [validation.without_credentials(url) for url in (parsed.index_url, *parsed.extra_index_urls) if url]
        raise IndexLookupError(
            f"no index has a file with a locked hash of: {', '.join(missing)}",
            hint=f"asked: {', '.join(f'`{place}`' for place in places) or 'the configured indexes'}; "
            "the files were withdrawn, or come from an index that is not configured"
            + (
                "; `--find-links` is read for directories only"
                if any("://" in link for link in parsed.find_links)
                else ""
            ),
        )
    return [package for package in found if package is not None]


def _package(pin: _Pinned, parsed: Requirements, request: Request) -> dict[str, Any] | None:
    index_url, files = _files(pin, parsed, request)
    return lookup.table(pin.name, pin.version, files, request, index_url=index_url)


def _files(pin: _Pinned, parsed: Requirements, request: Request) -> tuple[str | None, Sequence[IndexFile]]:
    """Return the files of the first place that has any; the hashes make every place as good as another."""
    for directory in parsed.find_links:
        if files := _in_directory(pin, Path(directory)):
            return None, files
    for index_url in () if parsed.no_index else (parsed.index_url, *parsed.extra_index_urls):
        found = request.index.files(pin.name, pin.version, pin.hashes, index_url)
        # Whoever implements the protocol may be lenient; a file that nobody locked must not come through.
        if files := [file for file in found if file.sha256.lower() in pin.hashes]:
            return index_url, files
    return None, ()


def _in_directory(pin: _Pinned, directory: Path) -> list[IndexFile]:
    if not directory.is_dir():
        return []
    prefix = re.sub(r"[-_.]+", "[-_.]+", pin.name)
    candidates = [file for file in directory.iterdir() if re.match(rf"{prefix}-\d", file.name, re.IGNORECASE)]
    files: list[IndexFile] = []
    for file in candidates:
        with file.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        if sha256 in pin.hashes:
            files.append(IndexFile(filename=file.name, url=file.as_uri(), sha256=sha256, size=file.stat().st_size))
    return files
