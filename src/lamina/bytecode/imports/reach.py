"""Put together what is known of all trees, what is read of them now, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.bytecode.imports.index import ModuleIndex
from lamina.bytecode.imports.resolve import Module, resolve
from lamina.bytecode.imports.rules import rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lamina.bytecode.imports.index import Code, Scanner
    from lamina.bytecode.imports.resolve import Reachable
    from lamina.bytecode.imports.scan import Scan
    from lamina.core.store import Store

__all__ = ["reachable"]


def reachable(
    handlers: Iterable[str],
    trees: Sequence[Code],
    *,
    scanner: Scanner,
    store: Store,
    recorded: Iterable[str] = (),
) -> Reachable:
    """
    Return every module in *trees* that the modules *handlers* (dotted names) can import.

    *trees* are the service's own sources and its distributions; where two have the same module, the first wins, as on
    Lambda, where a function's own code comes before its layers. *recorded* are names that a profile saw imported.
    Raises `BytecodeError` if the interpreter cannot be run.
    """
    indexes = {tree.distribution: ModuleIndex(tree, store, python=scanner.python) for tree in trees}
    modules: dict[str, Module] = {}
    groups: dict[str, list[str]] = {}
    for index in indexes.values():
        for name, module in index.modules.items():
            modules.setdefault(name, module)
        for group, names in index.entry_points.items():
            groups.setdefault(group, []).extend(names)

    def scans(wave: Sequence[Module]) -> dict[str, Scan]:
        by_tree: dict[str, list[Module]] = {}
        for module in wave:
            by_tree.setdefault(module.distribution, []).append(module)
        found: dict[str, Scan] = {}
        for distribution, members in by_tree.items():
            found |= indexes[distribution].scans(members, scanner)
        return found

    result = resolve(handlers, modules, scans=scans, rules=rules(), entry_points=groups, recorded=recorded)
    for index in indexes.values():
        index.save()
    return result
