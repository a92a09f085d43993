"""Show measured cold starts, from the JSON document of `lamina coldstart`: times by function, and charts of their imports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lamina.coldstart.trace import ModuleOrigin
from lamina.core.documents import INVALID, read_bounded
from lamina.core.errors import ConfigError
from lamina.core.frozen import frozen
from lamina.report.charts import draw
from lamina.report.colours import BAR, OWN_CODE, RUNTIME, STANDARD_LIBRARY, palette
from lamina.report.values import Figure, LegendEntry, PageSection, PageTable, ReportPage, shown_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_ROW = 19
"""The height of one level of imports in the chart, in pixels."""
_NARROWEST = 1 / 1160
"""An import with a smaller part of the time has less than one pixel. It is drawn as part of the import that it belongs to."""
_LABELLED_TIME = 0.04
"""The part of the time from which on an area's label also has the time."""
_NAMED = 15
_ALL = -1
"""The row of the chart that all imports are part of."""
_MOST_MODULES = 30
_PLACES = {
    ModuleOrigin.LAYER.value: ("layer, no distribution", "var(--c8)"),
    ModuleOrigin.PACKAGE.value: ("your code", OWN_CODE),
    ModuleOrigin.RUNTIME.value: ("runtime", RUNTIME),
    ModuleOrigin.STANDARD_LIBRARY.value: ("standard library", STANDARD_LIBRARY),
}


@frozen
class _Import:
    """One import: its module, the index of the import that it is part of, its own time, and the owner of the module."""

    module: str
    parent: int | None
    own_ms: float
    owner: str
    is_compiled: bool


def read_starts(path: Path) -> PageSection:
    """Return the section about the document in the file *path*. Raises `ConfigError` if it is none, and `MissingExtraError`."""
    content = read_bounded(path)
    if content is None:
        raise ConfigError(
            f"`{path}` does not exist or is not readable",
            hint="write the output of this command to a file: `lamina coldstart --json`",
        )
    try:
        document = json.loads(content)
        if (document["version"], document["kind"]) != ("1", "local"):
            raise ValueError("another document")
        return starts_section(document)
    except INVALID as error:
        raise ConfigError(
            f"`{path}` has no cold starts with imports",
            hint="write the output of this command to a file: `lamina coldstart --json`",
        ) from error


def starts_page(document: Mapping[str, Any]) -> ReportPage:
    """Return a page with nothing but the cold starts in *document*. Raises `MissingExtraError`."""
    facts = (
        ("Service", document["service"]),
        ("Target", document["target"]),
        ("Built", shown_time(document["built"])),
        ("Starts", f"{document['repeat']:,} for each function"),
    )
    return ReportPage(title=f"Cold starts of {document['service']}", facts=facts, sections=(starts_section(document),))


def starts_section(document: Mapping[str, Any]) -> PageSection:
    """Return the section about the cold starts in *document*; its last figures are the imports. Raises `MissingExtraError`."""
    functions = document["functions"]
    times: dict[str, float] = {}
    for function in functions:
        for each in _imports(function):
            times[each.owner] = times.get(each.owner, 0.0) + each.own_ms
    colours = palette(
        sorted((each for each in times if each not in dict(_PLACES.values())), key=lambda name: (-times[name], name))
    )
    colours |= dict(_PLACES.values())
    traced = [each for each in functions if each["imports"]]
    return PageSection(
        anchor="cold-starts",
        heading="Cold starts",
        paragraphs=(
            document["note"],
            (
                "In the charts of imports, time runs from left to right. Each import is below the one that started it, and as wide as its time. "
                "Imports of less than one pixel are part of the import above. A dashed outline marks a module that Python compiled, because it "
                "has no bytecode."
            ),
        ),
        figures=(*_totals(functions), *(_figure(each, colours) for each in traced)),
        tables=(_overview(functions), *(table for each in traced for table in _details(each))),
    )


def _label(function: Mapping[str, Any]) -> str:
    return f"{function['name']}, {function['variant']}" if function["variant"] else str(function["name"])


def _imports(function: Mapping[str, Any]) -> list[_Import]:
    return [
        _Import(
            module=each["name"],
            parent=each["parent"],
            own_ms=each["own_ms"],
            owner=each["distribution"] or _PLACES[each["place"]][0],
            is_compiled=each["compiled"],
        )
        for each in function["imports"]
    ]


def _totals(functions: Sequence[Mapping[str, Any]]) -> Iterator[Figure]:
    rows = [
        {
            "order": 0,
            "group": "median time until the function is ready",
            "name": _label(each),
            "value": each["total_ms"]["median"],
            "text": f"{each['total_ms']['median']:,.0f} ms",
            "colour": BAR,
        }
        for each in functions
        if each["total_ms"] is not None
    ]
    if rows:
        yield Figure(
            title="Time of each function",
            label="Bars of the median times. The table below has the numbers.",
            svg=draw("bars", rows),
        )


def _overview(functions: Sequence[Mapping[str, Any]]) -> PageTable:
    return PageTable(
        caption="Measured cold starts, by function",
        header=("function", "median", "fastest", "slowest", "compiled modules"),
        rows=tuple(
            (
                _label(each),
                *(f"{each['total_ms'][name]:,.1f} ms" for name in ("median", "least", "greatest")),
                f"{len(each['compiled']):,}",
            )
            if each["failure"] is None and each["total_ms"] is not None
            else (_label(each), f"does not start: {each['failure']}", "", "", "")
            for each in functions
        ),
    )


def _figure(function: Mapping[str, Any], colours: Mapping[str, str]) -> Figure:
    imports = _imports(function)
    whole = [each.own_ms for each in imports]
    for index in reversed(range(len(imports))):
        # An import is later in the list than the one that it is part of.
        if (parent := imports[index].parent) is not None:
            whole[parent] += whole[index]
    total = sum(time for time, each in zip(whole, imports, strict=True) if each.parent is None)
    drawn = [index for index, time in enumerate(whole) if time >= total * _NARROWEST]
    owners: dict[str, float] = {}
    for each in imports:
        owners[each.owner] = owners.get(each.owner, 0.0) + each.own_ms
    ranked = sorted(owners, key=lambda name: (-owners[name], name))
    longest = ", ".join(f"{name} {owners[name]:,.0f} ms" for name in ranked[:3])
    return Figure(
        title=f"Imports of {_label(function)}",
        label=f"Nested times of the imports of {_label(function)}, {total:,.0f} ms. The longest own times: {longest}. "
        "The tables below have the numbers.",
        svg=draw(
            "icicle",
            _areas(imports, whole, drawn, total, colours),
            height=_ROW * (1 + _depth(imports, drawn)),
            signals=[{"name": "total", "value": total or 1.0}],
        ),
        legend=tuple(
            LegendEntry(colour=colours[name], label=f"{name} {owners[name]:,.0f} ms") for name in ranked[:_NAMED]
        ),
    )


def _areas(
    imports: Sequence[_Import], whole: Sequence[float], drawn: Sequence[int], total: float, colours: Mapping[str, str]
) -> list[dict[str, object]]:
    """Return the rows of the chart: one for all imports, and one for each of *drawn*. The times of others are part of the row above."""
    own = {_ALL: total} | {index: whole[index] for index in drawn}
    for index in drawn:
        own[_above(imports[index])] -= whole[index]
    rows: list[dict[str, object]] = [{"id": _ALL, "label": f"imports, {total:,.0f} ms", "colour": "var(--panel)"}]
    for index in drawn:
        each = imports[index]
        name = each.module if each.parent is None else _shortened(each.module, imports[each.parent].module)
        time = f" {whole[index]:,.0f} ms" if whole[index] >= total * _LABELLED_TIME else ""
        rows.append(
            {
                "id": index,
                "parent": _above(each),
                "label": f"{name}{time}",
                "colour": colours[each.owner],
                "compiled": each.is_compiled,
            }
        )
    return [row | {"own": max(0.0, own[place])} for place, row in zip(own, rows, strict=True)]


def _above(each: _Import) -> int:
    return _ALL if each.parent is None else each.parent


def _depth(imports: Sequence[_Import], drawn: Sequence[int]) -> int:
    depths = {_ALL: 0}
    for index in drawn:
        depths[index] = depths[_above(imports[index])] + 1
    return max(depths.values())


def _shortened(module: str, parent: str) -> str:
    """Return *module* without the packages that it shares with *parent*, as in a relative import."""
    parts, above = module.split("."), parent.split(".")
    shared = 0
    while shared < min(len(parts) - 1, len(above)) and parts[shared] == above[shared]:
        shared += 1
    return f".{'.'.join(parts[shared:])}" if shared else module


def _details(function: Mapping[str, Any]) -> Iterator[PageTable]:
    yield PageTable(
        caption=f"Time by distribution of {_label(function)}",
        header=("distribution", "own", "with imports", "modules", "compiled modules"),
        rows=tuple(
            (
                f"{each['name']} {each['version']}" if each["name"] else _PLACES[each["place"]][0],
                f"{each['own_ms']['median']:,.1f} ms",
                f"{each['cumulative_ms']['median']:,.1f} ms",
                f"{each['modules']:,}",
                f"{each['compiled']:,}",
            )
            for each in function["distributions"]
        ),
        is_open=False,
    )
    yield PageTable(
        caption=f"Slowest modules of {_label(function)}",
        header=("module", "distribution", "own", "with imports"),
        rows=tuple(
            (
                each["name"],
                each["distribution"] or _PLACES[each["place"]][0],
                f"{each['own_ms']:,.1f} ms",
                f"{each['cumulative_ms']:,.1f} ms",
            )
            for each in function["modules"][:_MOST_MODULES]
        ),
        is_open=False,
    )
