"""Add one process's imports up by who they belong to. Every nanosecond of an import is somebody's own exactly once."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.coldstart.quantiles import Quartiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.coldstart.owners import Owner, Owners
    from lamina.coldstart.trace import Trace, TracedImport


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnerTime:
    """What one distribution, or another owner of modules, has of an initialisation."""

    owner: Owner
    own_ms: Quartiles
    """In its own modules, without what they import of others."""
    cumulative_ms: Quartiles
    """From where others import it to where that is done, with everything that it imports first."""
    modules: int
    compiled: int
    """Modules without bytecode."""
    read_bytes: int
    """Sizes of its files that were opened or mapped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModuleShare:
    """What one module has of an initialisation."""

    module: str
    owner: Owner
    own_ms: float
    cumulative_ms: float
    compiled: bool


def shares(traces: Sequence[Trace], owners: Owners) -> tuple[OwnerTime, ...]:
    """Return the shares of everyone in *traces*, repeated runs of one function, the greatest own time first."""
    sums = [_sums(trace, owners) for trace in traces]
    last = traces[-1]
    compiled = Counter(owners.of(file) for file in last.compiled)
    imported = Counter(owners.of(each.file) for each in last.imports if each.ok)
    sizes: Counter[Owner] = Counter()
    for file, size in last.files:
        sizes[owners.of(file)] += size
    found = {owner for each in sums for owner in each} | compiled.keys() | sizes.keys()
    rows = [
        OwnerTime(
            owner=owner,
            own_ms=Quartiles.of([each.get(owner, (0, 0))[0] / 1e6 for each in sums]),
            cumulative_ms=Quartiles.of([each.get(owner, (0, 0))[1] / 1e6 for each in sums]),
            modules=imported[owner],
            compiled=compiled[owner],
            read_bytes=sizes[owner],
        )
        for owner in found
    ]
    return tuple(sorted(rows, key=lambda row: (-row.own_ms.median, row.owner)))


def modules(traces: Sequence[Trace], owners: Owners) -> tuple[ModuleShare, ...]:
    """Return the modules of *traces*, the greatest own time first; each time is the median of the runs that had it."""
    compiled = {file for trace in traces for file in trace.compiled}
    found: dict[str, list[TracedImport]] = {}
    for trace in traces:
        for each in trace.imports:
            if each.ok:
                found.setdefault(each.module, []).append(each)
    rows = [
        ModuleShare(
            module=name,
            owner=owners.of(times[-1].file),
            own_ms=statistics.median(each.self_ns for each in times) / 1e6,
            cumulative_ms=statistics.median(each.duration_ns for each in times) / 1e6,
            compiled=any(each.file in compiled for each in times),
        )
        for name, times in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.own_ms, row.module)))


def _sums(trace: Trace, owners: Owners) -> dict[Owner, tuple[int, int]]:
    """Return own and cumulative nanoseconds by owner; an import within another of the same owner adds nothing to the latter."""
    holders: list[Owner] = []
    around: list[frozenset[Owner]] = []
    found: dict[Owner, tuple[int, int]] = {}
    for each in trace.imports:
        outer: frozenset[Owner] = frozenset()
        if each.parent is not None:
            outer = around[each.parent] | {holders[each.parent]}
        # What was looked for and not found is the importer's own trouble.
        fails = each.file is None and not each.ok and each.parent is not None
        owner = holders[each.parent] if fails and each.parent is not None else owners.of(each.file)
        holders.append(owner)
        around.append(outer)
        own, cumulative = found.get(owner, (0, 0))
        found[owner] = (own + each.self_ns, cumulative + (0 if owner in outer else each.duration_ns))
    return found
