"""Sizes, counts and tables are formatted for people."""

from __future__ import annotations

import pytest

from lamina.core.text import count, megabytes, table


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0.0 kB"),
        (999_949, "999.9 kB"),
        (1_000_000, "1.00 MB"),
        (262_144_000, "262.14 MB"),
        (4_321_000_000, "4,321.00 MB"),
    ],
)
def test_megabytes(size: int, words: str) -> None:
    """Sizes use powers of ten, like AWS and pip."""
    assert words == megabytes(size)


@pytest.mark.parametrize(("number", "words"), [(0, "0 wheels"), (1, "1 wheel"), (2, "2 wheels")])
def test_count(number: int, words: str) -> None:
    """Only the number 1 has a singular noun."""
    assert words == count(number, "wheel")


def test_table() -> None:
    """The first column is left-aligned, other columns are right-aligned, and no line ends with spaces."""
    rows = [("numpy 2.1.0", "1.00 MB", ""), ("six", "9.0 kB", "0.5 kB")]

    assert [
        "                zipped  bytecode",
        "  numpy 2.1.0  1.00 MB",
        "  six           9.0 kB    0.5 kB",
    ] == list(table(("", "zipped", "bytecode"), rows))


_HEADER = ("", "zipped", "unzipped", "bytecode")
_ROWS = [("a-long-name-of-a-distribution 1.0", "1.00 MB", "2.00 MB", ""), ("six", "9.0 kB", "9.0 kB", "0.5 kB")]


@pytest.mark.parametrize("width", [60, 200, None])
def test_a_table_that_fits(width: int | None) -> None:
    """A table that is not too wide stays as it is."""
    narrow = [row[:2] for row in _ROWS]

    assert list(table(_HEADER[:2], narrow)) == list(table(_HEADER[:2], narrow, width=width, droppable=(1,)))


@pytest.mark.parametrize(
    ("width", "droppable", "lines"),
    [
        (
            55,
            (2, 1),
            [
                "                                      zipped  bytecode",
                "  a-long-name-of-a-distribution 1.0  1.00 MB",
                "  six                                 9.0 kB    0.5 kB",
            ],
        ),
        (
            52,
            (),
            [
                "                          zipped  unzipped  bytecode",
                "  a-long-name-of-a-      1.00 MB   2.00 MB",
                "    distribution 1.0",
                "  six                     9.0 kB    9.0 kB    0.5 kB",
            ],
        ),
    ],
)
def test_a_table_that_is_too_wide(width: int, droppable: tuple[int, ...], lines: list[str]) -> None:
    """A table leaves out the columns that it may, and then wraps its first column."""
    made = list(table(_HEADER, _ROWS, width=width, droppable=droppable))

    assert lines == made
    assert max(map(len, made)) <= width


def test_a_table_without_rows() -> None:
    """A header without rows is not shown."""
    assert [] == list(table(_HEADER, []))
