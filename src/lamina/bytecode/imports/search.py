"""
Find the modules that a service's handlers can import.

Modules are scanned in parallel, in any order, while wheels still arrive. This only scans ahead: `resolve` then decides over
the finished scans, so neither the order nor the number of processes changes the result.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from lamina.bytecode.imports.index import ModuleIndex
from lamina.bytecode.imports.resolve import ImportSearch, resolve
from lamina.bytecode.imports.rules import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lamina.bytecode.compiler import Compiled, Compiler
    from lamina.bytecode.imports.index import Code
    from lamina.bytecode.imports.resolve import Module, Reachable
    from lamina.bytecode.imports.scan import Scan
    from lamina.core.store import Store


def reachable(
    handlers: Sequence[str],
    trees: Iterable[Code],
    *,
    compiler: Compiler,
    store: Store,
    recorded: Sequence[str] = (),
    keep: Callable[[str, Compiled], object] | None = None,
) -> Reachable:
    """
    Return every module in *trees* that the modules *handlers* (dotted names) can import.

    *trees* are the service's own sources and its distributions, in any order; modules are scanned as soon as their tree is
    yielded. If two trees contain the same module, that of the service counts, or else that of the distribution whose name
    sorts first, because Lambda puts a function's own code before its layers. *recorded* are the names of modules from a
    profile, which count as imported. With *keep*, each source of a layer that is scanned is also compiled, and *keep* receives
    its distribution and bytecode, in several threads. Raises `BytecodeError` if the interpreter fails to run, and the errors of
    reading *trees*.
    """
    indexes: dict[str, ModuleIndex] = {}

    def scan(module: Module) -> Scan:
        found, compiled = indexes[module.distribution].scan(module, compiler, compile_too=keep is not None)
        if keep is not None and compiled is not None:
            keep(module.distribution, compiled)
        return found

    def scans(wave: Sequence[Module]) -> dict[str, Scan]:
        found = {module.name: indexes[module.distribution].known(module) for module in wave}
        unknown = [module for module in wave if found[module.name] is None]
        found |= zip((module.name for module in unknown), compiler.map(scan, unknown), strict=True)
        return {name: scan for name, scan in found.items() if scan is not None}

    with _Frontier([*handlers, *recorded], indexes, compiler, scan) as frontier:
        for tree in trees:
            indexes[tree.distribution] = index = ModuleIndex(tree, store, python=compiler.interpreter.version[:2])
            frontier.add(index)
        frontier.finish()
    ordered = [indexes[name] for name in sorted(indexes)]
    result = resolve(handlers, ordered, scans=scans, rules=rules(), recorded=recorded)
    for index in ordered:
        index.save()
    return result


class _Frontier:
    """
    The modules found so far that must be scanned, each scanned as soon as it is found; a context manager.

    It starts with the first tree without an index. If all trees have one, few modules are unknown, and `resolve` finds them.
    """

    def __init__(
        self,
        names: Iterable[str],
        indexes: Mapping[str, ModuleIndex],
        compiler: Compiler,
        scan: Callable[[Module], Scan],
    ) -> None:
        self._search = ImportSearch(rules())
        for name in names:
            self._search.reach(name, None)
        self._indexes = indexes
        self._compiler = compiler
        self._scan = scan
        self._lock = threading.Condition()
        self._waiting: list[ModuleIndex] = []
        self._started = self._stopped = False
        self._running = 0
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopped = True

    def add(self, index: ModuleIndex) -> None:
        """Scan the modules of *index* that are reached already, and those that will be."""
        with self._lock:
            self._waiting.append(index)
            self._started = self._started or index.is_new
            if self._started:
                for each in self._waiting:
                    self._search.add(each)
                self._waiting.clear()
                self._advance()

    def finish(self) -> None:
        """Wait until everything that is reached has been scanned. Raises the first error of scanning."""
        with self._lock:
            self._lock.wait_for(lambda: self._failure is not None or not self._running)
        if self._failure is not None:
            raise self._failure

    def _advance(self) -> None:
        """Follow the scans that are known, and start the others. The caller holds the lock."""
        while self._search.waiting and not self._stopped:
            found, self._search.waiting = self._search.waiting, []
            for module in found:
                known = self._indexes[module.distribution].known(module)
                if known is not None:
                    self._search.read(module.name, known)
                else:
                    self._running += 1
                    self._compiler.submit(self._read, module)

    def _read(self, module: Module) -> None:
        try:
            found = self._scan(module)
            with self._lock:
                self._search.read(module.name, found)
                self._advance()
        except BaseException as error:  # noqa: BLE001 - `finish` raises it
            with self._lock:
                self._failure = self._failure or error
                self._stopped = True
        finally:
            with self._lock:
                self._running -= 1
                self._lock.notify_all()
