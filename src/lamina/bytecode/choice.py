"""
Decide which modules of a layer get bytecode.

The choice is part of the layer's digest, so it must be known before the layer is built, if possible without an
interpreter. In the modes ``none`` and ``all``, the configuration decides. In the mode ``reachable``, the sources and the
wheels decide, and the store keeps the result.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from lamina.bytecode.imports.rules import FIRST_PARTY
from lamina.bytecode.imports.rules import version as imports_version
from lamina.bytecode.interpreter import magic_number
from lamina.bytecode.segment import RECIPE
from lamina.core.documents import INVALID, open_sealed
from lamina.core.frozen import frozen, replace
from lamina.core.store import key_of, place_of
from lamina.project import profile
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from lamina.archive.segment import Recipe
    from lamina.bytecode.imports.index import Code
    from lamina.bytecode.imports.search import FirstParty
    from lamina.bytecode.segment import CompiledModules
    from lamina.bytecode.toolchain import Toolchain
    from lamina.core.store import Store
    from lamina.core.values import Pin
    from lamina.project.service import Function, PackageConfig, Service
    from lamina.project.sources import PackageSources

REACH_AREA = "reach"
SEARCHES_AREA = "searches"
"""The area of the store with the results of the last searches, and the own modules that they reached."""
_FORMAT = 2


@frozen
class BytecodeChoice:
    """The modules of one layer to compile."""

    mode: BytecodeMode
    magic: str | None = None
    """The first four bytes of the target's bytecode files, in hexadecimal; ``None`` if nothing is compiled."""
    modules: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    """The sources to compile, by distribution, as paths relative to ``python/``; ``None`` means all sources."""
    without: tuple[str, ...] = ()
    """The distributions to leave uncompiled, sorted, because the layer would exceed Lambda's limit with their bytecode."""

    def identity(self) -> tuple[tuple[str, str], ...]:
        """Return the pairs of name and value through which the choice is part of the layer's digest."""
        if self.mode is BytecodeMode.NONE or self.magic is None:
            return (("mode", BytecodeMode.NONE.value),)
        parts = [("mode", self.mode.value), ("magic", self.magic), ("recipe", str(RECIPE))]
        if self.modules is not None:
            parts.append(("modules", _digest(self.modules)))
        if self.without:
            parts.append(("without", " ".join(self.without)))
        return tuple(parts)

    def of(self, distribution: str) -> frozenset[str] | None:
        """Return the sources to compile in *distribution*, relative to ``python/``; ``None`` means all sources."""
        if distribution in self.without:
            return frozenset()
        return None if self.modules is None else frozenset(dict(self.modules).get(distribution, ()))


@frozen
class Closure:
    """The functions that use one layer, and the distributions in any of their layers, which they can import."""

    functions: tuple[Function, ...]
    pins: tuple[Pin, ...]
    recipe: Recipe


@frozen
class Start:
    """The modules of one package where the search for the imports from a layer starts."""

    handlers: tuple[str, ...]
    """The dotted names of the handlers' modules."""
    recorded: tuple[str, ...]
    """The names of modules from the profile."""
    package: PackageSources


def starts(service: Service, closure: Closure, packages: Sequence[PackageSources]) -> tuple[Start, ...]:
    """
    Return where the search starts in each of *packages* with a function of *closure*.

    Raises ConfigError if the recorded profile is unreadable.
    """
    using = {function.name for function in closure.functions}
    recorded = profile.read(service.root)
    found: list[Start] = []
    for package in packages:
        functions = [function for function in package.config.functions if function.name in using]
        modules = {function.module for function in functions}
        known = {module for function in functions for module in recorded.get(function.name, ())}
        if functions:
            found.append(Start(handlers=tuple(sorted(modules)), recorded=tuple(sorted(known)), package=package))
    return tuple(found)


def known_choice(
    service: Service,
    closure: Closure,
    packages: Sequence[PackageSources] | None,
    *,
    toolchain: Toolchain,
    store: Store,
) -> BytecodeChoice | None:
    """
    Return the modules of a layer to compile, or ``None`` if `follow` must find them first.

    The answer comes from the configuration, or from an earlier result of `follow` in *store*. No wheel and no interpreter
    is needed. In the mode ``reachable``, the answer is ``None`` without the sources of the *packages*.
    Raises ConfigError if the recorded profile is unreadable, and BytecodeError if lamina does not support bytecode for the
    target.
    """
    if service.bytecode is BytecodeMode.NONE:
        return BytecodeChoice(mode=BytecodeMode.NONE)
    magic = magic_number(toolchain.python)
    if service.bytecode is BytecodeMode.ALL or not closure.functions:
        # Without functions there are no imports to follow. Any code may use the layer, so compile everything.
        return BytecodeChoice(mode=BytecodeMode.ALL, magic=magic)
    if packages is None:
        return None
    found: list[Mapping[str, Sequence[str]]] = []
    for start in starts(service, closure, packages):
        kept = _known(service, closure, start, store)
        if kept is None:
            return None
        found.append(kept)
    return _choice(found, magic)


def follow(
    service: Service,
    closures: Sequence[Closure],
    packages: Sequence[PackageSources],
    wheels: Iterable[Code],
    *,
    toolchain: Toolchain,
    store: Store,
    compiled: CompiledModules | None = None,
) -> tuple[BytecodeChoice, ...]:
    """
    Return the modules that the handlers of each of *closures* can import, found by reading the sources of *packages* and *wheels*.

    The closures have the same recipe, and the same file of a distribution that several of them have. *wheels* are those of all closures.
    Each package is searched by itself, because modules of two packages can have the same name. Packages with an earlier
    result in *store* are not searched again. Reading a wheel starts when *wheels* yields it. With *compiled*, the sources of
    wheels are also compiled, and it receives their bytecode. The results are kept in *store*. Raises BytecodeError if no
    interpreter is available, ConfigError if the recorded profile is unreadable, and the errors of reading *packages* and
    *wheels*.
    """
    from lamina.bytecode.imports.search import reachable

    hashes = {pin.name: pin.sha256 for closure in closures for pin in closure.pins}
    kept: list[list[Mapping[str, Sequence[str]]]] = [[] for _ in closures]
    new: list[tuple[int, Start]] = []
    for number, closure in enumerate(closures):
        for start in starts(service, closure, packages):
            if (modules := _known(service, closure, start, store)) is not None:
                kept[number].append(modules)
            else:
                new.append((number, start))
    names = [frozenset(pin.name for pin in closure.pins) for closure in closures]
    found = reachable(
        [replace(first_party(service, start), distributions=names[number]) for number, start in new],
        wheels,
        compiler=toolchain.compiler,
        store=store,
        keep=None if compiled is None else lambda name, done: compiled.keep(hashes[name], done),
    )
    for (number, start), reached in zip(new, found, strict=True):
        modules = {pin.name: sorted(reached.members(pin.name)) for pin in closures[number].pins}
        store.write_document(reach_place(service, closures[number], start, store), modules)
        hashes_of = {file.path: file.sha256 for file in start.package.tree.files}
        own = {path: hashes_of[path] for path in sorted(reached.members(FIRST_PARTY))}
        store.write_document(_last_place(service, closures[number], start, store), {"own": own, "modules": modules})
        kept[number].append(modules)
    return tuple(_choice(each, magic_number(toolchain.python)) for each in kept)


def source_key(service: Service, package: PackageConfig) -> str:
    """
    Return the key of the sources of *package* in the store, as `Code.key` describes it.

    It has the project's path and, if they are not those of the service, the package's own entries: they distinguish the
    package from others on this machine.
    """
    return "\n".join((str(service.root), *(() if package.source == service.source else package.source)))


def first_party(service: Service, start: Start, *, preferred: frozenset[str] = frozenset()) -> FirstParty:
    """Return where the search at *start* begins, in which the modules of the distributions *preferred* count before others."""
    from lamina.bytecode.imports.search import FirstParty
    from lamina.bytecode.modules import SourceCode

    package = start.package
    return FirstParty(
        code=SourceCode(key=source_key(service, package.config), files=package.tree.files),
        handlers=start.handlers,
        recorded=start.recorded,
        preferred=preferred,
    )


def _choice(found: Sequence[Mapping[str, Sequence[str]]], magic: str) -> BytecodeChoice:
    """Return the choice of the modules that any of *found*, one for each package, contains. All have the same distributions."""
    modules = {name: sorted({path for each in found for path in each[name]}) for name in sorted(found[0])}
    return BytecodeChoice(
        mode=BytecodeMode.REACHABLE,
        magic=magic,
        modules=tuple((name, tuple(paths)) for name, paths in modules.items()),
    )


def reach_place(service: Service, closure: Closure, start: Start, store: Store) -> Path:
    """
    Return the path in *store* of the file that lists the modules that the handlers at *start* can import.

    The file name is a hash of every input of the search.
    """
    key = key_of(
        _FORMAT,
        *service.target.python,
        start.handlers,
        start.recorded,
        start.package.tree.python_digest,
        [pin.sha256 for pin in closure.pins],
        closure.recipe.canonical(),
        imports_version(),
    )
    return store.entry(REACH_AREA, key, ".json")


def _known(service: Service, closure: Closure, start: Start, store: Store) -> Mapping[str, Sequence[str]] | None:
    """
    Return the modules that the handlers at *start* can import, according to *store*; ``None`` if the search must find them.

    Only the own modules that the last search reached decide its result, unless files were added or removed. If none of these
    was edited since, the result is that of the present sources, too.
    """
    place = reach_place(service, closure, start, store)
    known: Mapping[str, Sequence[str]] | None = _load(place, closure.pins, store)
    if known is None:
        hashes = {file.path: file.sha256 for file in start.package.tree.files}

        def parse(content: Mapping[str, Any]) -> Mapping[str, Sequence[str]] | None:
            modules = _parsed(content["modules"], closure.pins)
            return modules if all(hashes.get(path) == sha256 for path, sha256 in content["own"].items()) else None

        known = store.read_document(_last_place(service, closure, start, store), parse)
        if known is not None:
            store.write_document(place, known)
    return known


def _last_place(service: Service, closure: Closure, start: Start, store: Store) -> Path:
    """Return the path in *store* of the result of the last search at *start* among the same files, whatever they contained."""
    key = key_of(
        _FORMAT,
        str(service.root),
        *service.target.python,
        start.handlers,
        start.recorded,
        sorted(file.path for file in start.package.tree.files),
        [pin.sha256 for pin in closure.pins],
        closure.recipe.canonical(),
        imports_version(),
    )
    return store.entry(SEARCHES_AREA, key, ".json")


def is_reach(path: Path) -> bool:
    """Return whether *path*, a file in a store, is a list of modules that `follow` found."""
    return path.parent.parent.name == REACH_AREA


def _load(path: Path, pins: Iterable[Pin], store: Store) -> dict[str, list[str]] | None:
    """Return the source paths in the file, by distribution, or ``None`` if it is not a result of `follow` for *pins*."""
    return store.read_document(path, lambda rows: _parsed(rows, pins))


def _parsed(rows: object, pins: Iterable[Pin]) -> dict[str, list[str]]:
    found = paths_by_name(rows)
    if found.keys() != {pin.name for pin in pins}:
        raise ValueError("other distributions")
    return found


def is_metadata(path: Path, content: bytes) -> bool:
    """Return whether *content*, which is untrusted, is a document for *path*, the path of imports or reached modules in a store."""
    from lamina.bytecode.imports.index import IMPORTS_AREA, parse_index

    parse = parse_index if path.parent.parent.name == IMPORTS_AREA else paths_by_name
    try:
        parse(open_sealed(content, place_of(path)))
    except INVALID:
        return False
    return True


def paths_by_name(rows: object) -> dict[str, list[str]]:
    """Return *rows*, which are untrusted JSON values, if they map names to lists of paths. Otherwise raise `ValueError`."""
    if not isinstance(rows, dict) or not all(
        isinstance(paths, list) and all(isinstance(path, str) for path in paths) for paths in rows.values()
    ):
        raise ValueError("not a mapping of names to lists of paths")
    return rows


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()
