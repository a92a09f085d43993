"""Render a study as one self-contained HTML page: total times, times by distribution, and a chart of each function's imports."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from lamina.coldstart import chart
from lamina.coldstart.attribution import shares
from lamina.coldstart.study import BANNER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lamina.coldstart.measure import Measurement
    from lamina.coldstart.owners import Owner
    from lamina.coldstart.study import Study

_LEAST_MS = 0.05

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1d2126; --faint: #5d6673; --grid: #e4e7eb; --bar: #7aa7d9; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181c; --ink: #e6e8eb; --faint: #9aa3ad; --grid: #2b3038; --bar: #44719f; }
}
body { font: 15px/1.5 ui-sans-serif, system-ui, sans-serif; background: var(--paper); color: var(--ink); max-width: 1240px;
  margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin-bottom: .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
p, .faint { color: var(--faint); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 1rem; }
th, td { text-align: right; padding: .15rem 1rem .15rem 0; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th { font-weight: 600; color: var(--faint); }
th:first-child, td:first-child { text-align: left; }
td.bar { width: 14rem; padding-right: 0; }
td.bar span { display: block; height: .7rem; background: var(--bar); border-radius: 2px; }
a { color: inherit; }
svg.icicle { width: 100%; min-width: 720px; height: auto; display: block; }
"""


def render(study: Study) -> str:
    """Return *study* as an HTML document that loads no other files."""
    drawn = [each for each in study.measurements if each.traces]
    colours = chart.palette(drawn)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><title>Cold starts</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{_STYLE}{chart.STYLE}</style></head><body>",
            "<h1>Cold starts</h1>",
            f"<p>{escape(BANNER)}</p>",
            *_overview(study),
            *(part for each in drawn for part in _function(each, colours)),
            "</body></html>",
            "",
        ]
    )


def _overview(study: Study) -> Iterator[str]:
    longest = max((each.total_ms.median for each in study.measurements if each.total_ms), default=1.0)
    yield '<div class="wide"><table><tr><th>function<th>median<th>min<th>max<th>compiled<th></tr>'
    for each in study.measurements:
        total = each.total_ms
        name = escape(each.subject.label)
        if total is None or each.failure is not None:
            yield f'<tr><td>{name}<td colspan="5" style="text-align: left">{escape(f"cannot start: {each.failure}")}</tr>'
            continue
        link = f'<a href="#{_anchor(each)}">{name}</a>' if each.traces else name
        compiled = len(each.traces[-1].compiled) if each.traces else 0
        yield (
            f"<tr><td>{link}<td>{total.median:.1f} ms<td>{total.least:.1f} ms<td>{total.greatest:.1f} ms<td>{compiled}"
            f'<td class="bar"><span style="width: {total.median / longest:.1%}"></span></tr>'
        )
    yield "</table></div>"


def _function(measurement: Measurement, colours: Mapping[Owner, str]) -> Iterator[str]:
    rows = [row for row in shares(measurement.traces, measurement.subject.owners) if row.own_ms.median >= _LEAST_MS]
    longest = max((row.own_ms.median for row in rows), default=1.0) or 1.0
    yield f'<section id="{_anchor(measurement)}"><h2>{escape(measurement.subject.label)}</h2>'
    yield f'<div class="wide">{chart.draw(measurement, colours)}</div>'
    yield '<details><summary class="faint">Time by distribution</summary><div class="wide"><table>'
    yield "<tr><th>distribution<th>own<th>with imports<th>modules<th>compiled<th></tr>"
    for row in rows:
        yield (
            f"<tr><td>{escape(f'{row.owner.label} {row.owner.version}'.strip())}<td>{row.own_ms.median:.1f} ms"
            f"<td>{row.cumulative_ms.median:.1f} ms<td>{row.modules}<td>{row.compiled}"
            f'<td class="bar"><span style="width: {row.own_ms.median / longest:.1%}"></span></tr>'
        )
    yield "</table></div></details></section>"


def _anchor(measurement: Measurement) -> str:
    # Names of functions and variants may contain characters that are not allowed in an anchor.
    return "f" + measurement.subject.label.encode().hex()
