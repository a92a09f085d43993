"""Format sizes, counts and tables for people."""

from __future__ import annotations

TYPE_CHECKING = False  # a build with nothing to do does not import `typing`
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def megabytes(size: int) -> str:
    """Format *size* in bytes as kB with one decimal below 1,000,000 bytes, and as MB with two decimals otherwise."""
    return f"{size / 1e6:,.2f} MB" if size >= 1_000_000 else f"{size / 1e3:,.1f} kB"


def count(number: int, noun: str) -> str:
    """Return *number* and *noun*, with a plural *s* unless *number* is 1."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a table with *header* and *rows*. The first column is left-aligned, other columns right-aligned."""
    every = [header, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(header))]
    for row in every:
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        yield f"  {'  '.join(cells)}".rstrip()
