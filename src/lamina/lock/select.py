"""
Select the exact artifacts for a target from a lock, without network or file access.

An artifact is a wheel or a source. One is selected for each package that applies to the target. One error lists all packages
without a compatible artifact, with their locked files and the tags that the target supports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never
from urllib.parse import unquote, urlsplit

from packaging.pylock import (
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    PylockSelectError,
)
from packaging.tags import create_compatible_tags_selector
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from lamina.core.errors import LockError, LockSyntaxError, NoCompatibleWheelError
from lamina.core.names import path_of
from lamina.core.urls import ENCODING_HINT, InvalidUrlError, checked, shown_path
from lamina.core.values import DirectorySource, Pin, SdistSource, Selection, Sha256, VcsSource
from lamina.lock.markers import holds
from lamina.lock.validation import one_version_each, python_fits, some_environment_fits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from packaging.pylock import Package, Pylock
    from packaging.tags import Tag

    from lamina.core.target import Target
    from lamina.core.values import Source
    from lamina.lock.types import Lock

_Artifact: TypeAlias = PackageVcs | PackageDirectory | PackageArchive | PackageWheel | PackageSdist

_SAFE_FILENAME = re.compile(r"[\w.+!-]+\.whl")
_SAFE_ARCHIVE = re.compile(r"[\w+!-][\w.+!-]*\.(?:tar\.(?:gz|bz2|xz)|tgz|zip)")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NO_TAGS: frozenset[Tag] = frozenset()
# An error lists this many file names per package, and the number of further ones.
_NAMED_FILES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class _Miss:
    """A package without a compatible artifact, and the reason for an error."""

    package: Package
    offered: tuple[str, ...]
    """The locked artifacts: file names, paths or URLs."""
    reason: str


def select(lock: Lock, *, target: Target) -> Selection:
    """
    Return one wheel or source for each package of *lock* that applies to *target*, sorted by name.

    Of the compatible wheels, the one with the best tag is selected; of equal tags, the one with the highest build number.
    A source is selected only if the lock has no wheel of the package, compatible or not.

    Raises `NoCompatibleWheelError` listing every package that has wheels, but no compatible one. Raises `LockError` if the
    lock or a package does not support the target, if a package has several versions, or if a repository is not locked to a
    full git commit. Raises `LockSyntaxError` if a file name or hash is invalid.
    """
    entries = _entries(lock, target)
    _refuse_moving_references(entries, lock.path)
    results = [_artifact(package, artifact, target) for package, artifact in entries]
    misses = [result for result in results if isinstance(result, _Miss)]
    if misses:
        raise _no_compatible_wheel(sorted(misses, key=lambda miss: miss.package.name), target)
    pins = [result for result in results if isinstance(result, Pin)]
    sources = [result for result in results if isinstance(result, SdistSource | DirectorySource | VcsSource)]
    return Selection(
        target=target,
        pins=tuple(sorted(pins, key=lambda pin: pin.name)),
        sources=tuple(sorted(sources, key=lambda source: source.name)),
        left_out=lock.left_out,
    )


def _refuse_moving_references(entries: Iterable[tuple[Package, _Artifact | None]], path: Path) -> None:
    """Raise `LockError` listing every package from a repository that is not locked to a full git commit."""
    found = [
        f"{_worded(package)} is locked to `{artifact.commit_id}`"
        if artifact.type == "git"
        else f"{_worded(package)} is in a {artifact.type} repository"
        for package, artifact in entries
        if isinstance(artifact, PackageVcs)
        and (artifact.type != "git" or not _COMMIT.fullmatch(artifact.commit_id or ""))
    ]
    if found:
        raise LockError(
            f"`{path}` has packages that are not locked to a full git commit: {'; '.join(sorted(found))}",
            hint="regenerate the lock with a tool that writes full git commits: branches and tags can move",
        )


def _entries(lock: Lock, target: Target) -> tuple[tuple[Package, _Artifact | None], ...]:
    pylock = _ordered(lock.pylock)
    try:
        return tuple(
            pylock.select(
                environment=target.markers, tags=target.tags, extras=lock.extras, dependency_groups=lock.groups
            )
        )
    except PylockSelectError:
        # `packaging` reports only the first problem; validate again to list all of them.
        return tuple(_look_again(lock, pylock, target))


def _ordered(pylock: Pylock) -> Pylock:
    """Return *pylock* with each package's wheels sorted by build number, the highest first: `packaging` prefers the first."""
    return replace(
        pylock,
        packages=[
            replace(package, wheels=sorted(package.wheels, key=_build_and_name, reverse=True))
            if package.wheels and len(package.wheels) > 1
            else package
            for package in pylock.packages
        ],
    )


def _build_and_name(wheel: PackageWheel) -> tuple[int, str]:
    # name-version(-build)?-python-abi-platform. Parsing every file name in full would dominate the time of a selection.
    filename = wheel.filename
    parts = filename.split("-")
    digits = parts[2][: len(parts[2]) - len(parts[2].lstrip("0123456789"))] if len(parts) == 6 else ""
    return int(digits or -1), filename


def _look_again(lock: Lock, pylock: Pylock, target: Target) -> Iterator[tuple[Package, _Artifact | None]]:
    path = lock.path
    python_fits(pylock.requires_python, target, subject=f"`{path}`")
    some_environment_fits(pylock.environments or (), target, path=path)
    applicable = [each for each in pylock.packages if holds(each.marker, lock.extras, target.markers, lock.groups)]
    _refuse_other_pythons(applicable, target, path)
    one_version_each(((package.name, package.version) for package in applicable), subject=f"`{path}` has")
    compatible = create_compatible_tags_selector(target.tags)
    for package in applicable:
        tagged = ((wheel, parse_wheel_filename(wheel.filename)[-1]) for wheel in package.wheels or ())
        best = next(iter(compatible(tagged)), None)
        yield package, package.vcs or package.directory or package.archive or best or package.sdist


def _refuse_other_pythons(packages: Iterable[Package], target: Target, path: Path) -> None:
    version = target.markers["python_full_version"]
    wrong = [
        f"{_worded(package)} requires Python {package.requires_python}"
        for package in packages
        if package.requires_python and not package.requires_python.contains(version, prereleases=True)
    ]
    if wrong:
        raise LockError(
            f"`{path}` has packages that do not support `{target.runtime}` (Python {version}): {'; '.join(sorted(wrong))}",
            hint=f"set `runtime` to a Python version that all of them support, or regenerate the lock for Python {version}",
        )


def _artifact(package: Package, artifact: _Artifact | None, target: Target) -> Pin | Source | _Miss:
    """Convert the artifact of *package* to a pin or a source, or to a miss if lamina cannot use the artifact."""
    match artifact:
        case PackageWheel():
            return _pin(package, artifact, artifact.filename)
        case PackageArchive():
            return _from_archive(package, artifact, target)
        case PackageSdist() if not package.wheels:
            return _sdist(package, artifact, artifact.filename)
        case PackageDirectory():
            path = Path(artifact.path) / (artifact.subdirectory or "")
            return DirectorySource(name=package.name, version=_version(package), path=path)
        case PackageVcs():
            return VcsSource(
                name=package.name,
                version=_version(package),
                url=artifact.url or Path(artifact.path or "").as_uri(),
                commit=artifact.commit_id,
                subdirectory=artifact.subdirectory,
            )
        case PackageSdist() | None:
            # The package has wheels, but none is compatible. Wheels per platform mean that builds differ by platform,
            # so one built from source here would fit this machine, not the target.
            wheels = tuple(wheel.filename for wheel in package.wheels or ())
            offered = (*wheels, artifact.filename) if artifact else wheels
            return _Miss(package=package, offered=offered, reason=_reason(wheels, target))
        case _:
            assert_never(artifact)


def _version(package: Package) -> str | None:
    return str(package.version) if package.version else None


def _from_archive(package: Package, archive: PackageArchive, target: Target) -> Pin | Source | _Miss:
    filename = (
        unquote(urlsplit(archive.url).path if archive.url else archive.path or "").replace("\\", "/").rpartition("/")[2]
    )
    if not filename.endswith(".whl"):
        return _sdist(package, archive, filename)
    if not _tags(filename) & frozenset(target.tags):
        return _Miss(package=package, offered=(filename,), reason=_reason((filename,), target))
    return _pin(package, archive, filename)


def _sdist(package: Package, artifact: PackageSdist | PackageArchive, filename: str) -> SdistSource:
    subdirectory = artifact.subdirectory if isinstance(artifact, PackageArchive) else None
    fields = _fields(package, artifact, filename, _SAFE_ARCHIVE)
    return SdistSource(version=_version(package), subdirectory=subdirectory, **fields)


def _pin(package: Package, artifact: PackageWheel | PackageArchive, filename: str) -> Pin:
    fields = _fields(package, artifact, filename, _SAFE_FILENAME)
    return Pin(version=str(package.version or parse_wheel_filename(filename)[1]), **fields)


def _fields(
    package: Package, artifact: PackageWheel | PackageArchive | PackageSdist, filename: str, safe: re.Pattern[str]
) -> dict[str, Any]:
    """
    Return the fields that pins and sources share, except the version.

    Raises `LockSyntaxError` unless *filename* matches *safe* and the hash is valid: both become parts of paths in the store.
    """
    sha256 = artifact.hashes["sha256"].lower()
    # A compressed platform tag can contain a slash: `any.x/../../y.whl`.
    if not safe.fullmatch(filename) or not _SHA256.fullmatch(sha256):
        raise LockSyntaxError(
            f"{_worded(package)} is locked with an invalid file name or hash: `{shown_path(filename)}`, `{sha256}`",
            hint="regenerate the lock file",
        )
    url, path = artifact.url, Path(artifact.path) if artifact.path else None
    if path is None and url and url.startswith("file:"):
        path, url = path_of(url), None
    try:
        # Before they reach a request, whose error would quote them.
        for address in filter(None, (url, package.index)):
            checked(address)
    except InvalidUrlError as error:
        raise LockSyntaxError(f"{_worded(package)} is locked with an invalid URL", hint=ENCODING_HINT) from error
    return {
        "name": package.name,
        "filename": filename,
        "sha256": Sha256(sha256),
        "url": url,
        "path": path,
        "size": artifact.size,
        "index": package.index,
    }


def _tags(filename: str) -> frozenset[Tag]:
    try:
        return parse_wheel_filename(filename)[-1]
    except InvalidWheelFilename as error:
        raise LockError(f"the lock has an invalid wheel file name: `{filename}`: {error}") from error


def _reason(filenames: Sequence[str], target: Target) -> str:
    """Return why *target* supports none of the wheels *filenames*: the reason for the wheel that is closest to it."""
    tags = _NO_TAGS.union(*(_tags(filename) for filename in filenames))
    machine = target.architecture.machine
    pythons = {(tag.interpreter, tag.abi) for tag in target.tags}
    here = {tag for tag in tags if tag.platform.endswith(f"_{machine}") and "linux" in tag.platform}
    fitting = {tag for tag in tags if (tag.interpreter, tag.abi) in pythons and "linux" in tag.platform}
    if glibc := sorted(tuple(map(int, tag.platform.split("_")[1:3])) for tag in here & fitting if _names_glibc(tag)):
        needed = ".".join(map(str, glibc[0]))
        return f"requires glibc {needed} or newer, but `{target.runtime}` has {'.'.join(map(str, target.glibc))}"
    if here & fitting:
        return "has only musl wheels, but Lambda uses glibc"
    if fitting:
        return f"has no wheel for {target.architecture}"
    if here or any(tag.platform == "any" for tag in tags):
        return f"has no wheel for Python {target.python[0]}.{target.python[1]}"
    return f"has no wheel for Linux on {target.architecture}"


def _names_glibc(tag: Tag) -> bool:
    return tag.platform.startswith("manylinux_")


def _no_compatible_wheel(misses: Sequence[_Miss], target: Target) -> NoCompatibleWheelError:
    lines = [f"{_worded(miss.package)} {miss.reason}; the lock has: {_listed(miss.offered)}" for miss in misses]
    python = f"cp{target.python[0]}{target.python[1]}"
    glibc = f"manylinux_{target.glibc[0]}_{target.glibc[1]}_{target.architecture.machine}"
    lines.append(f"the target supports: {python}, abi3 and pure Python wheels, up to {glibc}")
    lines.append(
        "lock versions that have such a wheel, or build for another target; lamina builds a package from source only if "
        "it has no wheels"
    )
    return NoCompatibleWheelError(
        f"no compatible wheel in the lock for {target}: {', '.join(_worded(miss.package) for miss in misses)}",
        offered={f"{miss.package.name}=={miss.package.version or '?'}": miss.offered for miss in misses},
        hint="\n".join(lines),
    )


def _worded(package: Package) -> str:
    return f"`{package.name}` {package.version}" if package.version else f"`{package.name}`"


def _listed(offered: Sequence[str]) -> str:
    shown = [f"`{name}`" for name in sorted(offered)[:_NAMED_FILES]]
    rest = len(offered) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "") if shown else "nothing"
