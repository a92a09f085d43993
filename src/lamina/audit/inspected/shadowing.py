"""
Find the modules that several zips of a function have, and which of them Python imports.

Lambda unpacks the layers into ``/opt`` in their order, so a file of a later layer replaces one of an earlier layer. Python then searches
the function's package, ``site-packages`` of the layers, and ``python/`` of the layers, as `lamina.local.guest.bootstrap` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.audit.inventory.contents import ArchiveContents, ContainedDistribution


@frozen
class ModuleCopy:
    """A module in one of the zips that have it."""

    archive: str
    """The name of the zip."""
    distribution: str | None
    """The distribution that the module belongs to; ``None`` without metadata."""
    version: str | None


@frozen
class Shadowed:
    """A module that several zips of one function have."""

    module: str
    used: ModuleCopy
    """The one that Python imports."""
    hidden: tuple[ModuleCopy, ...]
    """Those of the other zips."""
    is_merged: bool
    """Whether the zips have it at the same place, so that files of both are mixed there if their content differs."""


def shadowed(archives: Sequence[tuple[str, ArchiveContents]], python: tuple[int, int] | None) -> tuple[Shadowed, ...]:
    """
    Return the modules that more than one of *archives* has, sorted by name.

    *archives* are the names and contents of a function's layers, in their order, and of its package. *python* is the runtime's minor
    version, which decides which ``site-packages`` it searches; ``None`` for all.
    """
    places: dict[str, list[tuple[int, int, str, str, ContainedDistribution | None]]] = {}
    for number, (name, contents) in enumerate(archives):
        for root, module, distribution in _modules(contents):
            if (rank := search_rank(root, python, is_layer=contents.is_layer)) is not None:
                places.setdefault(module, []).append((rank, -number, name, root, distribution))
    return tuple(
        _shadowed(module, sorted(found, key=lambda place: place[:2]))
        for module, found in sorted(places.items())
        if len({name for _, _, name, _, _ in found}) > 1
    )


def _shadowed(module: str, places: Sequence[tuple[int, int, str, str, ContainedDistribution | None]]) -> Shadowed:
    rank = places[0][0]
    copies: dict[str, ModuleCopy] = {}
    for _, _, name, _, each in places:
        found = ModuleCopy(
            archive=name,
            distribution=None if each is None else each.name,
            version=None if each is None else each.version,
        )
        copies.setdefault(name, found)
    used, *hidden = copies.values()
    return Shadowed(
        module=module,
        used=used,
        hidden=tuple(hidden),
        is_merged=sum(each[0] == rank for each in places) > 1,
    )


def _modules(contents: ArchiveContents) -> Iterator[tuple[str, str, ContainedDistribution | None]]:
    """Yield each module with the directory that Python imports it from, and its distribution if it has one."""
    for distribution in contents.distributions:
        for module in distribution.modules:
            yield distribution.root, module, distribution
    for root, module in contents.modules:
        yield root, module, None


def search_rank(root: str, python: tuple[int, int] | None, *, is_layer: bool) -> int | None:
    """Return the place of the directory *root* on the search path; ``None`` if it is not on it."""
    if not is_layer:
        return 0
    if "site-packages" not in root:
        return 2
    return 1 if python is None or f"python{python[0]}.{python[1]}/" in root else None
