"""
Follow imports from a service's handlers through its own modules into its distributions.

Pure: a callback supplies the imports. Each call passes many modules, so that the callback can scan them in parallel.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lamina.bytecode.imports.rules import FIRST_PARTY
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lamina.bytecode.imports.rules import ImportRule
    from lamina.bytecode.imports.scan import ImportStatement, Scan

_SUFFIXES = (".abi3.so", ".so")


class Module(NamedTuple):
    """A module that can be imported, with its path and distribution."""

    name: str
    distribution: str
    """The distribution's normalised name, or `FIRST_PARTY`."""
    path: str
    """The path relative to ``python/`` in a layer, or to the root of the function package."""

    @property
    def is_package(self) -> bool:
        """Whether the module is a package, so that its relative imports start at the module itself."""
        return self.path.rpartition("/")[2].partition(".")[0] == "__init__"

    def relative(self, level: int, name: str) -> str:
        """
        Return the absolute name of a relative import in this module: *level* dots, followed by *name*.

        If *name* is empty, return the name of the package to which the dots refer.
        """
        package = self.name if self.is_package else self.name.rpartition(".")[0]
        parts = package.split(".")
        above = parts[: len(parts) - level + 1]
        return ".".join([*above, name] if name else above)

    @property
    def is_extension(self) -> bool:
        """Whether the module is an extension module (machine code)."""
        return not self.path.endswith(".py")


class Reached(NamedTuple):
    """A module that a handler can import, and the module that imports it."""

    module: Module
    importer: str | None
    """The first module found to import it; ``None`` for handlers, recorded modules and their parent packages."""


@frozen
class Reachable:
    """All modules that a service's handlers can import."""

    reached: tuple[Reached, ...]
    """The reached modules, sorted by name."""
    problems: tuple[tuple[str, str], ...] = ()
    """The modules that could not be scanned, as pairs of name and reason. Their imports are unknown."""

    @cached_property
    def _by_name(self) -> dict[str, Reached]:
        return {each.module.name: each for each in self.reached}

    def members(self, distribution: str) -> frozenset[str]:
        """Return the paths of the reached modules of *distribution* that are sources, not extension modules."""
        return frozenset(
            module.path for module, _ in self.reached if module.distribution == distribution and not module.is_extension
        )

    @property
    def distributions(self) -> tuple[str, ...]:
        """The names of the distributions with a reached module, sorted."""
        return tuple(sorted({module.distribution for module, _ in self.reached} - {FIRST_PARTY}))

    def chain(self, module: str) -> tuple[str, ...]:
        """
        Return the shortest import chain to *module*, which is its last item; empty if the module is not reached.

        The first item is a handler, or a module from a profile.
        """
        names: list[str] = []
        current: str | None = module if module in self._by_name else None
        while current is not None:
            names.append(current)
            current = self._by_name[current].importer
        return tuple(reversed(names))


def module_name(path: str, *, any_name: bool = False) -> str | None:
    """
    Return the dotted name of the module at *path*, relative to the import root, or ``None`` for another file.

    Only identifiers can be written in an ``import`` statement. With *any_name*, names such as ``my-function`` count too, which
    Lambda can import as the module of a handler.
    """
    stem = path
    for suffix in (".py", *_SUFFIXES):
        if path.endswith(suffix):
            stem = path.removesuffix(suffix)
            break
    else:
        return None
    if not path.endswith(".py"):
        # The file name of an extension module contains a tag: `_speedups.cpython-313-x86_64-linux-gnu.so`.
        directory, slash, name = stem.rpartition("/")
        stem = directory + slash + name.partition(".")[0]
    parts = stem.split("/")
    if parts[-1] == "__init__":
        parts.pop()
    is_name = _is_any_name if any_name else str.isidentifier
    return ".".join(parts) if parts and all(map(is_name, parts)) else None


def _is_any_name(part: str) -> bool:
    # Python looks for a submodule after every dot.
    return part != "" and "." not in part


class ModuleTree(Protocol):
    """The modules of the service's own sources or of one distribution."""

    @property
    def modules(self) -> Mapping[str, Module]:
        """The modules by dotted name."""

    @property
    def entry_points(self) -> Mapping[str, Sequence[str]]:
        """The modules that the entry points name, by entry point group."""


def resolve(
    handlers: Iterable[str],
    trees: Iterable[ModuleTree],
    *,
    scans: Callable[[Sequence[Module]], Mapping[str, Scan]],
    rules: Sequence[ImportRule],
    recorded: Iterable[str] = (),
) -> Reachable:
    """
    Return the modules that the modules *handlers* can import, directly or through other modules.

    If several of *trees* contain the same module, that of the first one counts. *scans* returns the imports of modules, by
    name. *rules* add imports that are not visible in sources. *recorded* are the names of modules from a profile, which
    count as imported.
    """
    walk = ImportSearch(rules)
    for tree in trees:
        walk.add(tree)
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
    """An outermost function or class of a module, or its top-level code, which runs on import."""

    module: Module
    imports: Sequence[ImportStatement]
    mentions: Sequence[str]


class ImportSearch:
    """
    A search for reachable modules, whose scans can be read in any order.

    If they are read in the order of `waiting`, the search is breadth-first, so each `Reached.importer` is on a shortest
    import chain.
    """

    def __init__(self, rules: Sequence[ImportRule]) -> None:
        self._modules: dict[str, Module] = {}
        self._absent: dict[str, str | None] = {}
        self._rules: dict[str, list[ImportRule]] = {}
        for rule in rules:
            self._rules.setdefault(rule.module, []).append(rule)
        self._entry_points: dict[str, list[str]] = {}
        self._tables: dict[str, dict[str, tuple[str, ...]]] = {}
        self._asked: dict[str, list[tuple[str, str]]] = {}
        self._scans: dict[str, Scan] = {}
        self._live: set[str] = set()
        self._dormant: dict[str, list[_Scope]] = {}
        self.reached: dict[str, Reached] = {}
        self.waiting: list[Module] = []
        self.problems: dict[str, str] = {}

    def add(self, tree: ModuleTree) -> None:
        """Add the modules and entry points of *tree*. Reach those modules that were imported before."""
        for name, module in tree.modules.items():
            self._modules.setdefault(name, module)
        for group, names in tree.entry_points.items():
            self._entry_points.setdefault(group, []).extend(names)
        for name in sorted(self._absent.keys() & tree.modules.keys()):
            self.reach(name, self._absent.pop(name))

    def reach(self, name: str, importer: str | None) -> None:
        """Record that *importer* imports *name* and its parent packages. Keep the names of modules that do not exist yet."""
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            current = ".".join(parts[:count])
            module = self._modules.get(current)
            if module is None:
                self._absent.setdefault(current, importer)
            elif current not in self.reached:
                self.reached[current] = Reached(module, importer if importer != current else None)
                self.waiting.append(module)

    def read(self, name: str, found: Scan) -> None:
        """Follow the imports *found* in the module *name*. Keep those of unused functions and classes for later."""
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
        """Follow the imports of the scope *part*, and of every scope, in any module, that has a name used in *part*."""
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
        """
        Follow *text*, a string such as ``package.module.function``, if it names a module of the same distribution.

        A string in the service's own sources may name a module of any distribution.
        """
        name = text
        while name and name not in self._modules:
            name = name.rpartition(".")[0]
        found = self._modules.get(name)
        if found is not None and "." in name and module.distribution in (FIRST_PARTY, found.distribution):
            self.reach(name, module.name)

    def _take(self, base: str, name: str, importer: str) -> None:
        """Record that *importer* imports *name* from *base*: a submodule, or an attribute that *base* may load lazily."""
        if f"{base}.{name}" in self._modules:
            self.reach(f"{base}.{name}", importer)
        elif base not in self._scans:
            # Retry when the module *base* has been scanned, if that happens.
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
        """Yield the modules of the same distribution that *text* may name in *module*, relatively or absolutely."""
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
