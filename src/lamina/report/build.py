"""Show a build: its limits as gauges, the findings of `lamina check`, and the builds before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.target import quotas
from lamina.core.text import count, megabytes
from lamina.core.values import Severity
from lamina.report.charts import draw
from lamina.report.colours import palette
from lamina.report.values import Figure, Gauge, LegendEntry, PageSection, PageTable, shown_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.audit.report import Report, ReportedFinding
    from lamina.core.values import Build, Package
    from lamina.pipeline.history import PastBuild
    from lamina.report.values import Cell

_FUNCTIONS = "function packages"


def limits_section(builds: Sequence[Build]) -> PageSection:
    """Return how much of Lambda's limits the functions and layers of *builds* use, each for one target."""
    limits = quotas()
    stopped = "The build stopped, because its layers would exceed the limits; see the findings."
    return PageSection(
        anchor="limits",
        heading="Lambda's limits",
        paragraphs=(
            (
                f"A function with its layers may have {megabytes(limits.unzipped_bytes)} unzipped and {limits.layers} layers. A zip of up to "
                f"{megabytes(limits.direct_upload_bytes)} is uploaded directly, a larger one through S3. The Lambda console edits packages "
                f"of up to {megabytes(limits.console_bytes)}."
            ),
            *([] if any(each.layers or each.packages for each in builds) else [stopped]),
        ),
        tables=tuple(
            table for build in builds for table in _limits(build, f" for {build.target}" if len(builds) > 1 else "")
        ),
    )


def _limits(build: Build, where: str) -> Iterator[PageTable]:
    if build.packages:
        yield PageTable(
            caption=f"Functions and their limits{where}",
            header=("function", "unzipped, with layers", "layers", "zip of the function", "editable in the console"),
            rows=tuple(_function(each) for each in build.packages),
        )
    if build.layers:
        yield PageTable(
            caption=f"Layers and the limit of direct uploads{where}",
            header=("layer", "zipped", "unzipped", "files"),
            rows=tuple(
                (
                    each.name,
                    _gauge(each.zipped_bytes, quotas().direct_upload_bytes, f"Zipped size of layer {each.name}"),
                    megabytes(each.unzipped_bytes),
                    f"{each.files:,}",
                )
                for each in build.layers
            ),
        )


def _function(each: Package) -> tuple[Cell, ...]:
    limits, layers = quotas(), len(each.layers) + len(each.layer_arns)
    return (
        each.name,
        _gauge(each.total_unzipped_bytes, limits.unzipped_bytes, f"Unzipped size of {each.name} with its layers"),
        Gauge(value=layers, most=limits.layers, text=f"{layers} of {limits.layers}", label=f"Layers of {each.name}"),
        _gauge(each.zipped_bytes, limits.direct_upload_bytes, f"Zipped size of {each.name}"),
        "yes" if each.console_editable else "no",
    )


def _gauge(value: int, most: int, label: str) -> Gauge:
    return Gauge(value=value, most=most, text=f"{megabytes(value)} ({value / most:.0%})", label=label)


def findings_section(report: Report) -> PageSection:
    """Return the findings of `lamina check`, and those that the configuration ignores."""
    counts = ", ".join(count(report.count(each), each.value) for each in Severity)
    tables = [
        PageTable(
            caption=caption,
            header=("rule", "severity", "message", "place"),
            rows=tuple(_finding(row) for row in rows),
            is_open=rows is report.rows,
            is_prose=True,
        )
        for caption, rows in (("All findings", report.rows), ("Ignored findings", report.ignored))
        if rows
    ]
    return PageSection(
        anchor="findings",
        heading="Findings",
        paragraphs=(f"lamina check: {counts}, {len(report.ignored):,} ignored.",),
        tables=tuple(tables),
    )


def _finding(row: ReportedFinding) -> tuple[Cell, ...]:
    return (row.finding.rule, row.finding.severity.value, row.finding.message, row.place)


def history_section(rows: Sequence[PastBuild]) -> PageSection:
    """Return the last builds that changed a zip, the newest last in the chart and first in the table. Raises `MissingExtraError`."""
    several = len({layer.target for row in rows for layer in row.layers}) > 1
    names = {
        (layer.target, layer.name): f"{layer.name} for {layer.target}" if several else layer.name
        for row in rows
        for layer in row.layers
    }
    colours = palette([_FUNCTIONS, *names.values()])
    bars: list[dict[str, object]] = []
    for number, row in enumerate(rows, 1):
        parts = [(names[layer.target, layer.name], layer.zipped_bytes) for layer in row.layers]
        bars += [
            {"build": number, "name": name, "megabytes": size / 1e6, "colour": colours[name]}
            for name, size in (*parts, (_FUNCTIONS, row.functions_zipped_bytes))
        ]
    return PageSection(
        anchor="history",
        heading="Last builds",
        paragraphs=("Each build that changed a zip; lamina keeps the last 100 in `.lamina/history.jsonl`.",),
        figures=(
            Figure(
                title="Zipped size by build",
                label=f"Stacked bars of the zipped sizes of {count(len(rows), 'build')}. The table below has the numbers.",
                svg=draw("builds", bars),
                legend=tuple(LegendEntry(colour=colour, label=name) for name, colour in colours.items()),
            ),
        ),
        tables=(
            PageTable(
                caption="Builds, the newest first",
                header=(
                    "build",
                    "time",
                    "changed layers",
                    "layers zipped",
                    "layers unzipped",
                    "functions zipped",
                    "errors",
                    "warnings",
                    "seconds",
                ),
                rows=tuple(
                    _past(number, row, rows[number - 2] if number > 1 else None)
                    for number, row in reversed([*enumerate(rows, 1)])
                ),
            ),
        ),
    )


def _past(number: int, row: PastBuild, before: PastBuild | None) -> tuple[Cell, ...]:
    known = {(each.target, each.name): each.digest for each in before.layers} if before is not None else {}
    changed = [each.name for each in row.layers if known.get((each.target, each.name)) != each.digest]
    return (
        str(number),
        shown_time(row.built),
        ", ".join(dict.fromkeys(changed)) or "none",
        megabytes(sum(each.zipped_bytes for each in row.layers)),
        megabytes(sum(each.unzipped_bytes for each in row.layers)),
        megabytes(row.functions_zipped_bytes),
        f"{row.errors:,}",
        f"{row.warnings:,}",
        f"{row.seconds:.1f}",
    )
