"""Add up import times by owner, such as a distribution. Each part of an import's time counts as the own time of exactly one owner."""

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
    """The import times, module counts and file sizes of one owner of modules, such as a distribution."""

    owner: Owner
    own_ms: Quartiles
    """The time to import the owner's modules, without the other owners' modules that they import."""
    cumulative_ms: Quartiles
    """The time to import the owner's modules, including the other owners' modules that they load."""
    modules: int
    compiled: int
    """The number of modules that Python compiled because they had no bytecode."""
    read_bytes: int
    """
    The total size, in bytes, of the owner's files that the process opened or mapped into memory.

    Zero for the standard library and the runtime client, because the tracer records only files of the layer and the function package.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class ModuleShare:
    """The import times of one module."""

    module: str
    owner: Owner
    own_ms: float
    cumulative_ms: float
    compiled: bool


def shares(traces: Sequence[Trace], owners: Owners) -> tuple[OwnerTime, ...]:
    """
    Return the import times of each owner in *traces*, one or more runs of the same function.

    The rows are in descending order of median own time. Counts and sizes are from the last run.
    """
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
    """
    Return the import times of each module in *traces*, which are runs of the same function.

    Each time is the median over the runs that imported the module. The rows are in descending order of own time.
    """
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
    """
    Return the own and the cumulative import time of each owner, in nanoseconds.

    The cumulative time of an import includes all imports nested in it. Nested imports of the same owner are therefore not added again.
    """
    holders: list[Owner] = []
    around: list[frozenset[Owner]] = []
    found: dict[Owner, tuple[int, int]] = {}
    for each in trace.imports:
        outer: frozenset[Owner] = frozenset()
        if each.parent is not None:
            outer = around[each.parent] | {holders[each.parent]}
        # The time of an import that found no module counts for the importing module's owner.
        fails = each.file is None and not each.ok and each.parent is not None
        owner = holders[each.parent] if fails and each.parent is not None else owners.of(each.file)
        holders.append(owner)
        around.append(outer)
        own, cumulative = found.get(owner, (0, 0))
        found[owner] = (own + each.self_ns, cumulative + (0 if owner in outer else each.duration_ns))
    return found
