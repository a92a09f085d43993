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

from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.advise.requirements import RequirementGraph
from lamina.bytecode.choice import Closure, Start, first_party, paths_by_name, reach_place
from lamina.bytecode.imports.rules import FIRST_PARTY
from lamina.bytecode.imports.rules import version as imports_version
from lamina.core.errors import LockError
from lamina.core.store import key_of
from lamina.pipeline.checks import sdk
from lamina.pipeline.packages import all_sources
from lamina.project import profile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from lamina.archive.segment import Recipe
    from lamina.bytecode.compiler import Compiler
    from lamina.bytecode.imports.resolve import Reachable
    from lamina.core.store import Store
    from lamina.core.values import Pin
    from lamina.pipeline.artifacts import ArtifactProvider
    from lamina.pipeline.plan import TargetPlan
    from lamina.project.service import Function

NEEDS_AREA = "needs"
"""The area of the store with the modules of distributions that one function reaches."""
_FORMAT = 1


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
        self.requirements = RequirementGraph(
            (*self.pins.values(), *plan.local), artifacts.wheels.all, plan.service.target, store
        )
        """What the distributions and the local packages require."""

    @property
    def compiler(self) -> Compiler:
        """The target's interpreter. Raises BytecodeError if there is none of the target's version."""
        return self._artifacts.toolchain.compiler

    @property
    def recipe(self) -> Recipe:
        """The recipe of modules in the first layer, or in the first zip with distributions."""
        return self._plan.contents[0].recipe.modules

    def needed(self) -> dict[str, frozenset[str]]:
        """
        Return the names of the distributions that each function needs, by the function's name.

        Raises BytecodeError if there is no interpreter of the target's version, and the errors of fetching wheels.
        """
        return {name: self.closed(reached) for name, reached in self.reached().items()}

    def required(self, reached: Iterable[str]) -> dict[tuple[str, str | None], str | None]:
        """
        Return the distributions *reached* and all that they require, as `RequirementGraph.closed` does.

        A function needs all distributions of the AWS SDK or none: it would import those of the runtime otherwise, of other versions.
        """
        return self.requirements.closed(((name, None) for name in sorted(reached)), together=sdk.core())

    def locked_for(self, local: str) -> tuple[str, ...]:
        """Return the distributions that the *local* package requires itself."""
        return tuple(
            dict.fromkeys(edge.name for edge in self.requirements.edges(local, None) if edge.name in self.pins)
        )

    def reached(self) -> dict[str, frozenset[str]]:
        """
        Return the distributions that each function reaches by imports, from the store as far as it has them.

        Raises the errors of `needed`.
        """
        functions = self._plan.service.functions
        kept: dict[Path, Mapping[str, Sequence[str]]] = {}
        new: dict[Path, Function] = {}
        places = {function.name: self._place(function) for function in functions}
        for function in functions:
            place = places[function.name]
            if place in kept or place in new:
                continue
            known = self._store.read_document(place, paths_by_name)
            if known is not None:
                kept[place] = known
            else:
                new[place] = function
        if new:
            for (place, function), reachable in zip(new.items(), self.search(tuple(new.values())), strict=True):
                kept[place] = self._keep(function, place, reachable)
        return {function.name: frozenset(kept[places[function.name]]) for function in functions}

    def search(self, functions: Sequence[Function]) -> tuple[Reachable, ...]:
        """
        Return what each of *functions* reaches. Of modules with the same name, that of a distribution which the function has counts.

        Raises the errors of `needed`.
        """
        from lamina.bytecode.imports.search import reachable

        packages = [
            first_party(self._plan.service, self._starts[each.name], preferred=self._held[each.name])
            for each in functions
        ]
        everything = Closure(functions=(), pins=tuple(self.pins.values()), recipe=self.recipe)
        # Closed explicitly, so that an error stops the downloads at once.
        with closing(self._artifacts.codes(everything, ())) as wheels:
            return reachable(packages, wheels, compiler=self.compiler, store=self._store)

    def _keep(self, function: Function, place: Path, found: Reachable) -> dict[str, list[str]]:
        """Keep what *function* reaches, also as the choice of its bytecode, which would otherwise need the same search again."""
        modules: dict[str, list[str]] = {}
        for module, _ in found.reached:
            if module.distribution != FIRST_PARTY:
                modules.setdefault(module.distribution, []).append(module.path)
        self._store.write_document(place, modules)
        for names in (self.pins.keys(), self.closed(modules)):
            # The search for a choice prefers no distribution.
            if names <= self._held[function.name]:
                self._keep_choice(function, names, found)
        return modules

    def _keep_choice(self, function: Function, names: Collection[str], found: Reachable) -> None:
        pins = tuple(pin for name, pin in self.pins.items() if name in names)
        closure = Closure(functions=(function,), pins=pins, recipe=self.recipe)
        chosen = {pin.name: sorted(found.members(pin.name)) for pin in pins}
        place = reach_place(self._plan.service, closure, self._starts[function.name], self._store)
        self._store.write_document(place, chosen)

    @cached_property
    def _starts(self) -> dict[str, Start]:
        """Where the search for each function starts. Raises ConfigError if the recorded profile is unreadable."""
        recorded = profile.read(self._plan.service.root)
        return {
            each.name: Start(
                handlers=(each.module,), recorded=tuple(sorted({*recorded.get(each.name, ())})), package=package
            )
            for package in self.sources
            for each in package.config.functions
        }

    @cached_property
    def _held(self) -> dict[str, frozenset[str]]:
        """The distributions that each function has now, in its layers or its zip."""
        plan = self._plan
        layers = {each.name: frozenset(pin.name for pin in each.selection.pins) for each in plan.layers}
        held = {
            each.name: frozenset[str]().union(*(layers[name] for name in each.layers))
            for each in plan.service.functions
        }
        for bundle, config in zip(plan.bundles, plan.service.packages, strict=False):
            if bundle is not None:
                names = frozenset(pin.name for pin in bundle.selection.pins)
                held |= {each.name: held[each.name] | names for each in config.functions}
        return held

    @cached_property
    def _inputs(self) -> str:
        """What all searches depend on."""
        files = [(pin.name, pin.sha256) for pin in self.pins.values()]
        return key_of(_FORMAT, *self._plan.service.target.python, files, self.recipe.canonical(), imports_version())

    def _place(self, function: Function) -> Path:
        start, held = self._starts[function.name], self._held[function.name]
        preferred = None if held >= self.pins.keys() else sorted(held)
        key = key_of(self._inputs, start.handlers, start.recorded, start.package.tree.python_digest, preferred)
        return self._store.entry(NEEDS_AREA, key, ".json")

    def closed(self, reached: Iterable[str]) -> frozenset[str]:
        """Return *reached* with all that these distributions require."""
        return frozenset(name for name, _ in self.required(reached)).intersection(self.pins)


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
