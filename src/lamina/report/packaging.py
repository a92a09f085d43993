"""Show which functions need which distributions, and what deploys send with each packaging."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.advise.text import notes, recommendation, seconds, sizes, tables
from lamina.core.text import count, sized
from lamina.report.charts import draw
from lamina.report.colours import BAR, MARKED_BAR
from lamina.report.values import Figure, LegendEntry, PageSection, PageTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.advise.advice import PackagingAdvice
    from lamina.advise.text import TextTable

_DEPLOYS = (
    ("first deploy", "first"),
    ("edited handler", "edit"),
    ("update of distributions, median", "bump"),
    ("largest update", "worst_bump"),
)
_NEEDED = "✓"


def needs_section(advice: PackagingAdvice) -> PageSection:
    """Return the matrix of functions and distributions. Functions with the same needs share a column."""
    columns: dict[frozenset[str], list[str]] = {}
    for need in advice.needs.functions:
        columns.setdefault(need.distributions, []).append(need.function)
    rows = sorted(advice.needs.distributions, key=lambda each: (-each.unzipped_bytes, each.name))
    unneeded = advice.needs.unneeded
    paragraphs = [
        (
            "A function needs a distribution if its handler can import it, directly or through other modules, or if such a distribution "
            "requires it. The option `--why` of `lamina advise` shows the way."
        )
    ]
    if unneeded:
        total = sum(each.unzipped_bytes for each in unneeded)
        paragraphs.append(f"No function is known to need {count(len(unneeded), 'distribution')} ({sized(total)}).")
    return PageSection(
        anchor="needs",
        heading="What each function needs",
        paragraphs=tuple(paragraphs),
        tables=(
            PageTable(
                caption="Functions and the distributions that they need",
                header=("distribution", *(", ".join(names) for names in columns.values())),
                rows=tuple(
                    (
                        f"{each.name} {each.version}, {sized(each.unzipped_bytes)}",
                        *(_mark(each.name, need) for need in columns),
                    )
                    for each in rows
                ),
                is_matrix=True,
            ),
        ),
    )


def _mark(name: str, needed: frozenset[str]) -> str:
    return _NEEDED if name in needed else ""


def packaging_section(advice: PackagingAdvice) -> PageSection:
    """Return the comparison of packagings and the recommendation. Raises `MissingExtraError`."""
    compared = [*tables(advice), seconds(advice), sizes(advice)]
    return PageSection(
        anchor="packaging",
        heading="Ways to package the service",
        paragraphs=tuple(_sentence(line) for line in recommendation(advice)),
        notes=(f"target: {advice.target}", *notes(advice)),
        figures=(
            Figure(
                title="What a deploy to one environment sends",
                label="Bars of the bytes that each kind of deploy sends with each packaging. The table below has the numbers.",
                svg=draw("bars", [*_bars(advice)]),
                legend=(
                    LegendEntry(colour=MARKED_BAR, label="as configured"),
                    LegendEntry(colour=BAR, label="other packagings"),
                ),
            ),
        ),
        tables=tuple(_table(each) for each in compared),
    )


def _sentence(line: str) -> str:
    """Return *line* of the recommendation without its indentation, starting with a capital."""
    text = line.strip()
    return f"{text[:1].upper()}{text[1:]}"


def _bars(advice: PackagingAdvice) -> Iterator[dict[str, object]]:
    for order, (deploy, name) in enumerate(_DEPLOYS):
        for each in advice.rows:
            if each.costs is not None:
                sent = getattr(each.costs, name).sent
                yield {
                    "order": order,
                    "group": deploy,
                    "name": each.title,
                    "value": sent,
                    "text": sized(sent),
                    "colour": MARKED_BAR if each.is_configured else BAR,
                }


def _table(each: TextTable) -> PageTable:
    return PageTable(
        caption=f"{each.heading[0].upper()}{each.heading[1:]}",
        header=(
            "function" if each.header[1:2] and each.heading.startswith("unzipped") else "packaging",
            *each.header[1:],
        ),
        rows=each.rows,
        is_open=not each.heading.startswith("unzipped"),
    )
