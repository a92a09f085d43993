"""The changes as Markdown, for a comment on a pull request."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from lamina.audit.diff.text import (
    grouped,
    imports,
    outcome,
    signed,
    sizes,
    summary,
    title,
    vulnerability_lines,
)
from lamina.audit.formats.markdown import cells
from lamina.core.text import count, megabytes, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lamina.audit.diff.values import ArchiveChanges, SideChanges

HEADING = "## lamina diff"
"""The first line, by which a bot finds the comment to replace."""
# GitHub rejects comments of more than 65,536 characters.
_MOST_CHARACTERS = 60_000


def render(changes: SideChanges) -> str:
    """
    Return a heading, the summary, a table of what would be published, and the distributions of each layer that differ.

    Zips whose provenance is not verified are listed, too. Shorten a long report.
    """
    lines = [HEADING, "", _text(f"{summary(changes)} (from `{changes.before.name}` to `{changes.after.name}`)")]
    groups = [same for same in grouped(changes.archives) if same[0].reason is not None or changes.problems_of(same[0])]
    if groups:
        lines += ["", cells("", "zipped", "unzipped", "why"), "| --- | ---: | ---: | --- |", *map(_row, groups)]
    for same in groups:
        lines += _details(same, changes)
    lines += _list(
        f"cold start of `{each.function}`: {each.before_ms:.1f} ms → {each.after_ms:.1f} ms"
        for each in changes.starts or ()
    )
    if changes.vulnerabilities is not None:
        lines += _list(vulnerability_lines("new", changes.vulnerabilities.new))
        lines += _list(vulnerability_lines("gone", changes.vulnerabilities.gone))
    ends = accumulate(len(line) + 1 for line in lines)
    shown = lines[: sum(end <= _MOST_CHARACTERS for end in ends)]
    if len(shown) < len(lines):
        shown += ["", f"and {count(len(lines) - len(shown), 'more line')}"]
    return "\n".join(shown) + "\n"


def _row(same: Sequence[ArchiveChanges]) -> str:
    found = {name: f"{megabytes(new)} ({signed(new - old)})" for name, old, new in sizes(same[0])}
    return cells(title(same), found.get("zipped", ""), found.get("unzipped", ""), outcome(same[0]))


def _details(same: Sequence[ArchiveChanges], changes: SideChanges) -> Iterator[str]:
    change = same[0]
    notes = list(imports(change))
    if change.files:
        notes.insert(0, f"files: {change.files.counts}")
    notes += changes.problems_of(change)
    if not (change.distributions or notes):
        return
    yield from ("", _text(f"### {title(same)}"))
    if change.distributions:
        yield from ("", cells("distribution", "size"), "| --- | ---: |")
        for each in change.distributions:
            yield cells(each.words, "" if each.growth is None else signed(each.growth))
    yield from _list(notes)


def _list(lines: Iterable[str]) -> list[str]:
    found = [f"- {_text(line)}" for line in lines]
    return ["", *found] if found else []


def _text(text: str) -> str:
    """Return *text* as one line, escaped as in a table."""
    return cells(visible(text, keep="")).removeprefix("| ").removesuffix(" |")
