"""
Find the modules that a service's handlers can import.

Each package has its own code, so the same name can be another module in each. The search runs once for each package, with
the same wheels. Modules are scanned in parallel, in any order, while wheels still arrive. This only scans ahead: `resolve`
then decides over the finished scans, so neither the order nor the number of processes changes the result.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self

from lamina.bytecode.imports.index import ModuleIndex
from lamina.bytecode.imports.resolve import ImportSearch, resolve
from lamina.bytecode.imports.rules import FIRST_PARTY, rules
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lamina.bytecode.compiler import Compiled, Compiler
    from lamina.bytecode.imports.index import Code
    from lamina.bytecode.imports.resolve import Module, Reachable
    from lamina.bytecode.imports.rules import ImportRule
    from lamina.bytecode.imports.scan import Scan
    from lamina.core.store import Store


@frozen
class FirstParty:
    """The service's own code in one package, and the modules where the search starts."""

    code: Code
    handlers: Sequence[str]
    """The dotted names of the handlers' modules."""
    recorded: Sequence[str] = ()
    """The names of modules from a profile, which count as imported."""
    preferred: frozenset[str] = frozenset()
    """The distributions whose modules count before those of others with the same names."""
    distributions: frozenset[str] | None = None
    """The wheels that the package can import from, by distribution; ``None`` means all."""

    def has(self, distribution: str) -> bool:
        """Return whether the package can import from the wheel of *distribution*."""
        return self.distributions is None or distribution in self.distributions


def reachable(
    packages: Sequence[FirstParty],
    wheels: Iterable[Code],
    *,
    compiler: Compiler,
    store: Store,
    keep: Callable[[str, Compiled], object] | None = None,
) -> tuple[Reachable, ...]:
    """
    Return, for each of *packages*, every module in it and in its *wheels* that its handlers can import.

    *wheels* are in any order; modules are scanned as soon as their wheel is yielded. If a package and a wheel contain the
    same module, that of the package counts, because Lambda puts a function's own code before its layers. Among wheels, that
    of the distribution whose name sorts first counts, those that the package prefers before others. Packages with the same files
    and key share their scans. With *keep*, each source of a wheel that is scanned is also compiled,
    and *keep* receives its distribution and bytecode, in several threads. Raises `BytecodeError` if the interpreter fails to
    run, and the errors of reading *packages* and *wheels*.
    """
    python, known_rules = compiler.interpreter.version[:2], rules()
    indexes: dict[str, ModuleIndex] = {}
    codes = {(package.code.key, tuple(package.code.paths())): package.code for package in packages}
    scanned = {key: ModuleIndex(code, store, python=python) for key, code in codes.items()}
    own = [scanned[package.code.key, tuple(package.code.paths())] for package in packages]

    def scan(index: ModuleIndex, module: Module) -> Scan:
        found, compiled = index.scan(module, compiler, compile_too=keep is not None)
        if keep is not None and compiled is not None:
            keep(module.distribution, compiled)
        return found

    searches = [
        _Search.start(package, index, indexes, known_rules) for package, index in zip(packages, own, strict=True)
    ]
    with _Frontier(searches, compiler, scan) as frontier:
        for search in searches:
            frontier.add(search.own, [search])
        for wheel in wheels:
            indexes[wheel.distribution] = index = ModuleIndex(wheel, store, python=python)
            using = [each for package, each in zip(packages, searches, strict=True) if package.has(wheel.distribution)]
            frontier.add(index, using)
        frontier.finish()
    ordered = sorted(indexes)
    found = tuple(
        resolve(
            package.handlers,
            [
                search.own,
                *(
                    indexes[name]
                    for name in sorted(ordered, key=lambda each: each not in package.preferred)
                    if package.has(name)
                ),
            ],
            scans=partial(_scans, search, compiler, scan),
            rules=known_rules,
            recorded=package.recorded,
        )
        for package, search in zip(packages, searches, strict=True)
    )
    for index in (*scanned.values(), *(indexes[name] for name in ordered)):
        index.save()
    return found


def _scans(
    search: _Search, compiler: Compiler, scan: Callable[[ModuleIndex, Module], Scan], wave: Sequence[Module]
) -> dict[str, Scan]:
    """Return the imports of the modules in *wave* by name. Scan those that are not known."""
    found = {module.name: search.index_of(module).known(module) for module in wave}
    unknown = [module for module in wave if found[module.name] is None]
    results = compiler.map(lambda module: scan(search.index_of(module), module), unknown)
    found |= zip((module.name for module in unknown), results, strict=True)
    return {name: each for name, each in found.items() if each is not None}


class _Search(NamedTuple):
    """The search that starts in one package, over the modules found so far."""

    own: ModuleIndex
    """The modules of the package."""
    wheels: Mapping[str, ModuleIndex]
    """The modules of the wheels so far, by distribution. All searches share them."""
    imports: ImportSearch

    @classmethod
    def start(
        cls,
        package: FirstParty,
        own: ModuleIndex,
        wheels: Mapping[str, ModuleIndex],
        rules: Sequence[ImportRule],
    ) -> Self:
        """Start a search at the handlers and recorded modules of *package*."""
        imports = ImportSearch(rules)
        for name in (*package.handlers, *package.recorded):
            imports.reach(name, None)
        return cls(own, wheels, imports)

    def index_of(self, module: Module) -> ModuleIndex:
        """Return the index that contains *module*."""
        return self.own if module.distribution == FIRST_PARTY else self.wheels[module.distribution]


class _Frontier:
    """
    The modules found so far that must be scanned, each scanned as soon as it is found; a context manager.

    It starts with the first tree without an index. If all trees have one, few modules are unknown, and `resolve` finds them.
    A module of a wheel is followed for the first search that reaches it. What only another search finds through that module
    is left to `resolve`, because many packages often import the same wheels.
    """

    def __init__(
        self, searches: Sequence[_Search], compiler: Compiler, scan: Callable[[ModuleIndex, Module], Scan]
    ) -> None:
        self._searches = searches
        self._compiler = compiler
        self._scan = scan
        self._lock = threading.Condition()
        self._waiting: list[tuple[ModuleIndex, Sequence[_Search]]] = []
        self._followed: set[tuple[ModuleIndex, str]] = set()
        """The modules that a search has reached, each as its index and path."""
        self._started = self._stopped = False
        self._running = 0
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopped = True

    def add(self, index: ModuleIndex, searches: Sequence[_Search]) -> None:
        """Scan the modules of *index* that *searches* have reached already, and those that they will reach."""
        with self._lock:
            self._waiting.append((index, searches))
            self._started = self._started or index.is_new
            if self._started:
                for each, through in self._waiting:
                    for search in through:
                        search.imports.add(each)
                self._waiting.clear()
                for search in self._searches:
                    self._advance(search)

    def finish(self) -> None:
        """Wait until everything that is reached has been scanned. Raises the first error of scanning."""
        with self._lock:
            self._lock.wait_for(lambda: self._failure is not None or not self._running)
        if self._failure is not None:
            raise self._failure

    def _advance(self, search: _Search) -> None:
        """Follow the scans that are known, and start the others. The caller holds the lock."""
        imports = search.imports
        while imports.waiting and not self._stopped:
            found, imports.waiting = imports.waiting, []
            for module in found:
                index = search.index_of(module)
                if (index, module.path) in self._followed:
                    continue
                self._followed.add((index, module.path))
                known = index.known(module)
                if known is not None:
                    imports.read(module.name, known)
                else:
                    self._running += 1
                    self._compiler.submit(partial(self._read, search), module)

    def _read(self, search: _Search, module: Module) -> None:
        try:
            found = self._scan(search.index_of(module), module)
            with self._lock:
                search.imports.read(module.name, found)
                self._advance(search)
        except BaseException as error:  # noqa: BLE001 - `finish` raises it
            with self._lock:
                self._failure = self._failure or error
                self._stopped = True
        finally:
            with self._lock:
                self._running -= 1
                self._lock.notify_all()
