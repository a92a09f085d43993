"""
Read requirements files in which each requirement has ``==`` and ``--hash=sha256:``, as ``pip --require-hashes`` requires.

A requirement has one hash for each of its wheels and source distributions. Their names and URLs are not in the file, so lamina
looks them up in the index by hash.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs, unquote

from packaging.markers import Marker
from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import InvalidVersion, Version

from lamina.core.errors import LockError, LockSyntaxError, MissingHashError, UnknownGroupError
from lamina.core.names import path_of
from lamina.core.paths import relative_path
from lamina.core.text import count
from lamina.core.urls import redacted, shown_path
from lamina.lock import pyproject, staleness
from lamina.lock.commands import compilation, compile_command, located
from lamina.lock.localname import read_name
from lamina.lock.packages import Hashed, Packages
from lamina.lock.requirementsfile import RequirementLine, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    from lamina.lock.commands import Compilation
    from lamina.lock.types import Lock, Request

_MOST_PROBLEMS = 20
_LINE_NUMBER = re.compile(r"(?<=:)\d+\b")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def read(request: Request) -> Lock:
    """
    Return the locked packages that the request's target needs, with all markers evaluated.

    Requirements files have neither groups nor extras, so selecting any raises `UnknownGroupError`. Raises the errors of
    `lamina.lock.formats.read`, which list all invalid requirements with file and line.
    """
    path = request.lock_file.path
    compiled = compilation(path, request.target)
    _refuse_names(request)
    parsed = parse(path)
    _refuse(parsed.problems, f"`{path}` is not a valid requirements file", hint=_hint(compiled, request))
    packages = Packages(request, locker="lamina", command=compiled.command)
    entries = [entry for entry in parsed.entries if _applies(entry, request, path)]
    constraints = [entry for entry in parsed.constraints if _applies(entry, request, path)]
    named = [entry for entry in entries if entry.requirement is not None and entry.requirement.url is None]
    direct = [_Direct(entry, request.lock_file.project) for entry in entries if entry not in named]
    named = [entry for entry in named if not packages.leaves_out(_name(entry))]
    direct = [each for each in direct if each.is_directory or not packages.leaves_out(each.name or "")]
    pinned = _pinned(named, constraints, direct, path, hint=_hint(compiled, request))
    # Additional indexes come first, as those in the settings of uv and pip; `None` stands for the indexes in the settings.
    indexes = () if parsed.no_index else (*parsed.extra_index_urls, parsed.index_url)
    directories = tuple(Path(link) for link in parsed.find_links)
    for (name, version), hashes in pinned.items():
        locked = Hashed(name=name, version=version, hashes=hashes, indexes=indexes, directories=directories)
        packages.add_hashed(locked, f"`{name}` {version}")
    for each in direct:
        each.add_to(packages)
    distant = any("://" in link for link in parsed.find_links)
    project = pyproject.load(request.lock_file.pyproject)
    inputs = (*parsed.inputs, *((project.path,) if project.exists else ()))
    lock = packages.lock(inputs, hint="; lamina supports `--find-links` for local directories only" if distant else "")
    pins: dict[str, list[Version | None]] = {package.name: [package.version] for package in lock.pylock.packages}
    staleness.refuse_pins(project, pins, request=request, partial=False, command=compiled.command)
    return lock


def _name(entry: RequirementLine) -> str:
    return canonicalize_name(cast("Requirement", entry.requirement).name)


def _hint(compiled: Compilation, request: Request) -> str:
    """Return how to compile a lock with hashes, and how to use it if it is a new file."""
    lock_file, output = request.lock_file, compiled.output
    use = f"`lock` to the path of `{output}`"
    if output.parent == lock_file.project and not lock_file.is_configured:
        use = f'`lock = "{output.name}"`'
    return f"pin every version with its hash for {request.target}: run `{compiled.command}`" + (
        "" if output == lock_file.path else f", and set {use} in `[tool.lamina]`"
    )


def _refuse_names(request: Request) -> None:
    """Raise `UnknownGroupError` if the request selects groups or extras: they can only be compiled into a requirements file."""
    if not request.groups and not request.extras:
        return
    path, manifest = request.lock_file.path, pyproject.load(request.lock_file.pyproject)
    names = [f"dependency group `{group}`" for group in request.groups]
    names += [f"extra `{extra}`" for extra in request.extras]
    hint = "remove `groups` and `extras` from `[tool.lamina]`"
    if {*request.groups} <= {*manifest.groups} and {*request.extras} <= {*(manifest.extras or ())}:
        options = [word for group in request.groups for word in ("--group", group)]
        options += [word for extra in request.extras for word in ("--extra", extra)]
        directory = manifest.path.parent
        output = relative_path(path, directory)
        command = compile_command([manifest.path.name], request.target, output=output, options=options)
        hint += f", and compile the requirements with them: run `{located(command, directory)}`"
    raise UnknownGroupError(
        f"`{path}` has no {' and no '.join(names)}: a requirements file has neither groups nor extras",
        groups=(),
        extras=(),
        hint=hint,
    )


def _refuse(problems: Sequence[str], fact: str, *, hint: str) -> None:
    if problems:
        raise LockSyntaxError(f"{fact}: {_joined(problems)}", hint=hint)


def _joined(problems: Sequence[str]) -> str:
    """Return *problems* in one line: of those that differ only in their line number only the first, and not more than a screen shows."""
    same: dict[str, list[str]] = {}
    for problem in problems:
        same.setdefault(_LINE_NUMBER.sub("", problem), []).append(problem)
    rows = [
        f"{first} (and {count(len(more), 'more line')} like it)" if more else first for first, *more in same.values()
    ]
    left = f"; and {len(rows) - _MOST_PROBLEMS:,} more" if len(rows) > _MOST_PROBLEMS else ""
    return "; ".join(rows[:_MOST_PROBLEMS]) + left


def _applies(entry: RequirementLine, request: Request, path: Path) -> bool:
    try:
        marker = Marker(entry.marker) if entry.marker else entry.requirement.marker if entry.requirement else None
        return marker is None or marker.evaluate({**cast("Mapping[str, str]", request.target.markers), "extra": ""})
    except ValueError as error:
        # The marker is invalid, or compares incompatible values.
        reason = f": {error}" if entry.is_public else ""
        raise LockSyntaxError(f"`{path}` has an invalid marker in {entry.origin}{reason}") from None


def _pinned(
    named: Iterable[RequirementLine],
    constraints: Iterable[RequirementLine],
    direct: Iterable[_Direct],
    path: Path,
    *,
    hint: str,
) -> dict[tuple[str, str], frozenset[str]]:
    """
    Return the hashes of each name and version in *named*.

    Versions and hashes must also satisfy the *constraints* on the same name. Raises `MissingHashError` or `LockError` listing
    all requirements in *named* and *direct* without a single version, a hash or another required part, with the *hint*.
    """
    by_name: dict[str, list[RequirementLine]] = {}
    for entry in constraints:
        if entry.requirement is not None:
            by_name.setdefault(canonicalize_name(entry.requirement.name), []).append(entry)
    unpinned: list[str] = [problem for entry in direct if (problem := entry.problem)]
    unhashed: list[str] = [entry.worded for entry in direct if entry.needs_hash]
    pinned: dict[str, tuple[str, frozenset[str]]] = {}
    for entry in named:
        requirement = cast("Requirement", entry.requirement)
        name = canonicalize_name(requirement.name)
        specifier, hashes = requirement.specifier, entry.hashes
        for constraint in by_name.get(name, ()):
            specifier &= cast("Requirement", constraint.requirement).specifier
            hashes = hashes & constraint.hashes if hashes and constraint.hashes else hashes | constraint.hashes
        worded = entry.worded
        version = _version(specifier)
        if version is None:
            unpinned.append(f"{worded} is not pinned to one version")
        elif not hashes:
            unhashed.append(worded)
        elif (known := pinned.setdefault(name, (version, hashes)))[0] != version:
            unpinned.append(f"{worded} is also pinned to {known[0]}")
        else:
            pinned[name] = version, hashes | known[1]
    _refuse_unpinned(unpinned, unhashed, path, hint=hint)
    return {(name, version): hashes for name, (version, hashes) in pinned.items()}


def _refuse_unpinned(unpinned: Sequence[str], unhashed: Sequence[str], path: Path, *, hint: str) -> None:
    missing = f"no SHA-256 for {', '.join(unhashed)}" if unhashed else ""
    message = f"`{path}` does not lock all requirements: {_joined([*filter(None, (missing, *unpinned))])}"
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
    """A requirement on a file, directory or repository instead of a version."""

    def __init__(self, entry: RequirementLine, project: Path) -> None:
        """Read *entry*. Its relative path may start in the directory *project*, where a user runs most commands."""
        place = entry.place or (entry.requirement.url if entry.requirement else None) or ""
        address, _, fragment = place.partition("#")
        self._entry = entry
        # If it has an `@`, the URL has a password with a number sign.
        self._after = fragment
        self._fragment = {key: values[0] for key, values in parse_qs(fragment).items()}
        self._vcs, _, repository = address.partition("+") if re.match(r"(git|hg|svn|bzr)\+", address) else ("", "", "")
        self._commit = ""
        self._url = repository if self._vcs else address if re.match(r"https?://", address) else None
        if self._vcs:
            before, _, after = repository.rpartition("@")
            # Before the first slash, the separator is that of a user name.
            is_commit = "/" in before.partition("://")[2]
            self._url, self._commit = (before, after) if is_commit else (repository, "")
        local = path_of(address) if address.startswith("file:") else re.sub(r"\[[^\]]*\]$", "", address)
        # uv and pip-tools write a path as it is in the source, where it starts in the directory in which they run.
        starts = dict.fromkeys((entry.compiled_in or entry.directory, entry.directory, project))
        self._places = tuple(dict.fromkeys(Path(os.path.normpath(start / local)) for start in starts))
        self._path = next((place for place in self._places if place.exists()), self._places[0])
        self._hashes = entry.hashes | (
            {self._fragment["sha256"].lower()} if "sha256" in self._fragment else frozenset()
        )
        self._is_file = self._url is not None or self._path.suffix in {".whl", ".gz", ".zip", ".bz2", ".xz", ".tar"}

    @property
    def worded(self) -> str:
        """The requirement's name and position, formatted for errors."""
        if self._entry.requirement:
            return self._entry.worded
        if not self._entry.is_public or "@" in self._after:
            shown = "a URL" if self._url else "a path"
        else:
            # With the commit: what precedes the last `@` may be a password.
            shown = (
                f"`{redacted(f'{self._url}@{self._commit}' if self._commit else self._url)}`"
                if self._url
                else f"`{shown_path(self._path).rpartition('/')[2]}`"
            )
        return f"{shown} ({self._entry.origin})"

    @property
    def needs_hash(self) -> bool:
        """Whether the requirement is for a file and does not have exactly one hash."""
        return not self._vcs and self._is_file and len(self._hashes) != 1

    @property
    def problem(self) -> str | None:
        """The reason why the requirement is not locked, or ``None``. `needs_hash` checks the hashes."""
        if self._vcs and self._vcs != "git":
            return f"{self.worded} is in a {self._vcs} repository, but lamina supports only git"
        if self._vcs and not _COMMIT.fullmatch(self._commit):
            revision = f"`{self._commit}`" if self._commit else "the default branch"
            return f"{self.worded} refers to {revision} instead of a full git commit"
        if self.is_directory and not self._path.is_dir():
            if not self._entry.is_public:
                return f"{self.worded} does not lead to a directory, wheel or source archive"
            places = " or ".join(f"`{shown_path(place)}`" for place in self._places)
            return f"{self.worded} refers to {places}, which is not a directory, wheel or source archive"
        if self.name is None:
            place = redacted(self._entry.place or "") if self._entry.is_public else "PLACE"
            return f"{self.worded} has no distribution name that lamina can read: write it as `NAME @ {place}`"
        return None

    @property
    def is_directory(self) -> bool:
        """Whether the requirement is for a local directory, which may not exist."""
        return not self._vcs and not self._is_file

    @property
    def name(self) -> str | None:
        """The normalised name of the distribution; ``None`` if nothing says it."""
        if self._entry.requirement:
            return canonicalize_name(self._entry.requirement.name)
        if "egg" in self._fragment:
            return canonicalize_name(self._fragment["egg"].partition("[")[0])
        filename = self._filename
        if filename.endswith(".whl"):
            return canonicalize_name(filename.partition("-")[0])
        if self._is_file or self._vcs:
            return canonicalize_name(filename.rpartition("-")[0]) or None
        return read_name(self._path)

    @property
    def _filename(self) -> str:
        return unquote(redacted(self._url)).rpartition("/")[2] if self._url else self._path.name

    def add_to(self, packages: Packages) -> None:
        """Add the requirement to *packages*."""
        package, subdirectory = {"name": self.name}, self._fragment.get("subdirectory")
        if self._vcs:
            packages.add_git(package, self._url or "", self._commit, subdirectory=subdirectory)
        elif self._is_file:
            packages.add_archive(package, self._url or self._path, self._hashes, self.worded, subdirectory=subdirectory)
        else:
            packages.add_directory(package, self._path, editable=self._entry.editable)
