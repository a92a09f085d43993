"""Check locks for all lock readers. A check returns ``None`` or raises an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from packaging.specifiers import SpecifierSet

from lamina.core.errors import LockError, MissingHashError, UnknownGroupError
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from packaging.markers import Marker

    from lamina.core.target import Target
    from lamina.lock.poetryversions import Constraint
    from lamina.lock.types import Request


def python_fits(requires_python: SpecifierSet | Constraint | None, target: Target, *, subject: str) -> None:
    """
    Raise `LockError` unless *requires_python* allows the target's Python version.

    ``None`` allows every version. *subject* starts the error, and is the lock file's path in backticks.
    """
    version = str(target.markers["python_full_version"])
    match requires_python:
        case None:
            return
        case SpecifierSet():
            fits = requires_python.contains(version, prereleases=True)
        case _:
            fits = requires_python.allows_python(version)
    if not fits:
        raise LockError(
            f"{subject} requires Python {requires_python}, but runtime `{target.runtime}` provides {version}",
            hint="set `runtime` to a version that the lock supports, or change the Python versions that the project supports "
            "and regenerate the lock",
        )


def some_environment_fits(environments: Sequence[Marker], target: Target, *, path: Path) -> None:
    """Raise `LockError` if none of the markers *environments* is true for the target; no markers mean no limit."""
    variables = cast("Mapping[str, str]", target.markers)
    if not environments or any(marker.evaluate(variables, context="requirement") for marker in environments):
        return
    raise LockError(
        f"`{path}` does not cover {target}; it covers only: {'; '.join(str(marker) for marker in environments)}",
        hint="add the target to the supported environments, such as `environments` in `[tool.uv]`, and regenerate the lock",
    )


def one_version_each(packages: Iterable[tuple[str, object]], *, subject: str) -> None:
    """
    Raise `LockError` listing each name that is repeated in *packages*, which are pairs of name and version.

    *subject* starts the error, and has a verb, such as "the lock requires".
    """
    versions: dict[str, list[str]] = {}
    for name, version in packages:
        versions.setdefault(name, []).append(str(version or "?"))
    several = [f"`{name}` ({', '.join(sorted(found))})" for name, found in sorted(versions.items()) if len(found) > 1]
    if several:
        raise LockError(
            f"{subject} more than one version of a package for one target: {', '.join(several)}",
            hint="regenerate the lock, or select fewer groups and extras: the selected ones have conflicting requirements",
        )


def names_known(request: Request, *, groups: Collection[str], extras: Collection[str]) -> None:
    """
    Raise `UnknownGroupError` listing the requested groups and extras that are not among *groups* and *extras*, those of the lock.

    If a name is of the other kind, the hint has the line of configuration that selects it.
    """
    path = request.lock_file.path
    facts: list[str] = []
    hints: list[str] = []
    known_groups, known_extras = sorted(groups), sorted(extras)
    for kind, asked, known, other, others in (
        ("dependency group", request.groups, known_groups, "extra", known_extras),
        ("extra", request.extras, known_extras, "dependency group", known_groups),
    ):
        unknown = [name for name in asked if name not in known]
        misplaced = [name for name in unknown if name in others]
        if unknown:
            # The exact name in the other list says more than a similar name in this one.
            shown = [f"`{name}`{'' if name in misplaced else did_you_mean(name, known)}" for name in unknown]
            facts.append(f"no {kind} {', '.join(shown)}")
        if misplaced:
            key = "groups" if other == "dependency group" else "extras"
            listed = ", ".join(f'"{name}"' for name in misplaced)
            subject = ", ".join(f"`{name}`" for name in misplaced)
            verb = f"are {other}s" if len(misplaced) > 1 else f"is {'an' if other == 'extra' else 'a'} {other}"
            hints.append(f"{subject} {verb}: set `{key} = [{listed}]`")
        if len(unknown) > len(misplaced):
            hints.append(f"available {kind}s: {', '.join(f'`{name}`' for name in known) or 'none'}")
    if facts:
        raise UnknownGroupError(
            f"`{path}` has {' and '.join(facts)}",
            groups=groups,
            extras=extras,
            hint="; ".join(hints),
        )


def hash_missing(unhashed: Sequence[str], *, path: Path, command: str) -> None:
    """
    Raise `MissingHashError` listing the packages *unhashed*, if there are any.

    *unhashed* is formatted for the error. *command* regenerates the lock with hashes.
    """
    if not unhashed:
        return
    raise MissingHashError(
        f"`{path}` has no SHA-256 for: {', '.join(sorted(unhashed))}",
        hint=f"regenerate the lock with hashes: run `{command}`",
    )
