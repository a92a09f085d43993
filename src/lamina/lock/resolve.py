"""
Walk from a project's requirements to everything they need, in a lock that holds versions and no verdicts. Pure.

Such a lock says for which requirement a package is there only by name and version. Where two versions of one package
are locked, markers on the way decide; what they leave open is settled by the requirements that can only mean one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from packaging.markers import InvalidMarker, Marker
from packaging.version import Version

from lamina.core.errors import LockSyntaxError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from lamina.core.target import Target

__all__ = ["LockedVersion", "Want", "applies", "reach"]

# Both operands are literals, so text is enough; the marker's own grammar checks the rest.
_EXTRA = re.compile(r"""\bextra\s*(==|!=)\s*(['"])([^'"]*)\2""")


@dataclass(frozen=True, kw_only=True, slots=True)
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


@dataclass(frozen=True, kw_only=True, slots=True)
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


def applies(marker: str | None, extras: Collection[str], target: Target) -> bool:
    """
    Return whether *marker* holds for *target* where all of *extras* are chosen at once.

    Raises `LockSyntaxError` where it is no marker.
    """
    if not marker:
        return True
    # The one `extra` of a dependency specifier becomes a set, as lock files have it (PEP 751).
    several = _EXTRA.sub(lambda found: f"'{found[3]}' {'in' if found[1] == '==' else 'not in'} extras", marker)
    variables = cast("Mapping[str, str]", target.markers)
    try:
        return Marker(several).evaluate({**variables, "extras": frozenset(extras)}, context="lock_file")
    except InvalidMarker as error:
        raise LockSyntaxError(f"a marker cannot be understood: {error}") from error
