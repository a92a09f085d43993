"""
Draw the imports of a function as an icicle chart: time runs from left to right, and each import is below the one that started it.

The chart is a self-contained SVG image without scripts. Each rectangle has a tooltip with the module, its owner and its times.
"""

from __future__ import annotations

import colorsys
from collections import Counter
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from lamina.coldstart.trace import ModuleOrigin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lamina.coldstart.measure import Measurement
    from lamina.coldstart.owners import Owner, Owners
    from lamina.coldstart.trace import Trace

_WIDTH = 1200
_ROW = 19
_AXIS = 24
_LEGEND_ROW = 20
_LEGEND_COLUMN = 300
_LETTER = 6.3
# The golden ratio as the step keeps successive hues far apart.
_HUE_STEP = 0.618034
_HUES = 14
_NAMED = 15
_TICKS = 10

STYLE = """
.icicle { font: 11px ui-sans-serif, system-ui, sans-serif; background: var(--paper); color-scheme: light dark;
  --paper: #ffffff; --ink: #1d2126; --faint: #6a7280; --line: #ffffff; --grid: #e4e7eb; }
.icicle text { fill: var(--ink); pointer-events: none; }
.icicle .faint { fill: var(--faint); }
.icicle .grid { stroke: var(--grid); }
.icicle rect { stroke: var(--line); stroke-width: .6; }
.icicle g:hover > rect { stroke: var(--ink); stroke-width: 1.2; }
.icicle rect.fresh { stroke: #c22f2f; stroke-width: 1.2; stroke-dasharray: 3 2; }
.icicle .on { fill: #15181c; }
@media (prefers-color-scheme: dark) {
  .icicle { --paper: #15181c; --ink: #e6e8eb; --faint: #9aa3ad; --line: #15181c; --grid: #2b3038; }
}
"""


def typical(measurement: Measurement) -> Trace:
    """Return the trace in *measurement* whose total import time is the median. *measurement* must have at least one trace."""
    traces = sorted(measurement.traces, key=lambda trace: trace.outermost_ns)
    return traces[(len(traces) - 1) // 2]


def palette(measurements: Sequence[Measurement]) -> dict[Owner, str]:
    """Return a colour for each owner of modules in *measurements*. An owner has the same colour in each of their charts."""
    own: Counter[Owner] = Counter()
    for measurement in measurements:
        own.update(_own(typical(measurement), measurement.subject.owners))
    return _colours(_ranked(own))


def standalone(measurement: Measurement) -> str:
    """Return the chart of *measurement* as the content of an SVG file."""
    head, tail = draw(measurement, palette([measurement])).split(">", 1)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}><style>{STYLE}</style>{tail}\n'


def draw(measurement: Measurement, colours: Mapping[Owner, str]) -> str:
    """
    Return the chart of *measurement* as an ``svg`` element, which requires the style sheet `STYLE`.

    The chart shows the trace that `typical` returns. *colours* is the result of `palette`.
    """
    trace, owners = typical(measurement), measurement.subject.owners
    # The time axis leaves out the gaps between outermost imports.
    placed = _placed(trace)
    span = max((begin + trace.imports[index].duration_ns for index, (begin, _) in enumerate(placed)), default=1) or 1
    depth = 1 + max((level for _, level in placed), default=0)
    holders = [owners.of(each.file) for each in trace.imports]
    legend = _ranked(_own(trace, owners))[:_NAMED]
    columns = max(1, _WIDTH // _LEGEND_COLUMN)
    top = _LEGEND_ROW * -(-len(legend) // columns) + 8
    height = top + _AXIS + depth * _ROW + 6
    scale = _WIDTH / span
    attributes = (
        f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-label={quoteattr(f"Imports of {measurement.subject.label}")}'
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="icicle" {attributes}>',
        *_legend(legend, colours, columns),
        *_axis(span, top=top, bottom=height - 6),
    ]
    compiled = set(trace.compiled)
    for index, each in enumerate(trace.imports):
        begin, level = placed[index]
        is_compiled = each.file in compiled
        parts.append(
            _rectangle(
                each.module,
                x=begin * scale,
                y=top + _AXIS + level * _ROW,
                width=each.duration_ns * scale,
                fill=colours[holders[index]],
                is_compiled=is_compiled,
                words=f"{each.module} ({holders[index].label}): {each.duration_ns / 1e6:.2f} ms, "
                f"{each.self_ns / 1e6:.2f} ms without nested imports"
                + (", compiled because it has no bytecode" if is_compiled else "")
                + ("" if each.ok else ", import failed"),
            )
        )
    parts.append("</svg>")
    return "\n".join(parts)


def _placed(trace: Trace) -> list[tuple[int, int]]:
    """Return the start in nanoseconds and the nesting depth of each import. Gaps between outermost imports are removed."""
    found: list[tuple[int, int]] = []
    shifts: list[int] = []
    end = 0
    for each in trace.imports:
        if each.parent is None:
            shifts.append(each.begin_ns - end)
            found.append((end, 0))
            end += each.duration_ns
        else:
            shifts.append(shifts[each.parent])
            found.append((each.begin_ns - shifts[each.parent], found[each.parent][1] + 1))
    return found


def _own(trace: Trace, owners: Owners) -> Counter[Owner]:
    own: Counter[Owner] = Counter()
    for each in trace.imports:
        own[owners.of(each.file)] += each.self_ns
    return own


def _ranked(own: Mapping[Owner, int]) -> list[Owner]:
    return sorted(own, key=lambda owner: (-own[owner], owner))


def _colours(ranked: Sequence[Owner]) -> dict[Owner, str]:
    """
    Return a colour for each owner in *ranked*, which is in descending order of time.

    Distributions receive hues in this order, so that the slowest ones differ most. All other owners have fixed colours.
    """
    greys = {ModuleOrigin.STANDARD_LIBRARY: "#b4bac2", ModuleOrigin.RUNTIME: "#8f98a3", ModuleOrigin.PACKAGE: "#f2d16b"}
    found: dict[Owner, str] = {}
    number = 0
    for owner in ranked:
        if owner.place in greys:
            found[owner] = greys[owner.place]
            continue
        hue = (0.58 + number * _HUE_STEP) % 1
        lightness = 0.68 if number // _HUES % 2 == 0 else 0.8
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.62)
        found[owner] = f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
        number += 1
    return found


def _legend(owners: Sequence[Owner], colours: Mapping[Owner, str], columns: int) -> list[str]:
    parts = []
    for index, owner in enumerate(owners):
        x, y = index % columns * _LEGEND_COLUMN, index // columns * _LEGEND_ROW
        name = escape(f"{owner.label} {owner.version}".strip())
        parts.append(
            f'<circle cx="{x + 7}" cy="{y + 10}" r="5.5" fill="{colours[owner]}"/><text x="{x + 18}" y="{y + 14}">{name}</text>'
        )
    return parts


def _axis(span_ns: int, *, top: int, bottom: int) -> list[str]:
    parts = []
    step = _step(span_ns / 1e6)
    at = 0.0
    while at <= span_ns / 1e6:
        x = at * 1e6 / span_ns * _WIDTH
        anchor = "start" if at == 0 else "end" if x > _WIDTH - 24 else "middle"
        parts.append(
            f'<line class="grid" x1="{x:.1f}" y1="{top + 16}" x2="{x:.1f}" y2="{bottom}"/>'
            f'<text class="faint" x="{x:.1f}" y="{top + 12}" text-anchor="{anchor}">{at:g} ms</text>'
        )
        at += step
    return parts


def _step(span_ms: float) -> float:
    step = 0.001
    while span_ms / step > _TICKS:
        step *= 2 if f"{step:.0e}"[0] != "2" else 2.5
    return step


def _rectangle(name: str, *, x: float, y: int, width: float, fill: str, is_compiled: bool, words: str) -> str:
    letters = int((width - 6) / _LETTER)
    label = ""
    if letters >= 3:
        shown = _shortened(name, letters)
        label = f'<text class="on" x="{x + 4:.2f}" y="{y + 13}">{escape(shown)}</text>'
    marked = ' class="fresh"' if is_compiled else ""
    return (
        f'<g><title>{escape(words)}</title><rect x="{x:.2f}" y="{y}" width="{max(width, 0.3):.2f}" height="{_ROW - 1}" '
        f'rx="1.5" fill="{fill}"{marked}/>{label}</g>'
    )


def _shortened(name: str, letters: int) -> str:
    """
    Shorten a module's *name* to at most *letters* characters.

    Its leading packages are removed first, because neighbours in the chart often share them. A name that is still too long ends with ``…``.
    """
    while len(name) > letters and "." in name:
        name = name.partition(".")[2]
    return name if len(name) <= letters else f"{name[: letters - 1]}…"
