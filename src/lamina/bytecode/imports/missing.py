"""
Find the imports that a service's handlers reach and that nothing provides, without running any code.

The search follows the imports in the service's own modules, and those in distributions as far as they have been scanned.
Pure: the caller supplies the modules, their imports, and the directories of ``sys.path``.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lamina.bytecode.imports.scan import CREATED, FALLBACK, MAYBE_FALLBACK, POSSIBLE, REPLACED, REQUIRED
from lamina.core.frozen import frozen, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lamina.bytecode.imports.resolve import Module
    from lamina.bytecode.imports.scan import ImportStatement, Scan

# Names with which a module can define attributes that a scan does not show.
_DYNAMIC = frozenset(
    {
        *("globals", "locals", "vars", "exec", "eval", "setattr", "modules", "__dict__", "__class__", "__getattr__"),
        "lazy_loader",
    }
)
_EXTENDING = frozenset({"__path__", "declare_namespace", "extend_path", "modules"})
# What makes `import` find modules elsewhere: names in `sys`.
_PATHS = frozenset({"path", "meta_path", "path_hooks"})


class Form(Enum):
    """How a directory of ``sys.path`` contains a module."""

    REGULAR = "regular"
    """As a file, or as a package with an ``__init__`` module."""
    NAMESPACE = "namespace"
    """As a directory without an ``__init__`` module (PEP 420)."""


class ImportPath(Protocol):
    """A directory of ``sys.path``, such as the function package, or the directory into which Lambda unpacks all layers."""

    def form(self, module: str) -> Form | None:
        """Return how the directory contains the dotted name *module*, or ``None`` if it does not."""


class OwnModules:
    """The service's own modules in one function package; an `ImportPath`."""

    def __init__(self, modules: Mapping[str, Module], paths: Iterable[str]) -> None:
        self.modules = modules
        self._directories = {
            ".".join(parts[:end]) for path in paths for parts in [path.split("/")] for end in range(1, len(parts))
        }

    def form(self, module: str) -> Form | None:
        """Return how the package contains *module*; see `ImportPath`."""
        if module in self.modules:
            return Form.REGULAR
        return Form.NAMESPACE if module in self._directories else None

    def is_anywhere(self, module: str) -> bool:
        """Return whether any directory of the package contains *module*, so that a changed ``sys.path`` can find it."""
        end = f".{module}"
        return any(name.endswith(end) for name in (*self.modules, *self._directories))


class Inside(Protocol):
    """The distributions whose imports are known."""

    def missing(self, entered: Mapping[str, bool], absent: Callable[[str], str | None]) -> Sequence[InsideMiss]:
        """
        Return what the modules *entered* import and nothing provides; see `find_inside`.

        *entered* are the names that own modules import, with whether they always do; some are attributes. *absent* returns the
        first part of a dotted name that nothing provides, or ``None``.
        """


@frozen
class InsideMiss:
    """An import in a distribution of a module that nothing provides. It always runs if the first of *chain* is imported."""

    module: str
    chain: tuple[Module, ...]
    """The modules from the one that an own module imports, to the one with the import."""
    is_required: bool
    """Whether own modules always import the first of *chain*."""


@frozen
class Miss:
    """An import of a module that nothing provides."""

    module: str
    """The dotted name that cannot be imported, up to the part that is missing."""
    chain: tuple[Module, ...]
    """The modules that lead to the import, from a handler's module to the module with the import."""
    statement: ImportStatement | None
    """The import; ``None`` if it is in a distribution."""
    is_required: bool
    """Whether the import runs when the handler's module is imported. If false, it is in a function or under a condition."""
    is_beyond_top: bool = False
    """Whether the import is relative and has more dots than there are packages, so *module* is what it names."""
    doubt: str = ""
    """What may provide the module at run time, because a module on the way uses it, such as ``sys.path``; otherwise empty."""


class _Visit(NamedTuple):
    module: Module
    is_required: bool
    importer: Module | None


def find_missing(
    handlers: Iterable[str],
    own: OwnModules,
    others: Sequence[ImportPath],
    *,
    scans: Callable[[Module], Scan],
    inside: Inside,
) -> tuple[Miss, ...]:
    """
    Return the imports that the modules *handlers* reach and that neither *own* nor *others* provide, sorted by name.

    *others* are in the order of ``sys.path``, after the function package. *scans* returns the imports of an own module, and
    *inside* searches the distributions that these import. Each name is reported once: with an import that always runs, if
    there is one.
    """
    search = _MissingSearch(own, others, scans, inside)
    search.run(handlers)
    return tuple(search.missing[name] for name in sorted(search.missing))


class _MissingSearch:
    def __init__(
        self, own: OwnModules, others: Sequence[ImportPath], scans: Callable[[Module], Scan], inside: Inside
    ) -> None:
        self._own = own
        self._others = others
        self._scans = scans
        self._inside = inside
        self._visits: dict[str, _Visit] = {}
        self._entered: dict[str, _Visit] = {}
        """The names outside the package that own modules import, each with the first of these modules."""
        self._waiting: list[_Visit] = []
        self._optional: list[_Visit] = []
        self._known: dict[str, str | None] = {}
        """The results of `_absent`."""
        self._created: set[str] = set()
        """The strings that may name a module that a visited module creates."""
        self._assigned: set[tuple[str, str]] = set()
        """The modules with the attributes on them that visited modules use or assign."""
        self._changed_path = ""
        """What a visited module uses to find modules elsewhere, such as ``sys.path``."""
        self.missing: dict[str, Miss] = {}

    def run(self, handlers: Iterable[str]) -> None:
        for name in handlers:
            self._reach(name, None, is_required=True)
        # First everything that is certainly imported, so that each module's first visit decides how it is reported.
        while self._waiting or self._optional:
            wave, self._waiting = self._waiting or self._optional, []
            if wave is self._optional:
                self._optional = []
            for visit in wave:
                if visit.module.name not in self._visits:
                    self._visits[visit.module.name] = visit
                    self._read(visit)
        entered = {name: visit.is_required for name, visit in self._entered.items()}
        for each in self._inside.missing(entered, self._absent):
            if self._is_news(each.module, is_required=each.is_required):
                own = self._chain(self._visits[self._entered[each.chain[0].name].module.name])
                chain = (*own, *each.chain)
                self.missing[each.module] = Miss(
                    module=each.module, chain=chain, statement=None, is_required=each.is_required
                )
        self.missing = {
            name: replace(miss, is_required=miss.is_required and not doubt, doubt=doubt)
            for name, miss in self.missing.items()
            if not (self._changed_path and self._own.is_anywhere(name.partition(".")[0]))
            for doubt in [self._doubt(name)]
        }

    def _doubt(self, name: str) -> str:
        """Return what may provide the missing module *name* at run time; see `Miss.doubt`."""
        if _is_created(name, self._created):
            return "sys.modules"
        package, _, attribute = name.rpartition(".")
        return package if (package, attribute) in self._assigned else self._changed_path

    def _reach(self, name: str, importer: Module | None, *, is_required: bool) -> None:
        """Visit the module *name* and its parent packages, as far as they are known."""
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            current = ".".join(parts[:end])
            module = self._own.modules.get(current)
            if module is None and importer is not None:
                known = self._entered.get(current)
                if known is None or (is_required and not known.is_required):
                    self._entered[current] = _Visit(importer, is_required, None)
            elif module is not None and current not in self._visits:
                (self._waiting if is_required else self._optional).append(_Visit(module, is_required, importer))

    def _read(self, visit: _Visit) -> None:
        module = visit.module
        if module.is_extension:
            return
        has_fallback = needs_fallback = False
        for each in self._scans(module).imports:
            self._changed_path = self._changed_path or _changed_path(each)
            if each.need == CREATED:
                self._created.add(each.module)
            elif each.need == POSSIBLE:
                self._assigned.update((each.module, name) for name in each.names)
            if each.quoted or each.need == POSSIBLE:
                continue
            is_fallback = each.need in {FALLBACK, MAYBE_FALLBACK}
            is_required = visit.is_required and each.need in {REQUIRED, FALLBACK} and not each.scope
            if each.need == REPLACED:
                needs_fallback = self._is_gone(module, each) or (needs_fallback and not has_fallback)
            if not is_fallback or needs_fallback:
                self._follow(visit, each, is_required=is_required)
            has_fallback = is_fallback

    def _is_gone(self, module: Module, each: ImportStatement) -> bool:
        """Return whether the import *each* of *module* fails."""
        base = _base(module, each)
        return (
            base is None or self._absent(base) is not None or not all(self._contains(base, name) for name in each.names)
        )

    def _follow(self, visit: _Visit, each: ImportStatement, *, is_required: bool) -> None:
        base = _base(visit.module, each)
        if base is None:
            name = each.module or ".".join(each.names)
            self._miss(name, visit, each, is_required=is_required, is_beyond_top=True)
            return
        absent = self._absent(base)
        if absent is not None:
            self._miss(absent, visit, each, is_required=is_required)
            return
        self._reach(base, visit.module, is_required=is_required)
        for name in each.names:
            if self._contains(base, name):
                self._reach(f"{base}.{name}", visit.module, is_required=is_required)
            else:
                self._miss(f"{base}.{name}", visit, each, is_required=is_required)

    def _contains(self, base: str, name: str) -> bool:
        """Return whether the existing module *base* may have *name* as a submodule or an attribute; ``*`` stands for all."""
        if name == "*" or (name.startswith("__") and name.endswith("__")) or self._absent(f"{base}.{name}") is None:
            return True
        package = self._own.modules.get(base)
        return package is not None and (not package.is_package or self._defines(package, name))

    def _absent(self, name: str) -> str | None:
        """
        Return the first part of the dotted *name* that cannot be imported, such as ``a.b`` of ``a.b.c``; otherwise ``None``.

        Of a regular package that is not the service's own, every submodule counts as existing.
        """
        if name not in self._known:
            self._known[name] = self._first_absent(name.split("."))
        return self._known[name]

    def _first_absent(self, parts: Sequence[str]) -> str | None:
        paths: list[ImportPath] = [self._own, *self._others]
        for end in range(1, len(parts) + 1):
            current = ".".join(parts[:end])
            forms = [(path, path.form(current)) for path in paths]
            regular = next((path for path, form in forms if form is Form.REGULAR), None)
            if regular is not None and regular is not self._own:
                return None
            if regular is not None:
                module = self._own.modules[current]
                if self._is_open(module):
                    return None
                if not module.is_package and not module.is_extension and end < len(parts):
                    return ".".join(parts[: end + 1])
                # A regular package hides what other directories contain below its name.
                paths = [self._own]
                continue
            paths = [path for path, form in forms if form is Form.NAMESPACE]
            if not paths:
                return current
        return None

    def _is_open(self, package: Module) -> bool:
        """Return whether *package* can find submodules in other directories than its own."""
        return not package.is_extension and not _EXTENDING.isdisjoint(self._mentioned(package))

    def _defines(self, package: Module, name: str) -> bool:
        """Return whether *package* may define *name* other than as a submodule."""
        if package.is_extension:
            return True
        found = self._scans(package)
        mentioned = self._mentioned(package)
        if found.problem is not None or not _DYNAMIC.isdisjoint(mentioned):
            return True
        return name in mentioned or any(
            "*" in each.names or name in each.names or (not each.level and each.module.partition(".")[0] == name)
            for each in found.imports
            if not each.scope and not each.quoted and each.need != POSSIBLE
        )

    def _mentioned(self, module: Module) -> frozenset[str]:
        """Return the names that *module* uses, imports or defines. Code in functions counts too, because it can use `global`."""
        found = self._scans(module)
        used = [name for scope, names in found.mentions for name in (scope, *names)]
        return frozenset(
            (*used, *(name for each in found.imports for name in each.names), *found.aliases, *found.exports)
        )

    def _miss(
        self, name: str, visit: _Visit, each: ImportStatement, *, is_required: bool, is_beyond_top: bool = False
    ) -> None:
        if each.need != REPLACED and self._is_news(name, is_required=is_required):
            chain = self._chain(visit)
            self.missing[name] = Miss(
                module=name, chain=chain, statement=each, is_required=is_required, is_beyond_top=is_beyond_top
            )

    def _is_news(self, name: str, *, is_required: bool) -> bool:
        known = self.missing.get(name)
        return known is None or (is_required and not known.is_required)

    def _chain(self, visit: _Visit) -> tuple[Module, ...]:
        found = [visit.module]
        while visit.importer is not None:
            visit = self._visits[visit.importer.name]
            found.append(visit.module)
        return tuple(reversed(found))


def _base(module: Module, each: ImportStatement) -> str | None:
    """Return the absolute name of the module from which *module* imports, or ``None`` if it is above the top package."""
    if not each.level:
        return each.module
    packages = len(module.name.split(".")) - (not module.is_package)
    return module.relative(each.level, each.module) if each.level <= packages else None


def _changed_path(each: ImportStatement) -> str:
    """Return the name in ``sys`` with which *each* may find modules elsewhere; otherwise an empty text."""
    if each.module == "site":
        return "sys.path"
    return next((f"sys.{name}" for name in each.names if each.module == "sys" and name in _PATHS), "")


def _is_created(name: str, created: Iterable[str]) -> bool:
    """Return whether one of the strings *created* may be the module *name*, or its end, as in ``__name__ + ".end"``."""
    return any(f".{name}".endswith(f".{text.lstrip('.')}") or text.startswith(f"{name}.") for text in created)


def find_inside(
    entered: Mapping[str, bool],
    absent: Callable[[str], str | None],
    *,
    modules: Mapping[str, Module],
    scans: Callable[[Module], Scan | None],
) -> tuple[InsideMiss, ...]:
    """
    Return the imports in distributions that nothing provides and that certainly run if the modules *entered* are imported.

    *modules* are those of distributions, and *scans* returns their imports, or ``None`` if they have not been scanned. Imports
    in functions, under conditions and in ``try`` are not followed: most of them are for optional dependencies. Submodules of an
    existing package count as existing, because distributions such as six create modules at run time. So do modules that a
    reached module may create, or may find because it changes ``sys.path``. See `Inside.missing`.
    """
    created: set[str] = set()
    changes_path = False
    importers: dict[str, Module | None] = {}
    missing: dict[str, InsideMiss] = {}
    for is_required in (True, False):
        waiting = [name for name, required in entered.items() if required is is_required and name not in importers]
        importers |= dict.fromkeys(waiting)
        for name in waiting:
            module = modules.get(name)
            found = None if module is None else scans(module)
            if module is None or found is None:
                continue
            created.update(each.module for each in found.imports if each.need == CREATED)
            changes_path = changes_path or any(map(_changed_path, found.imports))
            for base, names in _certain_imports(module, found):
                gone = None if base in importers or base in modules else absent(base)
                if gone is not None:
                    chain = _inside_chain(module, importers)
                    missing.setdefault(gone, InsideMiss(module=gone, chain=chain, is_required=is_required))
                    continue
                new = [each for each in names if each in modules and each not in importers]
                importers |= dict.fromkeys(new, module)
                waiting += new
    parts = {part for name in modules for part in name.split(".")} if changes_path and missing else ()
    return tuple(
        miss for name, miss in missing.items() if name.partition(".")[0] not in parts and not _is_created(name, created)
    )


def _certain_imports(module: Module, found: Scan) -> Iterator[tuple[str, list[str]]]:
    """Yield each import of *module* that always runs: its absolute name, and the names of all modules that it may load."""
    for each in found.imports:
        if each.need or each.scope or each.quoted:
            continue
        base = module.relative(each.level, each.module) if each.level else each.module
        parts = base.split(".")
        parents = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
        yield base, [*parents, *(f"{base}.{name}" for name in each.names)]


def _inside_chain(module: Module, importers: Mapping[str, Module | None]) -> tuple[Module, ...]:
    found = [module]
    while (importer := importers[found[-1].name]) is not None:
        found.append(importer)
    return tuple(reversed(found))
