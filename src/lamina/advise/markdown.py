"""The comparison and the recommendation as Markdown, for a comment on a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.advise.text import notes, recommendation, tables, title
from lamina.audit.formats.markdown import cells
from lamina.core.text import visible

if TYPE_CHECKING:
    from lamina.advise.advice import PackagingAdvice

HEADING = "## lamina advise"
"""The first line, by which a bot finds the comment to replace."""


def render(advice: PackagingAdvice) -> str:
    """Return a heading, the recommendation, the tables and the notes."""
    first, *reasons = recommendation(advice)
    lines = [HEADING, "", _text(f"{title(advice)}; {first}"), "", *(f"- {_text(each.strip())}" for each in reasons)]
    for table in tables(advice):
        lines += ["", f"### {table.heading[0].upper()}{table.heading[1:]}", "", cells(*table.header)]
        lines.append(f"| --- |{' ---: |' * (len(table.header) - 1)}")
        lines += [cells(*row) for row in table.rows]
    lines += ["", *(f"- {_text(note)}" for note in notes(advice))]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """Return *text* as one line, escaped as in a table."""
    return cells(visible(text, keep="")).removeprefix("| ").removesuffix(" |")
