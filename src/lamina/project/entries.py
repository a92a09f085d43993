"""Read configuration keys whose values are paths and globs in the project."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lamina.project.table import did_you_mean, outside

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.project.table import Table

_UPWARD = re.compile(r"\A(?:\.\./)+")
_WILDCARDS = frozenset("*?[")


def read_include(table: Table) -> tuple[str, ...]:
    """
    Return the entries at the key ``include``, and record a mistake for each invalid one.

    An entry can start with ``../``, because local packages can be outside the project.
    """
    entries = table.strings("include") or ()
    return tuple(entry for entry in entries if _is_inside(table, "include", _UPWARD.sub("", entry)))


def read_source(table: Table, project: Path) -> tuple[str, ...] | None:
    """
    Return the entries at the key ``source``, or ``None`` if the key is missing or invalid.

    Record a mistake for each entry that is outside *project* or matches nothing.
    """
    entries = table.strings("source")
    for entry in entries or ():
        if not _is_inside(table, "source", entry):
            continue
        plain = _WILDCARDS.isdisjoint(entry)
        if not ((project / entry).exists() if plain else any(True for _ in project.glob(entry))):
            known = [path.name for path in project.iterdir() if path.is_dir()]
            table.complain("source", f"no file or directory matches `{entry}`{did_you_mean(entry, known)}")
    return entries


def _is_inside(table: Table, name: str, entry: str) -> bool:
    fact = outside(entry)
    if fact is not None:
        table.complain(name, fact)
    return fact is None
