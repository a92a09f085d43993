"""Know the top-level modules of the standard library by minor version. Only this module reads ``data/stdlib.toml``."""

from __future__ import annotations

from functools import cache
from typing import Any

from lamina.core.toml import read_data


def can_be_shadowed(module: str, python: tuple[int, int]) -> bool:
    """Return whether a file can shadow the top-level *module* of the standard library of the minor version *python*."""
    return module in _modules(python)


def is_standard(module: str, python: tuple[int, int]) -> bool:
    """Return whether the top-level *module* is in the standard library of the minor version *python* on Linux."""
    return module in _modules(python) or module in _fixed()


def last_version(module: str) -> tuple[int, int] | None:
    """Return the last minor version with the top-level *module*, or ``None`` if it was never removed."""
    until = [row["until"] for row in _document()["modules"] if "until" in row and module in row["names"]]
    return (until[0][0], until[0][1]) if until else None


@cache
def _document() -> dict[str, Any]:
    return read_data("stdlib.toml")


@cache
def _fixed() -> frozenset[str]:
    return frozenset(name for row in _document()["fixed"] for name in row["names"])


@cache
def _modules(python: tuple[int, int]) -> frozenset[str]:
    return frozenset(
        name
        for row in _document()["modules"]
        if tuple(row.get("since", (3, 0))) <= python <= tuple(row.get("until", (4, 0)))
        for name in row["names"]
    )
