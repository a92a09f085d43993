"""The report as Markdown, for a comment on a pull request."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from lamina.audit.formats.text import summary
from lamina.core.text import visible

if TYPE_CHECKING:
    from lamina.audit.report import Report, ReportedFinding

HEADING = "## lamina check"
"""The first line, by which a bot finds the comment to replace."""
# GitHub rejects comments of more than 65,536 characters.
_MOST_CHARACTERS = 60_000


def render(report: Report) -> str:
    """Return a heading, the summary, and a table of the findings, errors first. The duration is left out, so that equal results are equal."""
    head = [HEADING, "", summary(report).rpartition(" (")[0]]
    rows = [_line(row) for row in report.rows]
    rows += [_cells("error", "", report.directory(each.project), str(each.error)) for each in report.failures]
    shown, size = 0, 0
    while shown < len(rows) and (size := size + len(rows[shown]) + 1) <= _MOST_CHARACTERS:
        shown += 1
    if rows:
        head += ["", "| severity | rule | place | finding |", "| --- | --- | --- | --- |", *rows[:shown]]
    if shown < len(rows):
        head += ["", f"and {len(rows) - shown:,} more"]
    return "\n".join(head) + "\n"


def _line(row: ReportedFinding) -> str:
    finding = row.finding
    return _cells(finding.severity.value, f"`{finding.rule}`", f"`{row.place}`", finding.message)


def _cells(*cells: str) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(cell: str) -> str:
    """Return *cell* without line breaks, and with HTML escaped outside of code, in which it is shown as it is."""
    parts = visible(cell.replace("\n", " ")).replace("|", "\\|").split("`")
    if len(parts) % 2 == 0:
        return html.escape(" ".join(parts), quote=False)
    return "`".join(part if number % 2 else html.escape(part, quote=False) for number, part in enumerate(parts))
