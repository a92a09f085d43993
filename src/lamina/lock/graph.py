"""
Find the locked packages that a project needs, by walking the dependency graph from its requirements.

Some lock formats list packages without their groups and markers, so the walk determines which packages apply. If a package
is locked in several versions, usually the markers of only one are true. Otherwise, lamina selects the version that the
requirements allow.
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


def any_version(version: str) -> bool:  # noqa: ARG001 - every version is allowed
    """Return ``True`` for every *version*."""
    return True


@frozen
class ActiveDependency:
    """One requirement that applies to the target."""

    name: str
    """The required package's normalised name (PEP 503)."""
    allows: Callable[[str], bool]
    """A function that returns whether a version satisfies the requirement."""
    extras: tuple[str, ...]
    """The required extras: normalised names (PEP 685)."""
    text: str
    """The requirement, formatted for errors."""


@frozen
class Dependency:
    """One requirement of a project or of a locked package; it may not apply to the target."""

    name: str
    """The required package's normalised name (PEP 503)."""
    allows: Callable[[str], bool]
    """
    A function that returns whether a version satisfies the requirement.

    `any_version` if the requirement names a file, directory or repository.
    """
    allows_python: Callable[[str], bool] | None = None
    """
    A function that returns whether the requirement applies to a Python version such as ``3.12.7``.

    ``None`` if the requirement applies to every Python version.
    """
    marker: Marker | None = None
    """The requirement's marker, parsed with `parse_marker`; ``None`` if the requirement always applies."""
    extras: tuple[str, ...] = ()
    """The required extras: normalised names (PEP 685)."""
    condition: str = ""
    """The allowed versions, formatted for errors; empty if every version is allowed."""
    optional: bool = False

    @classmethod
    def of(cls, requirement: Requirement, *, free: bool = False) -> Dependency:
        """
        Convert *requirement* to a dependency.

        The dependency allows every version if *requirement* has a URL, or if *free* is true.
        """
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
        """
        Return this dependency for *target*, or ``None`` if it does not apply there.

        *extras* are the selected extras of the project or package that has the dependency.
        """
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
    """The requirements in a ``pyproject.toml``, as the tool that writes the lock reads them."""

    path: Path
    name: str | None = None
    """
    The project's normalised name (PEP 503).

    ``None`` if the project has no name, or if the lock tool does not ignore requirements on the project itself.
    """
    main: tuple[Dependency, ...]
    """The project's own dependencies, including optional ones."""
    extras: Mapping[str, tuple[Dependency, ...]]
    groups: Mapping[str, tuple[Dependency, ...]]
    """The dependencies of each group, without the main group."""

    def active_dependencies(self, request: Request) -> Iterator[ActiveDependency]:
        """Yield the dependencies that apply to *request*, and ignore groups and extras that the project does not have."""
        chosen = [dependency for dependency in self.main if not dependency.optional]
        for extra in request.extras:
            chosen += self.extras.get(extra, ())
        for group in request.groups:
            chosen += self.groups.get(group, ())
        for dependency in chosen:
            if dependency.name != self.name and (active := dependency.active(request.target, request.extras)):
                yield active

    def unmet(self, request: Request, locked: Collection[tuple[str, str | None]]) -> list[str]:
        """Return the requirements that no pair of name and version in *locked* satisfies, formatted for errors."""
        return [
            f"{dependency.text} is required but not locked"
            for dependency in self.active_dependencies(request)
            if not any(
                name == dependency.name and (version is None or dependency.allows(version)) for name, version in locked
            )
        ]

    def walk(self, request: Request, nodes: Sequence[LockedVersion], *, command: str) -> list[int]:
        """
        Return the positions of the *nodes* that *request* needs.

        Raises `StaleLockError` if a requirement is not locked. Its hint shows *command*, which regenerates the lock.
        """
        positions, unmet = needed(self.active_dependencies(request), nodes)
        staleness.refuse([f"{text} is required but not locked" for text in unmet], request, command)
        return positions


@frozen
class LockedVersion:
    """One locked version of a package."""

    name: str
    version: str
    dependencies: Callable[[Collection[str]], Iterable[ActiveDependency]]
    """A function that returns the version's dependencies, given its selected extras."""


def needed(roots: Iterable[ActiveDependency], nodes: Sequence[LockedVersion]) -> tuple[list[int], list[str]]:
    """Return the positions of all *nodes* reachable from *roots*, and the text of each requirement that no node satisfies."""
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
        """
        Select a version for the alphabetically first package that still has several candidates.

        Select the version that most of the open requirements on the package allow; of several, the highest.
        """
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
