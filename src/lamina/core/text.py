"""Format sizes, counts and tables for people, and escape what would control their terminal."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # a build with nothing to do does not import `typing`
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_MARGIN = 2
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_COMMAND = "##["
_NARROWEST = 16
"""The width below which the first column of a table is not wrapped any further."""


def visible(text: str, *, keep: str = "\n\t") -> str:
    """
    Return *text* with an escape sequence for each character that is not printable and not in *keep*, such as ESC.

    Those are control characters, which move the cursor or run commands of the terminal, marks that change the direction of
    text, and the surrogates of file names that are not UTF-8. A line that starts with ``::`` is a command to GitHub Actions
    (`workflow commands`), even after blanks, and so is ``##[`` anywhere in a line
    (https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs, 2026-11). Their first character is escaped, too.
    """
    if not text.isprintable():
        text = "".join(
            each if each.isprintable() or each in keep else each.encode("unicode_escape").decode("ascii")
            for each in text
        )
    text = text.replace(_COMMAND, "\\x23#[")
    if "::" not in text:
        return text
    import re

    return re.sub(r"(?m)^(\s*):(?=:)", r"\1\\x3a", text)


def json_text(content: object) -> str:
    """Return *content* as JSON in ASCII that `visible` leaves as it is."""
    import json

    # `visible` would escape these characters, which JSON permits, in a way that JSON does not.
    return json.dumps(content, indent=2).replace("\x7f", "\\u007f").replace(_COMMAND, "\\u0023#[")


def own_lines(message: str) -> str:
    """
    Return *message* with each line break as an escape that is not lamina's own, such as one in a name that the message quotes.

    In messages, lamina indents the lines after its own breaks by two spaces.
    """
    if "\n" not in message:
        return message
    first, *more = message.split("\n")
    return first + "".join(f"\n{line}" if not line or line.startswith("  ") else f"\\n{line}" for line in more)


def decoded(content: bytes) -> str:
    """Return the text *content*, which is UTF-8 with or without a byte order mark. Raises UnicodeDecodeError: see `undecodable`."""
    return content.decode("utf-8-sig")


def undecodable(error: UnicodeDecodeError) -> str:
    """Return why a file cannot be decoded, and how to correct it, without its content."""
    if error.object[:2] in _UTF16_MARKS and error.encoding.startswith("utf-8"):
        return "is UTF-16: save it as UTF-8"
    return f"is not valid {error.encoding.upper()} at byte {error.start:,}: save it as UTF-8"


def megabytes(size: int) -> str:
    """Format *size* in bytes as kB with one decimal below 1,000,000 bytes, and as MB with two decimals otherwise."""
    return f"{size / 1e6:,.2f} MB" if size >= 1_000_000 else f"{size / 1e3:,.1f} kB"


def sized(size: int) -> str:
    """Format *size* in bytes as `megabytes` does, and from 1,000 MB on as GB."""
    return f"{size / 1e9:,.2f} GB" if size >= 1_000_000_000 else megabytes(size)


def count(number: int, noun: str) -> str:
    """Return *number* and *noun*, with a plural *s* unless *number* is 1."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def table(
    header: tuple[str, ...],
    rows: Iterable[tuple[str, ...]],
    *,
    width: int | None = None,
    droppable: Iterable[int] = (),
) -> Iterator[str]:
    """
    Yield the lines of a table with *header* and *rows*; none if there are no rows. The first column is left-aligned, others right-aligned.

    If the table is wider than *width* characters, the columns with the indexes *droppable* are left out, in that order, until it
    fits. If that is not enough, the first column is wrapped.
    """
    every = [header, *rows]
    if len(every) == 1:
        return
    widths = [max(len(row[column]) for row in every) for column in range(len(header))]
    shown = list(range(1, len(header)))
    first = widths[0]
    if width is not None:
        for column in droppable:
            if first + _width(widths, shown) > width:
                shown.remove(column)
        first = min(first, max(_NARROWEST, width - _width(widths, shown)))
    for row in every:
        start, *continued = _wrapped(row[0], first)
        cells = (row[column].rjust(widths[column]) for column in shown)
        yield f"  {'  '.join((start.ljust(first), *cells))}".rstrip()
        yield from (f"  {line}" for line in continued)


def _width(widths: Sequence[int], shown: Iterable[int]) -> int:
    """Return the width of a table's margin and of the columns *shown*, each with the space before it."""
    return _MARGIN + sum(_MARGIN + widths[column] for column in shown)


def _wrapped(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    import textwrap

    return textwrap.wrap(text, width, subsequent_indent="  ")


def from_here(path: str | os.PathLike[str]) -> str:
    """Return *path* relative to the working directory, for messages and commands; absolute if it is on another drive of Windows."""
    try:
        return os.path.relpath(path)
    except ValueError:
        return os.path.abspath(path)
