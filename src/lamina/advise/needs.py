"""
Find what each function needs: from its handler through the service's own modules to distributions, and what these require.

::

    handler ──imports──▶ own modules ──imports──▶ distributions ──Requires-Dist──▶ distributions

The imports are those that decide which modules get bytecode, but each function is searched by itself. A required distribution counts
even if no import of it is found, because the code that imports it may compute its name. An extra counts if a distribution that
the function needs requests it. For an extra that the project requests, the imports decide: otherwise all functions would need the
extras of a library that one of them uses.
"""

from __future__ import annotations

import re
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from lamina.bytecode.choice import Closure, first_party, paths_by_name, reach_place, starts
from lamina.bytecode.imports.rules import FIRST_PARTY
from lamina.core.errors import LockError
from lamina.core.frozen import frozen
from lamina.core.names import normalized
from lamina.core.store import key_of
from lamina.pipeline.checks import sdk
from lamina.pipeline.checks.imports import import_lines
from lamina.pipeline.checks.origins import Origins
from lamina.pipeline.packages import all_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from packaging.requirements import Requirement

    from lamina.archive.segment import Recipe
    from lamina.bytecode.choice import Start
    from lamina.bytecode.imports.resolve import Module, Reachable
    from lamina.core.store import Store
    from lamina.core.values import Pin, Wheel
    from lamina.pipeline.artifacts import ArtifactProvider
    from lamina.pipeline.plan import TargetPlan
    from lamina.project.service import Function

_EXTRA = re.compile(r'extra == "([^"]+)"')

NEEDS_AREA = "needs"
"""The area of the store with the modules of distributions that one function reaches."""
REQUIRES_AREA = "requires"
"""The area of the store with the requirements in the METADATA of wheels."""


@frozen
class Imported:
    """An import in the service's own code: where it is, and the module that it names."""

    path: str
    """The source, relative to the project; its path in the package if the project does not have it."""
    line: int | None
    module: str


@frozen
class NeedExplanation:
    """Why a function needs a distribution."""

    function: str
    chain: tuple[str, ...]
    """The modules from the handler's to the first one of a distribution; empty if the function does not need it."""
    imported: Imported | None
    """The import that leaves the service's own code; ``None`` if it is not known, such as for a module from a profile."""
    distributions: tuple[str, ...]
    """The distributions from the first one that the service's own code imports to the explained one."""
    required_from: int
    """The position in *distributions* of the first one that is there because the one before it requires it, not by an import."""


@frozen
class Reason:
    """Why a distribution is in the lock file, and which functions need it."""

    distribution: str
    version: str
    explanations: tuple[NeedExplanation, ...]
    """One for each function that needs it, in the order of the configuration."""
    required_by: tuple[str, ...]
    """The locked distributions that require it on this target, sorted; with their extras if only these do, as ``name[extra]``."""


class _Edge(NamedTuple):
    """A requirement of one distribution on another."""

    name: str
    extras: tuple[str, ...]


class NeedsSearch:
    """The search for what the functions of one target need. The store keeps the results."""

    def __init__(self, plan: TargetPlan, artifacts: ArtifactProvider, store: Store) -> None:
        """
        Search with the distributions of all layers of *plan*, which is complete.

        Raises `LockError` if two layers have different files of one distribution, because no other layout could have both.
        """
        self._plan = plan
        self._artifacts = artifacts
        self._store = store
        self.pins = _all_pins(plan)
        """The distributions of all layers, by name, sorted."""
        self.sources = all_sources(plan.package_plans) or artifacts.sources(plan.service, plan.local, fetch=True) or ()
        """The sources of each function package."""

    def needed(self) -> dict[str, frozenset[str]]:
        """
        Return the names of the distributions that each function needs, by the function's name.

        Raises BytecodeError if there is no interpreter of the target's version, and the errors of fetching wheels.
        """
        return {name: self._closed(reached) for name, reached in self._reached().items()}

    def reason(self, distribution: str, functions: Sequence[Function]) -> Reason:
        """
        Return why the lock file has *distribution*, and why each of *functions* needs it.

        *distribution* is one of `pins`. Raises the errors of `needed`.
        """
        reached = self._reached()
        ways = {each.name: _way(distribution, self._required(reached[each.name])) for each in functions}
        needing = [each for each in functions if ways[each.name]]
        found = self._search(needing) if needing else ()
        return Reason(
            distribution=distribution,
            version=self.pins[distribution].version,
            explanations=tuple(
                self._explain(function, ways[function.name], reachable)
                for function, reachable in zip(needing, found, strict=True)
            ),
            required_by=tuple(filter(None, (self._requiring(name, distribution) for name in self.pins))),
        )

    def _requiring(self, name: str, distribution: str) -> str:
        """Return *name* if it requires *distribution*, with the extras that do if only these do; otherwise an empty text."""
        if any(edge.name == distribution for edge in self._edges(name, None)):
            return name
        extras = sorted({extra for each in self._requirements[name] for extra in _EXTRA.findall(str(each.marker))})
        asking = [extra for extra in extras if any(edge.name == distribution for edge in self._edges(name, extra))]
        return f"{name}[{','.join(asking)}]" if asking else ""

    def _reached(self) -> dict[str, frozenset[str]]:
        """Return the distributions that each function reaches by imports, from the store as far as it has them."""
        functions = self._plan.service.functions
        kept: dict[Path, Mapping[str, Sequence[str]]] = {}
        new: dict[Path, Function] = {}
        places: dict[str, Path] = {}
        for function in functions:
            place = places[function.name] = self._place(function)
            known = self._store.read_document(place, self._parse)
            if known is not None:
                kept[place] = known
            else:
                new.setdefault(place, function)
        if new:
            for (place, function), reachable in zip(new.items(), self._search(tuple(new.values())), strict=True):
                kept[place] = self._keep(function, place, reachable)
        return {function.name: frozenset(kept[places[function.name]]) for function in functions}

    def _search(self, functions: Sequence[Function]) -> tuple[Reachable, ...]:
        from lamina.bytecode.imports.search import reachable

        service = self._plan.service
        packages = [
            first_party(service, self._start(function), label=f"\nfunction {function.name}") for function in functions
        ]
        everything = Closure(functions=(), pins=self._pinned(), recipe=self.recipe)
        # Closed explicitly, so that an error stops the downloads at once.
        with closing(self._artifacts.codes(everything, ())) as wheels:
            return reachable(packages, wheels, compiler=self._artifacts.toolchain.compiler, store=self._store)

    def _keep(self, function: Function, place: Path, found: Reachable) -> dict[str, list[str]]:
        """Keep what *function* reaches, also as the choice of its bytecode, which would otherwise need the same search again."""
        modules: dict[str, list[str]] = {}
        for module, _ in found.reached:
            if module.distribution != FIRST_PARTY:
                modules.setdefault(module.distribution, []).append(module.path)
        self._store.write_document(place, modules)
        for names in (self.pins.keys(), self._closed(modules)):
            closure = self._closure(function, names)
            chosen = {pin.name: sorted(found.members(pin.name)) for pin in closure.pins}
            self._store.write_document(
                reach_place(self._plan.service, closure, self._start(function), self._store), chosen
            )
        return modules

    def _closure(self, function: Function, names: Collection[str]) -> Closure:
        pins = tuple(pin for name, pin in self.pins.items() if name in names)
        return Closure(functions=(function,), pins=pins, recipe=self.recipe)

    @property
    def recipe(self) -> Recipe:
        """The recipe of modules in the first layer, or in the first zip with distributions."""
        return self._plan.contents[0].recipe.modules

    def _start(self, function: Function) -> Start:
        (start,) = starts(self._plan.service, self._closure(function, ()), self.sources)
        return start

    def _place(self, function: Function) -> Path:
        closure = self._closure(function, self.pins)
        key = reach_place(self._plan.service, closure, self._start(function), self._store).stem
        return self._store.entry(NEEDS_AREA, key, ".json")

    def _parse(self, rows: object) -> dict[str, list[str]]:
        found = paths_by_name(rows)
        if not found.keys() <= self.pins.keys():
            raise ValueError("other distributions")
        return found

    def _pinned(self) -> tuple[Pin, ...]:
        return tuple(self.pins.values())

    def _closed(self, reached: Iterable[str]) -> frozenset[str]:
        """Return *reached* with all that these distributions require."""
        return frozenset(name for name, _ in self._required(reached))

    def _required(self, reached: Iterable[str]) -> dict[tuple[str, str | None], str | None]:
        """
        Return *reached* and all that it requires: each distribution with each requested extra, and the distribution that requires it.

        Breadth-first, so that the way through the requiring distributions is the shortest one. One distribution of the AWS SDK requires
        the others: a function would import those of the runtime otherwise, which need other versions.
        """
        together = sdk.core()
        found: dict[tuple[str, str | None], str | None] = {(name, None): None for name in sorted(reached)}
        waiting = list(found)
        for name, extra in waiting:
            others = [_Edge(each, ()) for each in together if name in together and each != name]
            for edge in (*self._edges(name, extra), *others):
                for wanted in (None, *edge.extras):
                    if edge.name in self.pins and (edge.name, wanted) not in found:
                        found[edge.name, wanted] = name
                        waiting.append((edge.name, wanted))
        return found

    def _edges(self, name: str, extra: str | None) -> Iterator[_Edge]:
        """Yield what *name* requires on the target, or what its *extra* requires in addition."""
        markers = {
            **{key: str(value) for key, value in self._plan.service.target.markers.items()},
            "extra": extra or "",
        }
        for requirement in self._requirements[name]:
            if requirement.marker.evaluate(markers) if requirement.marker is not None else extra is None:
                yield _Edge(normalized(requirement.name), tuple(sorted(requirement.extras)))

    @cached_property
    def _requirements(self) -> dict[str, tuple[Requirement, ...]]:
        return {
            name: tuple(_parsed(texts))
            for name, texts in _read_requirements(self._pinned(), self._artifacts.wheels.all, self._store).items()
        }

    def _explain(self, function: Function, way: Sequence[str], found: Reachable) -> NeedExplanation:
        """Return why *function* needs the last distribution on *way*, as `_way` returns it; *found* is what the function reaches."""
        chains = [found.chain(each.module.name) for each in found.reached if each.module.distribution == way[0]]
        chain = min(chains, key=lambda each: (len(each), each))
        modules = {each.module.name: each.module for each in found.reached}
        own = [name for name in chain if modules[name].distribution == FIRST_PARTY]
        outside = chain[len(own) :]
        imported = self._imported(function, modules[own[-1]], modules[outside[0]]) if own else None
        through = list(dict.fromkeys(modules[name].distribution for name in outside))
        return NeedExplanation(
            function=function.name,
            chain=(*own, outside[0]),
            imported=imported,
            distributions=(*through, *way[1:]),
            required_from=len(through),
        )

    def _imported(self, function: Function, importer: Module, module: Module) -> Imported:
        package = next(
            each for each in self.sources if any(shared.name == function.name for shared in each.config.functions)
        )
        source = next(file for file in package.tree.files if file.path == importer.path).read()
        lines = [
            line
            for (base, level, names), line in import_lines(source).items()
            for name in [importer.relative(level, base) if level else base]
            if f"{name}.".startswith(f"{module.name}.") or module.name in {f"{name}.{each}" for each in names}
        ]
        path = Origins(self._plan.service).of(importer.path, function.name) or importer.path
        return Imported(path=path, line=min(lines, default=None), module=module.name)


def _all_pins(plan: TargetPlan) -> dict[str, Pin]:
    found: dict[str, Pin] = {}
    for selection in (*(layer.selection for layer in plan.contents), *plan.unused):
        for pin in selection.pins:
            if found.setdefault(pin.name, pin).sha256 != pin.sha256:
                raise LockError(
                    f"layers lock different files of `{pin.name}` ({found[pin.name].filename} and {pin.filename}), so other "
                    "layouts of the layers cannot be compared",
                    hint="select groups and extras that lock the same version in all layers",
                )
    return {name: found[name] for name in sorted(found)}


def _way(distribution: str, required: Mapping[tuple[str, str | None], str | None]) -> list[str]:
    """Return the distributions that lead to *distribution* in *required*, from one that is imported; empty if none does."""
    parents: dict[str, str | None] = {}
    for (name, _), parent in required.items():
        parents.setdefault(name, parent)
    way: list[str] = []
    current: str | None = distribution if distribution in parents else None
    while current is not None:
        way.append(current)
        current = parents[current]
    return way[::-1]


def _parsed(texts: Iterable[str]) -> Iterator[Requirement]:
    from packaging.requirements import InvalidRequirement, Requirement

    for text in texts:
        try:
            yield Requirement(text)
        except InvalidRequirement:
            # A requirement in an outdated format. The lock file has what it resolved to, and the imports decide.
            continue


def _read_requirements(
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
