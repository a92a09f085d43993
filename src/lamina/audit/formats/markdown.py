"""The report as Markdown, for a comment on a pull request."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from lamina.audit.formats.text import summary
from lamina.core.text import visible

if TYPE_CHECKING:
    from lamina.audit.report import Report, ReportedFinding

# As many backticks end code as start it (https://spec.commonmark.org/0.31.2/#code-spans, 2026-11).
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
# What starts something in Markdown or HTML, and what GitHub and GitLab turn into a link even if Markdown escapes it: mentions, references to
# issues and bare addresses (https://github.github.com/gfm/#autolinks-extension-,
# https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls, 2026-11).
_MARKS = re.compile(
    r"(?P<entity>\\(?=[!-/:-@\[-`{-~]|\Z)|[&<>])"
    r"|(?P<escaped>[|\[\]*_~])"
    r"|(?P<linked>[@#!](?=\w)|:(?=//)|\bwww(?=\.)|\bGH-(?=\d))",
    re.IGNORECASE,
)
# GitHub rejects comments of more than 65,536 characters.
_MOST_CHARACTERS = 60_000


def render(report: Report) -> str:
    """Return a heading, the summary, and a table of the findings, errors first. The duration is left out, so that equal results are equal."""
    # A bot finds the comment to replace by its first line.
    head = [f"## lamina {report.command}", "", summary(report).rpartition(" (")[0]]
    rows = [_line(row) for row in report.rows]
    rows += [_line(row) for row in report.accepted]
    rows += [cells("error", "", report.directory(each.project), str(each.error)) for each in report.failures]
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
    severity = finding.severity.value if row.entry is None else "accepted"
    return cells(severity, f"`{finding.rule}`", f"`{row.place}`", row.message)


def cells(*texts: str) -> str:
    """Return a row of a table, with *texts* escaped."""
    return f"| {' | '.join(map(_escaped, texts))} |"


def _escaped(cell: str) -> str:
    """Return *cell* without line breaks, and with everything but code escaped; code is shown as it is."""
    text = visible(cell[:_MOST_CHARACTERS].replace("\n", " "))
    result, end = [], 0
    for code in _CODE.finditer(text):
        result += [_escaped_text(text[end : code.start()]), _escaped_code(code)]
        end = code.end()
    return "".join((*result, _escaped_text(text[end:])))


def _escaped_text(text: str) -> str:
    """Return *text*, which may be of anyone, so that it is shown as it is, without links, images, mentions and formats."""
    return _MARKS.sub(_escaped_mark, text)


def _escaped_mark(found: re.Match[str]) -> str:
    mark = found[0]
    if found["escaped"]:
        return f"\\{mark}"
    # A backslash before a backtick would end what `_CODE` took for code. A space without width breaks what would become a link.
    return f"{mark}&#8203;" if found["linked"] else "&#92;" if mark == "\\" else html.escape(mark)


def _escaped_code(code: re.Match[str]) -> str:
    if "\\|" in code[2]:
        # There is no escape for both in code: a cell would end here.
        return f"<code>{html.escape(code[2]).replace('|', '&#124;').replace('`', '&#96;')}</code>"
    return code[0].replace("|", "\\|")
