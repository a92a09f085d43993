"""
Decide which modules of a layer get bytecode.

The decision is part of a layer's identity, so it must be known before the layer is made, and without an interpreter
where that can be: for ``none`` and ``all`` it follows from the configuration, for ``reachable`` from the sources and the
wheels, and is kept in the store once it was found.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from lamina.bytecode.imports.rules import version as imports_version
from lamina.bytecode.interpreter import magic_number
from lamina.bytecode.segment import RECIPE
from lamina.core.frozen import frozen
from lamina.project import profile
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from lamina.archive.segment import Recipe
    from lamina.bytecode.imports.index import Code
    from lamina.bytecode.toolchain import Toolchain
    from lamina.core.store import Store
    from lamina.core.values import Pin
    from lamina.project.service import Function, Service
    from lamina.project.sources import SourceTree

REACH_AREA = "reach"
_FORMAT = 1


@frozen
class BytecodeChoice:
    """Which modules of one layer are compiled."""

    mode: BytecodeMode
    magic: str | None = None
    """The first bytes of the target's bytecode files; ``None`` where there are none."""
    modules: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    """By distribution, paths below ``python/``; ``None`` means all of them."""

    def identity(self) -> tuple[tuple[str, str], ...]:
        """Return the choice as it enters a layer's digest."""
        if self.mode is BytecodeMode.NONE or self.magic is None:
            return (("mode", BytecodeMode.NONE.value),)
        parts = [("mode", self.mode.value), ("magic", self.magic), ("recipe", str(RECIPE))]
        if self.modules is not None:
            parts.append(("modules", _digest(self.modules)))
        return tuple(parts)

    def of(self, distribution: str) -> frozenset[str] | None:
        """Return the paths to compile in *distribution*; ``None`` means all."""
        return None if self.modules is None else frozenset(dict(self.modules).get(distribution, ()))


@frozen
class Closure:
    """What the functions of one layer can import from: that layer, and the others that they have."""

    functions: tuple[Function, ...]
    pins: tuple[Pin, ...]
    recipe: Recipe


def known_choice(
    service: Service, closure: Closure, tree: SourceTree | None, *, toolchain: Toolchain, store: Store
) -> BytecodeChoice | None:
    """
    Return what of a layer is compiled, or ``None`` where nobody has followed these imports before.

    *closure* is what the layer's functions see. No wheel is needed, and no interpreter.
    Raises ConfigError for a recorded profile that cannot be read.
    """
    if service.bytecode is BytecodeMode.NONE:
        return BytecodeChoice(mode=BytecodeMode.NONE)
    magic = magic_number(toolchain.python)
    if service.bytecode is BytecodeMode.ALL or not closure.functions:
        # Without functions there is nothing to reach from: whoever uses the layer may import anything.
        return BytecodeChoice(mode=BytecodeMode.ALL, magic=magic)
    kept = None if tree is None else _load(reach_place(service, closure, tree, store), closure.pins)
    return None if kept is None else _choice(kept, magic)


def follow(
    service: Service, closure: Closure, tree: SourceTree, wheels: Sequence[Code], *, toolchain: Toolchain, store: Store
) -> BytecodeChoice:
    """
    Return what of a layer is compiled for handlers to reach it, found by reading the sources *tree* and *wheels*.

    What is found is kept in *store*. Raises BytecodeError where sources must be read and no interpreter is there.
    """
    from lamina.bytecode.imports.index import reachable
    from lamina.bytecode.modules import SourceCode

    found = reachable(
        _handlers(closure),
        [SourceCode(project=service.root, files=tree.files), *wheels],
        scanner=toolchain.scanner,
        store=store,
        recorded=_recorded(service.root, closure.functions),
    )
    modules = {pin.name: sorted(found.members(pin.name)) for pin in closure.pins}
    with store.writing(reach_place(service, closure, tree, store)) as file:
        file.write(json.dumps(modules, separators=(",", ":")).encode())
    return _choice(modules, magic_number(toolchain.python))


def _choice(modules: Mapping[str, Sequence[str]], magic: str) -> BytecodeChoice:
    return BytecodeChoice(
        mode=BytecodeMode.REACHABLE,
        magic=magic,
        modules=tuple((name, tuple(paths)) for name, paths in sorted(modules.items())),
    )


def reach_place(service: Service, closure: Closure, tree: SourceTree, store: Store) -> Path:
    """Return where the store keeps what the handlers reach, named by everything that decides it."""
    key = _digest(
        [
            _FORMAT,
            *service.target.python,
            _handlers(closure),
            _recorded(service.root, closure.functions),
            sorted([file.path, file.sha256] for file in tree.files if file.path.endswith(".py")),
            [pin.sha256 for pin in closure.pins],
            closure.recipe.canonical(),
            imports_version(),
        ]
    )
    return store.entry(REACH_AREA, key, ".json")


def is_reach(path: Path) -> bool:
    """Return whether *path*, a file of a store, is one that `reach_place` gives."""
    return path.parent.parent.name == REACH_AREA


def _handlers(closure: Closure) -> list[str]:
    return sorted({function.handler.replace("/", ".").rpartition(".")[0] for function in closure.functions})


def _recorded(root: Path, functions: Sequence[Function]) -> list[str]:
    known = profile.read(root)
    return sorted({module for function in functions for module in known.get(function.name, ())})


def _load(path: Path, pins: Iterable[Pin]) -> dict[str, list[str]] | None:
    """Return the modules that are reached, by distribution; ``None`` for anything but what `follow` keeps for *pins*."""
    try:
        content = json.loads(path.read_bytes())
        fine = {pin.name for pin in pins} == content.keys() and all(
            isinstance(modules, list) and all(isinstance(module, str) for module in modules)
            for modules in content.values()
        )
    except (AttributeError, OSError, RecursionError, ValueError):
        # Whatever is wrong with it, following the imports again is right.
        return None
    return content if fine else None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()
