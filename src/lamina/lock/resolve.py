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


def anything(version: str) -> bool:  # noqa: ARG001 - what takes any version looks at none
    """Return that *version* will do."""
    return True


@frozen
class Want:
    """One requirement that applies to the target."""

    name: str
    """Normalised (PEP 503)."""
    takes: Callable[[str], bool]
    """Whether it takes a version."""
    extras: tuple[str, ...]
    """Normalised (PEP 685)."""
    worded: str
    """For errors."""


@frozen
class Dependency:
    """One requirement, of a project or of a locked package, whether or not it applies."""

    name: str
    """Normalised (PEP 503)."""
    takes: Callable[[str], bool]
    """Whether it takes a version; `anything` where it names its file, directory or repository."""
    takes_python: Callable[[str], bool] | None = None
    """Whether it applies to a full version of Python."""
    marker: Marker | None = None
    """As `parse_marker` reads it."""
    extras: tuple[str, ...] = ()
    """Normalised (PEP 685)."""
    condition: str = ""
    """The versions that it takes, for errors."""
    optional: bool = False

    @classmethod
    def of(cls, requirement: Requirement, *, free: bool = False) -> Dependency:
        """Return what *requirement* asks for; any version will do where it is *free*, or names its place."""
        specifier = requirement.specifier
        return cls(
            name=canonicalize_name(requirement.name),
            takes=anything
            if requirement.url is not None or free
            else (lambda version: specifier.contains(version, prereleases=True)),
            marker=parse_marker(str(requirement.marker)) if requirement.marker else None,
            extras=tuple(canonicalize_name(extra) for extra in sorted(requirement.extras)),
            condition=str(specifier),
        )

    def want(self, target: Target, extras: Collection[str]) -> Want | None:
        """Return what this asks for, or nothing where it does not apply to *target* with *extras* of its parent."""
        if self.takes_python and not self.takes_python(str(target.markers["python_full_version"])):
            return None
        if not holds(self.marker, extras, target.markers):
            return None
        brackets = f"[{','.join(self.extras)}]" if self.extras else ""
        return Want(
            name=self.name, takes=self.takes, extras=self.extras, worded=f"`{self.name}{brackets}{self.condition}`"
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

    def wants(self, request: Request) -> Iterator[Want]:
        """Yield what is asked for by *request*; names that do not exist ask for nothing."""
        chosen = [dependency for dependency in self.main if not dependency.optional]
        for extra in request.extras:
            chosen += self.extras.get(extra, ())
        for group in request.groups:
            chosen += self.groups.get(group, ())
        for dependency in chosen:
            if dependency.name != self.name and (want := dependency.want(request.target, request.extras)):
                yield want

    def unmet(self, request: Request, locked: Collection[tuple[str, str | None]]) -> list[str]:
        """Return what is asked for and not among the *locked* names and versions, worded for errors."""
        return [
            f"{want.worded} is required and not locked"
            for want in self.wants(request)
            if not any(name == want.name and (version is None or want.takes(version)) for name, version in locked)
        ]

    def walk(self, request: Request, nodes: Sequence[LockedVersion], *, command: str) -> list[int]:
        """Return the positions of the *nodes* that are needed; `StaleLockError` if more is needed than is locked."""
        positions, unmet = reach(self.wants(request), nodes)
        staleness.refuse([f"{worded} is required and not locked" for worded in unmet], request, command)
        return positions


@frozen
class LockedVersion:
    """One locked version of a package."""

    name: str
    version: str
    needs: Callable[[Collection[str]], Iterable[Want]]
    """What it requires, together with a choice of its extras."""


def reach(roots: Iterable[Want], nodes: Sequence[LockedVersion]) -> tuple[list[int], list[str]]:
    """Return the positions of the *nodes* that *roots* lead to, and every requirement that none of *nodes* meets."""
    walk = _Resolution(nodes)
    walk.run(roots)
    return sorted(walk.reached), sorted(walk.unmet)


class _Resolution:
    def __init__(self, nodes: Sequence[LockedVersion]) -> None:
        self._nodes = nodes
        self._by_name: dict[str, list[int]] = {}
        for position, node in enumerate(nodes):
            self._by_name.setdefault(node.name, []).append(position)
        self.reached: dict[int, frozenset[str]] = {}
        self.unmet: set[str] = set()
        self._queue: list[Want] = []
        self._open: list[Want] = []

    def run(self, roots: Iterable[Want]) -> None:
        self._queue = list(roots)
        while self._queue or self._open:
            if not self._queue:
                self._settle()
            want = self._queue.pop()
            found = self._candidates(want)
            if not found:
                self.unmet.add(want.worded)
            elif len(found) > 1:
                self._open.append(want)
            else:
                self._take(found[0], want.extras)

    def _candidates(self, want: Want) -> list[int]:
        found = [position for position in self._by_name.get(want.name, ()) if want.takes(self._nodes[position].version)]
        return [position for position in found if position in self.reached] or found

    def _settle(self) -> None:
        """Decide the first open name for the highest version that most of its open requirements take, as a resolver would."""
        name = min(want.name for want in self._open)
        wants = [want for want in self._open if want.name == name]
        self._open = [want for want in self._open if want.name != name]
        best = max(
            {position for want in wants for position in self._candidates(want)},
            key=lambda position: (
                sum(want.takes(self._nodes[position].version) for want in wants),
                Version(self._nodes[position].version),
            ),
        )
        self._take(best, ())
        self._queue += wants

    def _take(self, position: int, extras: Collection[str]) -> None:
        known = self.reached.get(position)
        if known is None or not known.issuperset(extras):
            self.reached[position] = (known or frozenset()).union(extras)
            self._queue += self._nodes[position].needs(self.reached[position])
