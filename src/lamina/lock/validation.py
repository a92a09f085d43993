"""Say no to a lock in one wording, whatever its format. Raises, or returns nothing of note."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlsplit, urlunsplit

from packaging.specifiers import SpecifierSet

from lamina.core.errors import LockError, MissingHashError
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from packaging.markers import Marker

    from lamina.core.target import Target
    from lamina.lock.poetryversions import Constraint
    from lamina.lock.types import Request


def python_fits(requires_python: SpecifierSet | Constraint | None, target: Target, *, subject: str) -> None:
    """Raise `LockError` unless *subject*, such as a lock's path in backticks, takes the target's Python."""
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
            f"{subject} requires Python {requires_python}, and `{target.runtime}` is Python {version}",
            hint="set `runtime` to one that the lock takes, or change `requires-python` and lock again",
        )


def some_environment_fits(environments: Sequence[Marker], target: Target, *, path: Path) -> None:
    """Raise `LockError` if the lock was made for *environments*, and the target is none of them."""
    variables = cast("Mapping[str, str]", target.markers)
    if not environments or any(marker.evaluate(variables, context="requirement") for marker in environments):
        return
    raise LockError(
        f"`{path}` was not locked for {target}, only for: {'; '.join(str(marker) for marker in environments)}",
        hint="add the target to the environments that the lock is made for, and lock again",
    )


def one_version_each(packages: Iterable[tuple[str, object]], *, subject: str) -> None:
    """Raise `LockError` if *packages*, pairs of names and versions, hold a name twice; *subject* is who wants or has them."""
    versions: dict[str, list[str]] = {}
    for name, version in packages:
        versions.setdefault(name, []).append(str(version or "?"))
    several = [f"`{name}` ({', '.join(sorted(found))})" for name, found in sorted(versions.items()) if len(found) > 1]
    if several:
        raise LockError(
            f"{subject} more than one version for one target: {', '.join(several)}",
            hint="two requirements disagree under this choice of groups and extras; lock again, or choose fewer",
        )


def names_known(request: Request, *, groups: Iterable[str], extras: Iterable[str]) -> None:
    """Raise `LockError` naming every requested group and extra that is not among those which the lock holds."""
    path = request.lock_file.path
    facts: list[str] = []
    hints: list[str] = []
    for kind, asked, known in (
        ("dependency group", request.groups, sorted(groups)),
        ("extra", request.extras, sorted(extras)),
    ):
        unknown = [f"`{name}`{did_you_mean(name, known)}" for name in asked if name not in known]
        if unknown:
            facts.append(f"no {kind} {', '.join(unknown)}")
            hints.append(f"{kind}s: {', '.join(f'`{name}`' for name in known) or 'none'}")
    if facts:
        raise LockError(f"`{path}` has {' and '.join(facts)}", hint=f"it has {'; '.join(hints)}")


def hash_missing(offenders: Sequence[str], *, path: Path, command: str) -> None:
    """Raise `MissingHashError` if there are *offenders*, each worded by its reader; *command* makes a lock with hashes."""
    if not offenders:
        return
    raise MissingHashError(
        f"no SHA-256 is locked in `{path}` for: {', '.join(sorted(offenders))}",
        hint=f"lock with hashes: `{command}`; what has no hash cannot be told from what replaced it",
    )


def without_credentials(url: str) -> str:
    """Return *url* without user and password; the user alone stays for ``ssh``, where it is part of the address."""
    if "@" not in url:
        return url
    parts = urlsplit(url)
    userinfo, found, host = parts.netloc.rpartition("@")
    if not found:
        return url
    user = userinfo.partition(":")[0]
    kept = f"{user}@{host}" if parts.scheme.endswith("ssh") else host
    return urlunsplit(parts._replace(netloc=kept))


def with_credentials(url: str, user: str, password: str) -> str:
    """Return *url* with *user* and *password*, for an index to be asked; never for an error or a lock."""
    parts = urlsplit(without_credentials(url))
    userinfo = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{userinfo}@{parts.netloc}"))
