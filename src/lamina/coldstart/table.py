"""Format a study for the terminal: an overview, a table of distributions for each function, then comparisons and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.coldstart.attribution import modules, shares
from lamina.core.text import megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.coldstart.measure import Measurement
    from lamina.coldstart.quantiles import Difference
    from lamina.coldstart.study import Comparison, Study

_LEAST_MS = 0.05
_NAME = 30


def lines(study: Study, *, modules: int = 0) -> Iterator[str]:
    """Yield the lines of the output. *modules* is the number of slowest modules to list for each function."""
    yield from _overview(study)
    for each in study.base:
        if each.traces:
            yield ""
            yield from _function(each, modules)
    if study.comparisons:
        yield ""
        for comparison in study.comparisons:
            yield _comparison(comparison)
    if study.verdicts:
        yield ""
        for verdict in study.verdicts:
            measured = "cannot start" if verdict.measured_ms is None else f"{verdict.measured_ms:.1f} ms"
            word = "ok" if verdict.ok else "EXCEEDED"
            yield f"{verdict.rule} {verdict.function}: {measured}, limit {verdict.limit_ms:.1f} ms: {word}"


def _overview(study: Study) -> Iterator[str]:
    labels = [each.subject.label for each in study.measurements]
    width = max(len("function"), *(len(label) for label in labels))
    header = ("median", "min", "quartiles", "max", "CPU", "compiled", "read", "memory")
    more = "".join(f"{name:>11}" for name in header[4:])
    yield f"{'function':{width}}{header[0]:>10}{header[1]:>9}{header[2]:>18}{header[3]:>9}{more}"
    for label, each in zip(labels, study.measurements, strict=True):
        total = each.total_ms
        if total is None or each.failure is not None:
            yield f"{label:{width}}  cannot start: {each.failure}"
            continue
        last = each.traces[-1]
        read = sum(size for _, size in last.files)
        cpu = "" if each.cpu_ms is None else f"{each.cpu_ms.median:.1f} ms"
        quartiles = f"{total.lower:.1f} to {total.upper:.1f}"
        yield (
            f"{label:{width}}{total.median:>7.1f} ms{total.least:>9.1f}{quartiles:>18}{total.greatest:>9.1f}"
            f"{cpu:>11}{len(last.compiled):>11}{megabytes(read):>11}{megabytes(each.memory_bytes):>11}"
        )


def _function(measurement: Measurement, count: int) -> Iterator[str]:
    rows = shares(measurement.traces, measurement.subject.owners)
    whole = sum(row.own_ms.median for row in rows) or 1.0
    yield (
        f"{measurement.subject.function:{_NAME}}{'own':>10}{'spread':>17}{'share':>7}{'with imports':>14}"
        f"{'modules':>9}{'compiled':>10}{'read':>11}"
    )
    for row in rows:
        if row.own_ms.median < _LEAST_MS and not row.compiled:
            continue
        name = f"{row.owner.label} {row.owner.version}".strip()
        spread = f"{row.own_ms.least:.1f} to {row.own_ms.greatest:.1f}"
        yield (
            f"  {_short(name):{_NAME - 2}}{row.own_ms.median:>7.1f} ms{spread:>17}{row.own_ms.median / whole:>7.0%}"
            f"{row.cumulative_ms.median:>11.1f} ms{row.modules:>9}{row.compiled:>10}{megabytes(row.read_bytes):>11}"
        )
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
    interval = f"95% confidence interval {difference.low:+.1f} to {difference.high:+.1f} ms"
    if not difference.certain:
        few = difference.low > 0 or difference.high < 0
        words = "too few starts to compare" if few else "no significant difference"
        return f"{words}; median of the current build minus the variant's: {difference.median:+.1f} ms ({interval})"
    word = "slower" if difference.median > 0 else "faster"
    return f"the current build is {abs(difference.median):.1f} ms {word} ({interval})"


def _short(name: str) -> str:
    return name if len(name) < _NAME - 2 else f"{name[: _NAME - 4]}…"
