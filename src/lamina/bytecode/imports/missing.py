"""
Find the imports that a service's handlers reach and that nothing provides, without running any code.

The search follows the imports in the service's own modules, and those in distributions as far as they have been scanned.
Pure: the caller supplies the modules, their imports, and the directories of ``sys.path``.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lamina.bytecode.imports.rules import FIRST_PARTY
from lamina.bytecode.imports.scan import POSSIBLE, REPLACED, REQUIRED
from lamina.core.frozen import frozen, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lamina.bytecode.imports.resolve import Module
    from lamina.bytecode.imports.scan import ImportStatement, Scan

# Names with which a module can define attributes that a scan does not show.
_DYNAMIC = frozenset({"globals", "vars", "exec", "eval", "setattr", "modules", "__dict__", "lazy_loader", "__class__"})
_EXTENDING = frozenset({"__path__", "extend_path"})


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
    """The modules of distributions whose imports are known."""

    def module(self, name: str) -> Module | None:
        """Return the module with the dotted *name*, or ``None`` if no distribution has it."""

    def scan(self, module: Module) -> Scan | None:
        """Return the imports of *module*, or ``None`` if they have not been scanned."""


@frozen
class Miss:
    """An import of a module that nothing provides."""

    module: str
    """The dotted name that cannot be imported, up to the part that is missing."""
    chain: tuple[Module, ...]
    """The modules that lead to the import, from a handler's module to the module with the import."""
    statement: ImportStatement
    is_required: bool
    """Whether the import runs when the handler's module is imported. If false, it is in a function or under a condition."""
    is_beyond_top: bool = False
    """Whether the import is relative and has more dots than there are packages, so *module* is what it names."""
    is_uncertain: bool = False
    """Whether a module on the way changes ``sys.path``, so the module may exist elsewhere."""


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
    *inside* those in distributions, where only imports that always run are followed. Each name is reported once: with an
    import that always runs, if there is one.
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
        self._waiting: list[_Visit] = []
        self._optional: list[_Visit] = []
        self._changes_path = False
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
        if self._changes_path:
            self.missing = {
                name: replace(miss, is_required=False, is_uncertain=True)
                for name, miss in self.missing.items()
                if not self._own.is_anywhere(name.partition(".")[0])
            }

    def _reach(self, name: str, importer: Module | None, *, is_required: bool) -> None:
        """Visit the module *name* and its parent packages, as far as they are known."""
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            current = ".".join(parts[:end])
            module = self._own.modules.get(current) or self._inside.module(current)
            if module is not None and current not in self._visits:
                (self._waiting if is_required else self._optional).append(_Visit(module, is_required, importer))

    def _read(self, visit: _Visit) -> None:
        module = visit.module
        is_own = module.distribution == FIRST_PARTY
        if not is_own:
            found = self._inside.scan(module)
            for each in () if found is None else found.imports:
                if not (each.need or each.scope or each.quoted):
                    self._follow(visit, each, is_required=visit.is_required)
            return
        if module.is_extension:
            return
        for each in self._scans(module).imports:
            if (each.module, each.names) == ("sys", ("path",)) or each.module == "site":
                self._changes_path = True
            if not each.quoted and each.need != POSSIBLE:
                is_required = visit.is_required and each.need == REQUIRED and not each.scope
                self._follow(visit, each, is_required=is_required)

    def _follow(self, visit: _Visit, each: ImportStatement, *, is_required: bool) -> None:
        module = visit.module
        if each.level:
            packages = len(module.name.split(".")) - (not module.is_package)
            if each.level > packages:
                if module.distribution == FIRST_PARTY:
                    self._miss(
                        each.module or ".".join(each.names), visit, each, is_required=is_required, is_beyond_top=True
                    )
                return
            base = module.relative(each.level, each.module)
        else:
            base = each.module
        absent = self._absent(base)
        if absent is not None:
            # Modules that a distribution adds at run time, such as those of six, are never missed.
            if module.distribution == FIRST_PARTY or not each.level:
                self._miss(absent, visit, each, is_required=is_required)
            return
        self._reach(base, module, is_required=is_required)
        for name in each.names:
            self._take(base, name, visit, each, is_required=is_required)

    def _take(self, base: str, name: str, visit: _Visit, each: ImportStatement, *, is_required: bool) -> None:
        """Follow *name*, which is imported from the existing module *base*: a submodule or an attribute."""
        submodule = f"{base}.{name}"
        if name == "*" or visit.module.distribution != FIRST_PARTY or self._absent(submodule) is None:
            self._reach(submodule, visit.module, is_required=is_required)
            return
        package = self._own.modules.get(base)
        if (package is None or package.is_package) and not (package is not None and self._defines(package, name)):
            self._miss(submodule, visit, each, is_required=is_required)

    def _absent(self, name: str) -> str | None:
        """
        Return the first part of the dotted *name* that cannot be imported, such as ``a.b`` of ``a.b.c``; otherwise ``None``.

        Of a regular package that is not the service's own, every submodule counts as existing.
        """
        paths: list[ImportPath] = [self._own, *self._others]
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            current = ".".join(parts[:end])
            forms = [(path, path.form(current)) for path in paths]
            regular = next((path for path, form in forms if form is Form.REGULAR), None)
            if regular is not None and regular is not self._own:
                return None
            if regular is not None:
                if self._is_open(self._own.modules[current]):
                    return None
                # A regular package hides what other directories contain below its name.
                paths = [self._own]
                continue
            paths = [path for path, form in forms if form is Form.NAMESPACE]
            if not paths:
                return current
        return None

    def _is_open(self, package: Module) -> bool:
        """Return whether *package* can find submodules in other directories than its own."""
        return package.is_package and not package.is_extension and not _EXTENDING.isdisjoint(self._mentioned(package))

    def _defines(self, package: Module, name: str) -> bool:
        """Return whether *package* may define *name* other than as a submodule."""
        if package.is_extension:
            return True
        found = self._scans(package)
        mentioned = self._mentioned(package)
        if found.problem is not None or "__getattr__" in dict(found.mentions) or not _DYNAMIC.isdisjoint(mentioned):
            return True
        return name in mentioned or any(
            "*" in each.names or name in each.names or (not each.level and each.module.partition(".")[0] == name)
            for each in found.imports
            if not each.scope and not each.quoted and each.need != POSSIBLE
        )

    def _mentioned(self, module: Module) -> frozenset[str]:
        """Return the names that the top-level code of *module* uses or defines."""
        found = self._scans(module)
        scopes = dict(found.mentions)
        return frozenset((*scopes, *scopes.get("", ()), *found.aliases, *found.exports))

    def _miss(
        self, name: str, visit: _Visit, each: ImportStatement, *, is_required: bool, is_beyond_top: bool = False
    ) -> None:
        known = self.missing.get(name)
        if each.need == REPLACED or (known is not None and (known.is_required or not is_required)):
            return
        self.missing[name] = Miss(
            module=name,
            chain=tuple(reversed(list(self._chain(visit)))),
            statement=each,
            is_required=is_required,
            is_beyond_top=is_beyond_top,
        )

    def _chain(self, visit: _Visit) -> Iterator[Module]:
        current: _Visit | None = visit
        while current is not None:
            yield current.module
            current = None if current.importer is None else self._visits[current.importer.name]
