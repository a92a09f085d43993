"""
Read the facts about AWS that a project can replace by newer ones, and cache what is derived from them.

The facts are rows of tables in `FILES`. The newer rows of a process come from one file, which `lamina.project.newer_facts` reads and
checks. They apply to every function with the decorator `fact`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Row = Mapping[str, Any]

_Parameters = ParamSpec("_Parameters")
_Value = TypeVar("_Value")

FILES = ("runtimes.toml", "quotas.toml", "functions.toml", "aws.toml")
"""The data files whose rows a project can replace. No two of them have a table of the same name."""
_NAMES = {"interpreter": ("runtime",), "operation": ("service", "name"), "kernel": (), "stack": ()}
_LIST = {"preinstalled": "runtimes"}

_caches: list[Callable[[], None]] = []
_newer: dict[str, list[Row]] = {}


def fact(function: Callable[_Parameters, _Value]) -> Callable[_Parameters, _Value]:
    """Cache the results of *function*, which depend on facts, until the process uses other facts."""
    cached = cache(function)
    _caches.append(cached.cache_clear)
    return cast("Callable[_Parameters, _Value]", cached)


def replace_facts(newer: Mapping[str, Sequence[Row]]) -> None:
    """Use the rows *newer*, by the name of their table, in place of older ones, instead of those of an earlier call."""
    _newer.clear()
    _newer.update({table: list(rows) for table, rows in newer.items()})
    for clear in _caches:
        clear()


def read_facts(name: str) -> dict[str, Any]:
    """Return the content of the data file *name*, with the newer rows that the process uses."""
    return {
        table: merged(table, rows, _newer.get(table, ())) if isinstance(rows, list) else rows
        for table, rows in read_data(name).items()
    }


def identity(table: str, row: Row) -> tuple[str, ...]:
    """Return what identifies *row* in its *table*, such as its name. Two rows with the same identity state the same fact."""
    return tuple(str(row.get(key)) for key in _NAMES.get(table, ("name",)))


def merged(table: str, own: Sequence[Row], newer: Sequence[Row]) -> list[Row]:
    """
    Return the rows *own* of *table*, each replaced by the row in *newer* of the same identity, and the other rows of *newer*.

    A row in *newer* that was read before the own one is left out. A row that lists runtimes replaces others only for these.
    """
    rows = list(own)
    for row in newer:
        if (key := _LIST.get(table)) is not None:
            rows = [
                _without(each, row, key) if identity(table, each) == identity(table, row) else each for each in rows
            ]
            rows = [each for each in rows if each[key]]
            taken = {name for each in rows if identity(table, each) == identity(table, row) for name in each[key]}
            left = [name for name in row[key] if name not in taken]
            rows += [{**row, key: left}] if left else []
        elif not any(is_older(row, each) for each in rows if identity(table, each) == identity(table, row)):
            position = next(
                (i for i, each in enumerate(rows) if identity(table, each) == identity(table, row)), len(rows)
            )
            rows[position : position + 1] = [row]
    return rows


def is_older(row: Row, own: Row) -> bool:
    """Return whether *row* was read before the row *own* of lamina."""
    return bool(row["read"] < own["read"])


def _without(own: Row, row: Row, key: str) -> Row:
    return own if is_older(row, own) else {**own, key: [name for name in own[key] if name not in row[key]]}
