"""Read what distributions require, from the METADATA of their wheels: the edges of the graph in which functions' needs are closed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from lamina.core.names import normalized
from lamina.core.store import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from packaging.requirements import Requirement

    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.core.values import Pin, Wheel

REQUIRES_AREA = "requires"
"""The area of the store with the requirements in the METADATA of wheels."""


class Edge(NamedTuple):
    """A requirement of one distribution on another."""

    name: str
    extras: tuple[str, ...]


class RequirementGraph:
    """The requirements of distributions on a target."""

    def __init__(
        self, pins: Sequence[Pin], wheels: Callable[[Sequence[Pin]], Iterable[Wheel]], target: Target, store: Store
    ) -> None:
        """Read nothing yet. *wheels* returns the wheels of pins, and *store* keeps what they require."""
        self._pins = pins
        self._wheels = wheels
        self._store = store
        self._markers = {name: str(value) for name, value in target.markers.items()}
        self._found: dict[tuple[str, str | None], tuple[Edge, ...]] = {}

    def closed(
        self, roots: Iterable[tuple[str, str | None]], *, together: Sequence[str] = ()
    ) -> dict[tuple[str, str | None], str | None]:
        """
        Return *roots* and all that they require: each distribution with each requested extra, and the distribution that requires it.

        Breadth-first, so that the way through the requiring distributions is the shortest one. One distribution of *together* requires
        the others. Raises the errors of fetching wheels.
        """
        names = {pin.name for pin in self._pins}
        found: dict[tuple[str, str | None], str | None] = dict.fromkeys(roots)
        waiting = list(found)
        for name, extra in waiting:
            others = [Edge(each, ()) for each in together if name in together and each != name]
            for edge in (*self.edges(name, extra), *others):
                for wanted in (None, *edge.extras):
                    if edge.name in names and (edge.name, wanted) not in found:
                        found[edge.name, wanted] = name
                        waiting.append((edge.name, wanted))
        return found

    def requiring(self, distribution: str, direct: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
        """
        Return the other distributions that require *distribution*, sorted; with their extras if only these do, as ``name[extra]``.

        Only extras that are requested count: by *direct*, the extras that the project requests by distribution, or by a distribution.
        """
        asked = [(name, extra) for name, extras in direct.items() for extra in sorted(extras)]
        found: dict[str, list[str | None]] = {}
        for name, extra in self.closed([*((pin.name, None) for pin in self._pins), *asked]):
            if name != distribution and any(edge.name == distribution for edge in self.edges(name, extra)):
                found.setdefault(name, []).append(extra)
        return tuple(
            name if None in extras else f"{name}[{','.join(sorted(filter(None, extras)))}]"
            for name, extras in sorted(found.items())
        )

    def edges(self, name: str, extra: str | None) -> tuple[Edge, ...]:
        """Return what *name* requires on the target, or what its *extra* requires in addition."""
        if (name, extra) not in self._found:
            self._found[name, extra] = tuple(self._edges(name, extra))
        return self._found[name, extra]

    def _edges(self, name: str, extra: str | None) -> Iterator[Edge]:
        from lamina.core.markers import evaluated

        markers = {**self._markers, "extra": extra or ""}
        for requirement in self._requirements.get(name, ()):
            # One that cannot be evaluated is like an invalid requirement: the lock file has what it resolved to, and the imports decide.
            applies = extra is None if requirement.marker is None else evaluated(requirement.marker, markers)
            if applies:
                yield Edge(normalized(requirement.name), tuple(sorted(map(normalized, requirement.extras))))

    @cached_property
    def _requirements(self) -> dict[str, tuple[Requirement, ...]]:
        return {name: tuple(_parsed(texts)) for name, texts in _read(self._pins, self._wheels, self._store).items()}


def _parsed(texts: Iterable[str]) -> Iterator[Requirement]:
    from packaging.requirements import InvalidRequirement, Requirement

    for text in texts:
        try:
            yield Requirement(text)
        except InvalidRequirement:
            # A requirement in an outdated format. The lock file has what it resolved to, and the imports decide.
            continue


def _read(
    pins: Sequence[Pin], wheels: Callable[[Sequence[Pin]], Iterable[Wheel]], store: Store
) -> dict[str, tuple[str, ...]]:
    """Return the ``Requires-Dist`` lines of the wheel of each of *pins*, by name; *store* keeps them."""
    found: dict[str, tuple[str, ...]] = {}
    places = {pin.name: store.entry(REQUIRES_AREA, key_of(1, pin.sha256), ".json") for pin in pins}
    for name, place in places.items():
        known = store.read_document(place, lambda content: tuple(str(text) for text in content["requires"]))
        if known is not None:
            found[name] = known
    new = [pin for pin in pins if pin.name not in found]
    for pin, wheel in zip(new, wheels(new) if new else (), strict=True):
        found[pin.name] = tuple(_requires_dist(wheel))
        store.write_document(places[pin.name], {"requires": found[pin.name]})
    return found


def _requires_dist(wheel: Wheel) -> list[str]:
    from email.parser import BytesHeaderParser

    from lamina.archive.wheel import WheelArchive

    with WheelArchive(wheel.path, name=wheel.pin.filename) as archive:
        metadata = next(each for each in archive.members if each.member.path == f"{archive.dist_info}/METADATA")
        content = archive.read(metadata)
    return [str(text) for text in BytesHeaderParser().parsebytes(content).get_all("Requires-Dist", [])]
