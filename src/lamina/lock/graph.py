"""
Walk from a project's requirements to everything they need, in a lock that holds versions and no verdicts.

Such a lock says for which requirement a package is there only by name and version. Where two versions of one package
are locked, markers on the way decide; what they leave open is settled by the requirements that can only mean one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import Version

from lamina.core.frozen import frozen
from lamina.lock import staleness
from lamina.lock.markers import holds, parse_marker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from packaging.markers import Marker
    from packaging.requirements import Requirement

    from lamina.core.target import Target
    from lamina.lock.types import Request


def any_version(version: str) -> bool:  # noqa: ARG001 - no version is looked at
    """Return that *version* will do."""
    return True


@frozen
class ActiveDependency:
    """One requirement that applies to the target."""

    name: str
    """Normalised (PEP 503)."""
    allows: Callable[[str], bool]
    """Whether a version will do."""
    extras: tuple[str, ...]
    """Normalised (PEP 685)."""
    text: str
    """For errors."""


@frozen
class Dependency:
    """One requirement, of a project or of a locked package, whether or not it applies."""

    name: str
    """Normalised (PEP 503)."""
    allows: Callable[[str], bool]
    """Whether a version will do; `any_version` where it names its file, directory or repository."""
    allows_python: Callable[[str], bool] | None = None
    """Whether it applies to a full version of Python."""
    marker: Marker | None = None
    """As `parse_marker` reads it."""
    extras: tuple[str, ...] = ()
    """Normalised (PEP 685)."""
    condition: str = ""
    """The versions that will do, for errors."""
    optional: bool = False

    @classmethod
    def of(cls, requirement: Requirement, *, free: bool = False) -> Dependency:
        """Return what *requirement* asks for; any version will do where it is *free*, or names its place."""
        specifier = requirement.specifier
        return cls(
            name=canonicalize_name(requirement.name),
            allows=any_version
            if requirement.url is not None or free
            else (lambda version: specifier.contains(version, prereleases=True)),
            marker=parse_marker(str(requirement.marker)) if requirement.marker else None,
            extras=tuple(canonicalize_name(extra) for extra in sorted(requirement.extras)),
            condition=str(specifier),
        )

    def active(self, target: Target, extras: Collection[str]) -> ActiveDependency | None:
        """Return this for *target* with *extras* of its parent, or ``None`` where it does not apply."""
        if self.allows_python and not self.allows_python(str(target.markers["python_full_version"])):
            return None
        if not holds(self.marker, extras, target.markers):
            return None
        brackets = f"[{','.join(self.extras)}]" if self.extras else ""
        return ActiveDependency(
            name=self.name, allows=self.allows, extras=self.extras, text=f"`{self.name}{brackets}{self.condition}`"
        )


@frozen
class LockedProject:
    """What one ``pyproject.toml`` asks its locker for."""

    path: Path
    name: str | None = None
    """Normalised (PEP 503); ``None`` where it has none, or requires itself like any other package."""
    main: tuple[Dependency, ...]
    """Optional ones among them."""
    extras: Mapping[str, tuple[Dependency, ...]]
    groups: Mapping[str, tuple[Dependency, ...]]
    """Every group but the main one."""

    def active_dependencies(self, request: Request) -> Iterator[ActiveDependency]:
        """Yield what is asked for by *request*; names that do not exist ask for nothing."""
        chosen = [dependency for dependency in self.main if not dependency.optional]
        for extra in request.extras:
            chosen += self.extras.get(extra, ())
        for group in request.groups:
            chosen += self.groups.get(group, ())
        for dependency in chosen:
            if dependency.name != self.name and (active := dependency.active(request.target, request.extras)):
                yield active

    def unmet(self, request: Request, locked: Collection[tuple[str, str | None]]) -> list[str]:
        """Return what is asked for and not among the *locked* names and versions, worded for errors."""
        return [
            f"{dependency.text} is required and not locked"
            for dependency in self.active_dependencies(request)
            if not any(
                name == dependency.name and (version is None or dependency.allows(version)) for name, version in locked
            )
        ]

    def walk(self, request: Request, nodes: Sequence[LockedVersion], *, command: str) -> list[int]:
        """Return the positions of the *nodes* that are needed; `StaleLockError` if more is needed than is locked."""
        positions, unmet = needed(self.active_dependencies(request), nodes)
        staleness.refuse([f"{text} is required and not locked" for text in unmet], request, command)
        return positions


@frozen
class LockedVersion:
    """One locked version of a package."""

    name: str
    version: str
    dependencies: Callable[[Collection[str]], Iterable[ActiveDependency]]
    """What it requires, together with a choice of its extras."""


def needed(roots: Iterable[ActiveDependency], nodes: Sequence[LockedVersion]) -> tuple[list[int], list[str]]:
    """Return the positions of the *nodes* that *roots* lead to, and every requirement that none of *nodes* meets."""
    walk = _DependencyWalk(nodes)
    walk.run(roots)
    return sorted(walk.reached), sorted(walk.unmet)


class _DependencyWalk:
    def __init__(self, nodes: Sequence[LockedVersion]) -> None:
        self._nodes = nodes
        self._by_name: dict[str, list[int]] = {}
        for position, node in enumerate(nodes):
            self._by_name.setdefault(node.name, []).append(position)
        self.reached: dict[int, frozenset[str]] = {}
        self.unmet: set[str] = set()
        self._queue: list[ActiveDependency] = []
        self._open: list[ActiveDependency] = []

    def run(self, roots: Iterable[ActiveDependency]) -> None:
        self._queue = list(roots)
        while self._queue or self._open:
            if not self._queue:
                self._settle()
            dependency = self._queue.pop()
            found = self._candidates(dependency)
            if not found:
                self.unmet.add(dependency.text)
            elif len(found) > 1:
                self._open.append(dependency)
            else:
                self._take(found[0], dependency.extras)

    def _candidates(self, dependency: ActiveDependency) -> list[int]:
        named = self._by_name.get(dependency.name, ())
        found = [position for position in named if dependency.allows(self._nodes[position].version)]
        return [position for position in found if position in self.reached] or found

    def _settle(self) -> None:
        """Decide the first open name for the highest version that most of its open requirements allow, as a resolver would."""
        name = min(dependency.name for dependency in self._open)
        rivals = [dependency for dependency in self._open if dependency.name == name]
        self._open = [dependency for dependency in self._open if dependency.name != name]
        best = max(
            {position for dependency in rivals for position in self._candidates(dependency)},
            key=lambda position: (
                sum(dependency.allows(self._nodes[position].version) for dependency in rivals),
                Version(self._nodes[position].version),
            ),
        )
        self._take(best, ())
        self._queue += rivals

    def _take(self, position: int, extras: Collection[str]) -> None:
        known = self.reached.get(position)
        if known is None or not known.issuperset(extras):
            self.reached[position] = (known or frozenset()).union(extras)
            self._queue += self._nodes[position].dependencies(self.reached[position])
