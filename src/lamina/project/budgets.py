"""Read the budgets of a configuration: how large functions and layers may be, and how much they may grow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from lamina.project.table import Table

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = rf"([0-9]{{1,12}}(?:\.[0-9]{{1,6}})?) ?({'|'.join(_UNITS)})"
_PERCENT = r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?%"
PATTERNS = {
    **dict.fromkeys(("layer-cost", "max-unzipped", "small-function", "split-saving"), f"^{_SIZE}$"),
    "max-growth": f"^(?:{_SIZE}|{_PERCENT})$",
}
"""The regular expressions of strings, by key."""


@frozen
class Growth:
    """How much something may grow: by a number of bytes, or by a share of its size before."""

    bytes: int | None = None
    percent: float | None = None

    def limit(self, before: int) -> int:
        """Return the size in bytes that something of *before* bytes may have."""
        return before + (int(before * self.percent / 100) if self.percent is not None else self.bytes or 0)

    def __str__(self) -> str:
        return f"{self.percent:g} %" if self.percent is not None else f"{self.bytes or 0:,} bytes"


@frozen
class SizeBudget:
    """The limits that the configuration sets for sizes, unzipped."""

    max_unzipped: int | None = None
    """In bytes; ``None`` for no limit but Lambda's."""
    max_growth: Growth | None = None
    """The limit of growth since another build; ``None`` for no limit."""


NO_BUDGET = SizeBudget()


def read_budget(table: Table) -> SizeBudget:
    """Return the budget in *table*, and record mistakes."""
    return SizeBudget(max_unzipped=read_size(table, "max-unzipped"), max_growth=_growth(table, "max-growth"))


def _growth(table: Table, name: str) -> Growth | None:
    value = table.value(name)
    found = re.fullmatch(_PERCENT, value) if isinstance(value, str) else None
    if found is not None:
        return Growth(percent=float(found[1]))
    size = read_size(table, name, example='`1000000`, `"1 MB"` or `"5 %"`')
    return None if size is None else Growth(bytes=size)


def read_size(table: Table, name: str, *, example: str = '`200000000` (bytes) or `"200 MB"`') -> int | None:
    """Return the bytes at *name* of *table*, which may be a string with a unit. Record a mistake if the value is not a size."""
    value = table.integer_or_string(name)
    found = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    size = round(float(found[1]) * _UNITS[found[2]]) if found is not None else value
    if isinstance(size, str) or (size is not None and size < 0):
        table.complain(name, f"`{size}` is not a size; expected a value such as {example}")
        return None
    return size
