"""What a page consists of: sections with paragraphs, charts and tables. All text is plain; the template escapes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from markupsafe import Markup


@frozen
class Gauge:
    """A cell that shows *value* of *most*, of the same unit, as a meter with *text*."""

    value: float
    most: float
    text: str
    label: str
    """What the meter shows, for those who do not see it."""


@frozen
class WebLink:
    """A cell that leads to a page on the web. An address that is not of HTTPS is left out."""

    text: str
    url: str


Cell: TypeAlias = str | Gauge | WebLink


@frozen
class PageTable:
    """A table; the first cell of each row is its header."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    is_open: bool = True
    """Whether the table is shown at once, or by its caption. When the page is printed, all are."""
    is_prose: bool = False
    """Whether its cells are texts and not numbers."""
    is_matrix: bool = False
    """Whether it has many narrow columns, whose headers are written upwards."""


@frozen
class LegendEntry:
    """The meaning of a colour."""

    colour: str
    """The CSS value of the colour."""
    label: str


@frozen
class Figure:
    """A chart. Its numbers are also in a table of the same section."""

    title: str
    label: str
    """What the chart shows, for those who do not see it."""
    svg: Markup
    legend: tuple[LegendEntry, ...] = ()


@frozen
class PageSection:
    """A part of the page with a heading."""

    anchor: str
    heading: str
    paragraphs: tuple[str, ...] = ()
    """Text between backticks is code."""
    notes: tuple[str, ...] = ()
    """What the numbers are based on, after the tables, as a list."""
    figures: tuple[Figure, ...] = ()
    tables: tuple[PageTable, ...] = ()


@frozen
class ReportPage:
    """A whole page."""

    title: str
    facts: tuple[tuple[str, str], ...]
    """What the page is about, such as the service and the target: names and values."""
    sections: tuple[PageSection, ...]


def shown_time(time: str | None) -> str:
    """Return *time*, in UTC and ISO 8601, for people; ``unknown`` without one."""
    return "unknown" if time is None else f"{time.replace('T', ' ').removesuffix('+00:00')} UTC"
