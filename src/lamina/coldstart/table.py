"""Format a study for the terminal: an overview, a table of distributions for each function, then comparisons and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.coldstart.attribution import modules, shares
from lamina.core.text import megabytes, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.coldstart.measure import Measurement
    from lamina.coldstart.quantiles import Difference
    from lamina.coldstart.study import Comparison, Study

_LEAST_MS = 0.05
_OVERVIEW_DROPPABLE = (3, 7, 4, 2, 8, 6)
_FUNCTION_DROPPABLE = (2, 7, 5, 6, 3)
"""The columns that a narrow terminal leaves out, the least important first."""


def lines(study: Study, *, modules: int = 0, width: int | None = None) -> Iterator[str]:
    """
    Yield the lines of the output. *modules* is the number of slowest modules to list for each function.

    *width* is the width of the tables in characters. Narrow tables leave out columns.
    """
    yield from _overview(study, width)
    for each in study.base:
        if each.traces:
            yield ""
            yield from _function(each, modules, width)
    if study.comparisons:
        yield ""
        for comparison in study.comparisons:
            yield _comparison(comparison)
    if study.verdicts:
        yield ""
        for verdict in study.verdicts:
            measured = "cannot start" if verdict.measured_ms is None else f"{verdict.measured_ms:.1f} ms"
            word = "ok" if verdict.ok else "EXCEEDED"
            clock = " (CPU time)" if verdict.clock == "cpu" else ""
            yield f"{verdict.rule} {verdict.function}{clock}: {measured}, limit {verdict.limit_ms:.1f} ms: {word}"


def _overview(study: Study, width: int | None) -> Iterator[str]:
    header = ("function", "median", "min", "quartiles", "max", "CPU", "compiled", "read", "memory")
    rows = []
    for each in study.measurements:
        total = each.total_ms
        if total is None or each.failure is not None:
            continue
        last = each.traces[-1]
        rows.append(
            (
                each.subject.label,
                f"{total.median:.1f} ms",
                f"{total.least:.1f}",
                f"{total.lower:.1f} to {total.upper:.1f}",
                f"{total.greatest:.1f}",
                "" if each.cpu_ms is None else f"{each.cpu_ms.median:.1f} ms",
                str(len(last.compiled)),
                megabytes(sum(size for _, size in last.files)),
                megabytes(each.memory_bytes),
            )
        )
    yield from table(header, rows, width=width, droppable=_OVERVIEW_DROPPABLE)
    for each in study.measurements:
        if each.total_ms is None or each.failure is not None:
            yield f"  {each.subject.label} cannot start: {each.failure}"


def _function(measurement: Measurement, count: int, width: int | None) -> Iterator[str]:
    found = shares(measurement.traces, measurement.subject.owners)
    whole = sum(row.own_ms.median for row in found) or 1.0
    header = (measurement.subject.function, "own", "spread", "share", "with imports", "modules", "compiled", "read")
    rows = [
        (
            f"{row.owner.label} {row.owner.version}".strip(),
            f"{row.own_ms.median:.1f} ms",
            f"{row.own_ms.least:.1f} to {row.own_ms.greatest:.1f}",
            f"{row.own_ms.median / whole:.0%}",
            f"{row.cumulative_ms.median:.1f} ms",
            str(row.modules),
            str(row.compiled),
            megabytes(row.read_bytes),
        )
        for row in found
        if row.own_ms.median >= _LEAST_MS or row.compiled
    ]
    yield from table(header, rows, width=width, droppable=_FUNCTION_DROPPABLE)
    for module in modules(measurement.traces, measurement.subject.owners)[:count]:
        yield (
            f"    {module.module} ({module.owner.label}): {module.own_ms:.1f} ms, "
            f"{module.cumulative_ms:.1f} ms with imports{', compiled' if module.compiled else ''}"
        )


def _comparison(comparison: Comparison) -> str:
    subject = f"{comparison.function}, {comparison.variant}"
    chain = " → ".join(f"`{name}`" for name in comparison.needed_by)
    difference = comparison.difference
    if difference is None:
        return f"{subject}: cannot start" + (f" (import chain: {chain})" if chain else "")
    told = f"{subject}: {_difference(difference)}"
    if comparison.cpu is not None:
        told += f"\n  CPU time: {_difference(comparison.cpu)}"
    if comparison.stood_in:
        needed = f"import chain: {chain}" if chain else "import chain unknown"
        told += f"\n  the function cannot start without the missing modules ({needed}); measured with empty modules in their place"
    return told


def _difference(difference: Difference) -> str:
    interval = f"95% confidence interval: {_signed(difference.low)} to {_signed(difference.high)}"
    told = f"the current build is {_signed(difference.median)} than the variant ({interval})"
    if difference.certain:
        return told
    few = difference.low > 0 or difference.high < 0
    return f"{'too few starts to compare' if few else 'no significant difference'}; measured: {told}"


def _signed(milliseconds: float) -> str:
    return f"{abs(milliseconds):.1f} ms {'slower' if milliseconds >= 0 else 'faster'}"
