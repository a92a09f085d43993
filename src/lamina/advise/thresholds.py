"""Read ``[tool.lamina.advise]``: the thresholds of the recommendation. The defaults are in ``data/configuration.toml``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.core.errors import InvalidConfigError
from lamina.core.frozen import frozen
from lamina.core.toml import read_data
from lamina.project import config
from lamina.project.budgets import read_size
from lamina.project.table import Table

if TYPE_CHECKING:
    from pathlib import Path

_SECTION = "advise"


@frozen
class AdviceThresholds:
    """The thresholds of the recommendation. Sizes are in bytes."""

    small_function: int
    """The largest zip of a service's only function with which no layer is recommended."""
    layer_cost: int
    """What another layer has to save at least, unzipped and summed over all functions."""
    split_saving: int
    """What several layers have to save one function at least, unzipped."""
    slow_start_ms: int
    """The least measured initialisation of such a function with which several layers are recommended."""


def load(project: Path) -> AdviceThresholds:
    """Return the thresholds of *project*. Raises `InvalidConfigError` that lists every mistake."""
    mistakes: list[tuple[str, str]] = []
    file, table = config.section(project, _SECTION, mistakes)
    found = _read(table, _defaults())
    most = _most("slow-start")
    if not 0 <= found.slow_start_ms <= most:
        table.complain("slow-start", f"{found.slow_start_ms:,} ms is out of range; expected 0 to {most:,} ms")
    table.done()
    if mistakes:
        raise InvalidConfigError(file=file, mistakes=mistakes)
    return found


def _defaults() -> Table:
    return Table({key["name"]: key["default"] for key in _keys()}, key=_SECTION, mistakes=[])


def _keys() -> list[dict[str, Any]]:
    return next(list(row["key"]) for row in read_data("configuration.toml")["table"] if row["path"] == _SECTION)


def _most(name: str) -> int:
    return next(int(key["most"]) for key in _keys() if key["name"] == name)


def _read(table: Table, defaults: Table) -> AdviceThresholds:
    def size(name: str) -> int:
        own = read_size(table, name)
        return (read_size(defaults, name) or 0) if own is None else own

    slow = table.integer("slow-start")
    return AdviceThresholds(
        small_function=size("small-function"),
        layer_cost=size("layer-cost"),
        split_saving=size("split-saving"),
        slow_start_ms=(defaults.integer("slow-start") or 0) if slow is None else slow,
    )
