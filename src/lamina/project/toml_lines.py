"""
Add and remove tables and keys in the lines of a TOML document. Every other line stays as it is, with its line end.

tomlkit counts the comments above a header to the table before it, so a table that it adds or removes would move or remove comments of
another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.core import toml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_Place = tuple[str, ...]


class TomlLines:
    """The lines of a TOML document, to change. Values are texts in TOML."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._headers = _headers(self._lines)
        """The place of each table by the number of the line of its header."""

    @property
    def text(self) -> str:
        """The document."""
        return "\n".join(self._lines)

    def has(self, place: _Place) -> bool:
        """Return whether the table at *place*, or one in it, has a header."""
        return bool(self._below(place))

    def insert(self, place: _Place, key: str, value: str) -> None:
        """
        Insert *key* after the last key of the table at *place*, before comments of what follows.

        If the table has no header, the key is dotted and after the keys of the closest table around it that has one.
        """
        headers = {found: number for number, found in self._headers.items()}
        above: _Place = next(
            (each for each in (place[:end] for end in range(len(place), 0, -1)) if each in headers), ()
        )
        start = headers.get(above, -1)
        end = self._end(start)
        name = ".".join(map(toml.key, (*place[len(above) :], key)))
        self._splice(end, end, self._written(start, end, [f"{name} = {value}"]))

    def add_table(self, place: _Place, values: Mapping[str, str]) -> None:
        """Add the table at *place* with *values* after the last one that is closest to it, with an empty line around it."""
        headers = self._headers
        start = max(headers, key=lambda number: (_shared(headers[number], place), number), default=-1)
        at = end = self._end(start)
        while end < len(self._lines) and _is_comment(self._lines[end]):
            end += 1
        if end == len(self._lines) or not self._lines[end].strip():
            # The comments belong to the table before, because an empty line follows.
            at = end
        rows = [f"[{'.'.join(map(toml.key, place))}]", *(f"{toml.key(key)} = {value}" for key, value in values.items())]
        before = [""] if at and self._lines[at - 1].strip() else []
        after = [""] if at < len(self._lines) and self._lines[at].strip() else []
        self._splice(at, at, [*before, *self._written(start, start + 1, rows), *after])
        self._headers[at + len(before)] = place

    def remove_table(self, place: _Place) -> None:
        """Remove the table at *place* and those in it, from the comment above the header to the last key."""
        for start in reversed(self._below(place)):
            above, end = start, self._end(start)
            while above and _is_comment(self._lines[above - 1]):
                above -= 1
            self._splice(above, end, [])
            # One of the empty lines around it goes, too.
            if not "".join(self._lines[max(0, above - 1) : above + 1]).strip() and len(self._lines) > 1:
                self._splice(max(0, above - 1), max(1, above), [])

    def _below(self, place: _Place) -> list[int]:
        return sorted(number for number, found in self._headers.items() if found[: len(place)] == place)

    def _end(self, start: int) -> int:
        """Return the number of the line after the last key of the table with the header in line *start*; -1 is the root."""
        end = min((number for number in self._headers if number > start), default=len(self._lines))
        while end > start + 1 and (not self._lines[end - 1].strip() or _is_comment(self._lines[end - 1])):
            end -= 1
        return end

    def _written(self, start: int, end: int, rows: Sequence[str]) -> list[str]:
        """Return the lines of *rows*, indented like the first key in the lines from *start* to *end*, or else like the header."""
        lines = [line for line in self._lines[max(0, start) : end] if line.strip() and not _is_comment(line)]
        model = lines[min(1, len(lines) - 1)] if lines else ""
        indent = model[: len(model) - len(model.lstrip())]
        return [f"{indent}{line}" for row in rows for line in row.split("\n")]

    def _splice(self, start: int, end: int, new: Sequence[str]) -> None:
        """Replace the lines from *start* to *end* by *new*, which end like the line before them."""
        mark = "\r" if self._lines[max(0, min(start, len(self._lines) - 1) - 1)].endswith("\r") else ""
        if new and start == len(self._lines):
            # The last line of the file has no line end.
            self._lines[-1] += mark
            self._lines.append("")
        self._lines[start:end] = [f"{line}{mark}" for line in new]
        more = len(new) - (end - start)
        self._headers = {
            number if number < start else number + more: place
            for number, place in self._headers.items()
            if not start <= number < end
        }


def _headers(lines: Sequence[str]) -> dict[int, _Place]:
    """Return the place of each table by the number of the line of its header. Lines in strings and lists are none."""
    found: dict[int, _Place] = {}
    start = 0
    for number, line in enumerate(lines):
        place = _place(line)
        if place is not None and _parsed(lines[start:number]) is not None:
            found[number] = place
            start = number
    return found


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _shared(first: _Place, second: _Place) -> int:
    """Return how many names *first* and *second* start with in common."""
    return next(
        (number for number, pair in enumerate(zip(first, second, strict=False)) if len({*pair}) > 1),
        min(len(first), len(second)),
    )


def _parsed(lines: Sequence[str]) -> dict[str, Any] | None:
    try:
        return toml.parse("".join(f"{line}\n" for line in lines))
    except ValueError:
        return None


def _place(line: str) -> _Place | None:
    """Return the names of the table of which *line* is the header, or ``None`` if it cannot be one."""
    table: Any = _parsed([line]) if line.lstrip().startswith("[") else None
    if table is None:
        return None
    names: list[str] = []
    while isinstance(table, dict) and table:
        ((name, table),) = table.items()
        names.append(name)
    return tuple(names)
