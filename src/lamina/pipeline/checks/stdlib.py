"""Which names the standard library of a target has. The facts are in ``data/stdlib.toml``; this is its only reader."""

from __future__ import annotations

from functools import cache

from lamina.core.toml import read_data

__all__ = ["is_standard"]


def is_standard(module: str, python: tuple[int, int]) -> bool:
    """Return whether a file of the standard library of the minor *python* is imported as *module*."""
    return module in _modules(python)


@cache
def _modules(python: tuple[int, int]) -> frozenset[str]:
    rows = read_data("stdlib.toml")["modules"]
    return frozenset(
        name
        for row in rows
        if tuple(row.get("since", (3, 0))) <= python <= tuple(row.get("until", (4, 0)))
        for name in row["names"]
    )
