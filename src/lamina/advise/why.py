"""Explain why a distribution is in the lock file, and why functions need it: the data of ``lamina advise --why``."""

from __future__ import annotations

import json
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.bytecode.bounds import is_too_large
from lamina.bytecode.imports import lines
from lamina.bytecode.imports.rules import FIRST_PARTY
from lamina.bytecode.workers import Program
from lamina.core.frozen import frozen
from lamina.lock import formats
from lamina.lock.declared import declared
from lamina.pipeline.checks.origins import Origins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lamina.advise.needs import NeedsSearch
    from lamina.bytecode.compiler import Compiler
    from lamina.bytecode.imports.resolve import Module, Reachable
    from lamina.project.service import Function, Service
    from lamina.project.sources import PackageSources

_LINES = Program(Path(lines.__file__))


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
    is_direct: bool | None
    """Whether the project itself requires it; ``None`` if no file lists what the project requires."""
    required_by: tuple[str, ...]
    """The locked distributions that require it on this target, sorted; with their extras if only these do, as ``name[extra]``."""


def reason(distribution: str, functions: Sequence[Function], search: NeedsSearch, service: Service) -> Reason:
    """
    Return why the lock file has *distribution*, one of those of *search*, and why each of *functions* of *service* needs it.

    Raises the errors of `NeedsSearch.needed`, and those of reading what the project requires.
    """
    direct = _direct(service)
    reached = search.reached()
    ways = {each.name: _way(distribution, search.required(reached[each.name])) for each in functions}
    needing = [each for each in functions if ways[each.name]]
    explainer = _Explainer(service, search.sources, search.compiler) if needing else None
    return Reason(
        distribution=distribution,
        version=search.pins[distribution].version,
        explanations=tuple(
            explainer.explain(function, ways[function.name], found)
            for function, found in zip(needing, search.search(needing) if needing else (), strict=True)
            if explainer is not None
        ),
        is_direct=None if direct is None else distribution in direct,
        required_by=search.requirements.requiring(distribution, direct or {}),
    )


def _direct(service: Service) -> dict[str, frozenset[str]] | None:
    """Return what the project requires for the layers of *service*, with the extras that it requests; ``None`` if that is unknown."""
    lock_file = formats.find(service.root, service.lock, target=service.target)
    found: dict[str, frozenset[str]] = {}
    for groups, extras in dict.fromkeys((each.groups, each.extras) for each in service.selected):
        declarations = declared(lock_file, service.target, groups=groups, extras=extras)
        if declarations is None:
            return None
        for name, asked in declarations.items():
            found[name] = found.get(name, frozenset()) | asked
    return found


class _Explainer:
    """Explains why functions need a distribution."""

    def __init__(self, service: Service, sources: Sequence[PackageSources], compiler: Compiler) -> None:
        self._sources = sources
        self._compiler = compiler
        self._origins = Origins(service)

    def explain(self, function: Function, way: Sequence[str], found: Reachable) -> NeedExplanation:
        """Return why *function* needs the last distribution on *way*, as `_way` returns it; *found* is what the function reaches."""
        chains = [found.chain(each.module.name) for each in found.reached if each.module.distribution == way[0]]
        chain = min(chains, key=lambda each: (len(each), each))
        modules = {each.module.name: each.module for each in found.reached}
        # The service's own code may also replace a module that a distribution imports, further on.
        own = tuple(takewhile(lambda name: modules[name].distribution == FIRST_PARTY, chain))
        outside = chain[len(own) :]
        imported = self._imported(function, modules[own[-1]], modules[outside[0]]) if own else None
        through = list(dict.fromkeys(modules[name].distribution for name in outside))
        if FIRST_PARTY in through:
            through.remove(FIRST_PARTY)
        return NeedExplanation(
            function=function.name,
            chain=(*own, outside[0]),
            imported=imported,
            distributions=(*through, *way[1:]),
            required_from=len(through),
        )

    def _imported(self, function: Function, importer: Module, module: Module) -> Imported:
        package = next(
            each for each in self._sources if any(shared.name == function.name for shared in each.config.functions)
        )
        source = next(file for file in package.tree.files if file.path == importer.path).read()
        found = [
            line
            for base, level, names, line in self._rows(importer.path, source)
            for name in [importer.relative(level, base) if level else base]
            if f"{name}.".startswith(f"{module.name}.") or module.name in {f"{name}.{each}" for each in names}
        ]
        path = self._origins.of(importer.path, function.name) or importer.path
        return Imported(path=path, line=min(found, default=None), module=module.name)

    def _rows(self, path: str, source: bytes) -> list[tuple[str, int, list[str], int]]:
        """Return the imports in *source* with their lines, as the target's version of Python understands it."""
        if is_too_large(source):
            return []
        _, answer = self._compiler.once(len(source).to_bytes(4, "little") + source, _LINES, path)
        rows: list[tuple[str, int, list[str], int]] = json.loads(answer)
        return rows


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
