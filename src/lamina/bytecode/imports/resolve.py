"""
Follow imports from a service's handlers through its own modules into its distributions.

Pure: what a source imports is asked of a callback, in waves, so that the callback can read many sources at once.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from lamina.bytecode.imports.rules import FIRST_PARTY
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lamina.bytecode.imports.rules import ImportRule
    from lamina.bytecode.imports.scan import ImportStatement, Scan

_SUFFIXES = (".abi3.so", ".so")


class Module(NamedTuple):
    """A module that could be imported: where it is, and whose it is."""

    name: str
    distribution: str
    """Normalised name, or `FIRST_PARTY`."""
    path: str
    """Relative to ``python/`` in a layer, or to the root of the function's package."""

    @property
    def is_package(self) -> bool:
        """Whether relative imports start at the module itself."""
        return self.path.rpartition("/")[2].partition(".")[0] == "__init__"

    def relative(self, level: int, name: str) -> str:
        """Return the dotted name that *name* has behind *level* dots in this module; without one, the package's own."""
        package = self.name if self.is_package else self.name.rpartition(".")[0]
        parts = package.split(".")
        above = parts[: len(parts) - level + 1]
        return ".".join([*above, name] if name else above)

    @property
    def is_extension(self) -> bool:
        """Whether it is machine code."""
        return not self.path.endswith(".py")


class Reached(NamedTuple):
    """A module that a handler can import, and who imports it."""

    module: Module
    importer: str | None
    """The module whose import came first, or nothing for a handler."""


@frozen
class Reachable:
    """Everything that a service's handlers can import."""

    reached: tuple[Reached, ...]
    """Sorted by module."""
    problems: tuple[tuple[str, str], ...] = ()
    """Modules that could not be read, with the reason; what they import is not known."""

    @cached_property
    def _by_name(self) -> dict[str, Reached]:
        return {each.module.name: each for each in self.reached}

    def members(self, distribution: str) -> frozenset[str]:
        """Return the paths of the reached sources of *distribution*."""
        return frozenset(
            module.path for module, _ in self.reached if module.distribution == distribution and not module.is_extension
        )

    @property
    def distributions(self) -> tuple[str, ...]:
        """The distributions that are reached at all, sorted."""
        return tuple(sorted({module.distribution for module, _ in self.reached} - {FIRST_PARTY}))

    def chain(self, module: str) -> tuple[str, ...]:
        """Return the shortest way from a handler to *module*, both included; empty if it is not reached."""
        names: list[str] = []
        current: str | None = module if module in self._by_name else None
        while current is not None:
            names.append(current)
            current = self._by_name[current].importer
        return tuple(reversed(names))


def module_name(path: str) -> str | None:
    """Return the dotted name of the module in the file *path* (relative to the import root), if it can be one."""
    stem = path
    for suffix in (".py", *_SUFFIXES):
        if path.endswith(suffix):
            stem = path.removesuffix(suffix)
            break
    else:
        return None
    if not path.endswith(".py"):
        # Compiled modules carry a tag: `_speedups.cpython-313-x86_64-linux-gnu.so`.
        directory, slash, name = stem.rpartition("/")
        stem = directory + slash + name.partition(".")[0]
    parts = stem.split("/")
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else None


def resolve(
    handlers: Iterable[str],
    modules: Mapping[str, Module],
    *,
    scans: Callable[[Sequence[Module]], Mapping[str, Scan]],
    rules: Sequence[ImportRule] = (),
    entry_points: Mapping[str, Sequence[str]] | None = None,
    recorded: Iterable[str] = (),
) -> Reachable:
    """
    Return what can be imported when the modules *handlers* are.

    *modules* is everything there is, by dotted name. *scans* tells what modules import, by name. *rules* are what is known of
    single packages, *entry_points* the modules that each group of entry points names, *recorded* the names a profile holds.
    """
    walk = _ImportSearch(modules, rules=rules, entry_points=entry_points or {})
    for name in (*handlers, *recorded):
        walk.reach(name, None)
    while walk.waiting:
        wave, walk.waiting = walk.waiting, []
        for name, found in scans(wave).items():
            walk.read(name, found)
    return Reachable(
        reached=tuple(walk.reached[name] for name in sorted(walk.reached)),
        problems=tuple(sorted(walk.problems.items())),
    )


class _Scope(NamedTuple):
    """An outermost function or class of a module, or what runs when that is imported."""

    module: Module
    imports: Sequence[ImportStatement]
    mentions: Sequence[str]


class _ImportSearch:
    """One search, breadth first, so that the importers it notes make shortest chains."""

    def __init__(
        self, modules: Mapping[str, Module], *, rules: Sequence[ImportRule], entry_points: Mapping[str, Sequence[str]]
    ) -> None:
        self._modules = modules
        self._rules: dict[str, list[ImportRule]] = {}
        for rule in rules:
            self._rules.setdefault(rule.module, []).append(rule)
        self._entry_points = entry_points
        self._tables: dict[str, dict[str, tuple[str, ...]]] = {}
        self._asked: dict[str, list[tuple[str, str]]] = {}
        self._scans: dict[str, Scan] = {}
        self._live: set[str] = set()
        self._dormant: dict[str, list[_Scope]] = {}
        self.reached: dict[str, Reached] = {}
        self.waiting: list[Module] = []
        self.problems: dict[str, str] = {}

    def reach(self, name: str, importer: str | None) -> None:
        """Note that *importer* imports *name*, which imports its parents first; what does not exist is not ours."""
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            current = ".".join(parts[:count])
            module = self._modules.get(current)
            if module is not None and current not in self.reached:
                self.reached[current] = Reached(module, importer if importer != current else None)
                self.waiting.append(module)

    def read(self, name: str, found: Scan) -> None:
        """Follow what the module *name* imports."""
        if found.problem is not None:
            self.problems[name] = found.problem
        self._scans[name] = found
        module = self._modules[name]
        if found.table:
            table = self._tables.setdefault(name, {})
            for attribute, mentioned in found.table:
                table[attribute] = (*table.get(attribute, ()), *mentioned)
        for taken, importer in self._asked.pop(name, ()):
            self._take(name, taken, importer)
        for text in found.names:
            self._computed(module, text)
        for rule in self._rules.get(name, ()):
            self._apply(rule, name)
        mentions = dict(found.mentions)
        by_scope: dict[str, list[ImportStatement]] = {scope: [] for scope in mentions}
        for each in found.imports:
            by_scope.setdefault(each.scope, []).append(each)
        for scope, imports in by_scope.items():
            part = _Scope(module, imports, mentions.get(scope, ()))
            if scope in ("", "__getattr__") or module.distribution == FIRST_PARTY or scope in self._live:
                self._enliven(part)
            else:
                self._dormant.setdefault(scope, []).append(part)

    def _enliven(self, part: _Scope) -> None:
        """Follow what a scope imports, and bring to life the scopes that it names, wherever they are."""
        pending = [part]
        while pending:
            current = pending.pop()
            for each in current.imports:
                self._follow(current.module, each)
            for name in current.mentions:
                if name not in self._live:
                    self._live.add(name)
                    pending.extend(self._dormant.pop(name, ()))

    def _follow(self, module: Module, each: ImportStatement) -> None:
        if each.quoted:
            self._quoted(module, each.module)
            return
        base = module.relative(each.level, each.module) if each.level else each.module
        self.reach(base, module.name)
        for name in each.names:
            self._take(base, name, module.name)

    def _quoted(self, module: Module, text: str) -> None:
        """Follow a string such as ``package.module.function``: a distribution's own, or any in the service's sources."""
        name = text
        while name and name not in self._modules:
            name = name.rpartition(".")[0]
        found = self._modules.get(name)
        if found is not None and "." in name and module.distribution in (FIRST_PARTY, found.distribution):
            self.reach(name, module.name)

    def _take(self, base: str, name: str, importer: str) -> None:
        """Note that *importer* takes *name* from the module *base*: a submodule, or an attribute that may be loaded lazily."""
        if f"{base}.{name}" in self._modules:
            self.reach(f"{base}.{name}", importer)
        elif base not in self._scans:
            # Asked again when the module has been read, if it ever is.
            self._asked.setdefault(base, []).append((name, importer))
        elif name == "*":
            for exported in self._scans[base].exports:
                self._take(base, exported, importer)
        elif base in self._tables:
            self._from_table(base, name)

    def _from_table(self, base: str, attribute: str) -> None:
        for text in self._tables[base].get(attribute, ()):
            for name in self._meanings(self._modules[base], text):
                self.reach(name, base)

    def _computed(self, module: Module, text: str) -> None:
        for name in self._meanings(module, text):
            self.reach(name, module.name)
        for name in self._entry_points.get(text, ()):
            self.reach(name, module.name)

    def _meanings(self, module: Module, text: str) -> Iterator[str]:
        """Yield the modules that *text* could name in *module*: relative to it, or absolute."""
        name = text.partition(":")[0]
        bare = name.lstrip(".")
        level = len(name) - len(bare)
        for candidate in [module.relative(level, bare)] if level else [module.relative(1, bare), bare]:
            found = self._modules.get(candidate)
            if found is not None and found.distribution == module.distribution:
                yield candidate

    def _apply(self, rule: ImportRule, importer: str) -> None:
        for name in rule.imports:
            self.reach(name, importer)
        for group in rule.entry_points:
            for name in self._entry_points.get(group, ()):
                self.reach(name, importer)
