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
    split_share: int
    """What several layers have to save that function at least, in percent of the one layer."""
    slow_start_ms: int
    """The least measured initialisation of such a function with which several layers are recommended."""


def load(project: Path) -> AdviceThresholds:
    """Return the thresholds of *project*. Raises `InvalidConfigError` that lists every mistake."""
    mistakes: list[tuple[str, str]] = []
    file, table = config.section(project, _SECTION, mistakes)
    found = _read(table, _defaults())
    for name, value, unit in (("slow-start", found.slow_start_ms, " ms"), ("split-share", found.split_share, "%")):
        most = _most(name)
        if not 0 <= value <= most:
            table.complain(name, f"{value:,}{unit} is out of range; expected 0 to {most:,}{unit}")
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

    def integer(name: str) -> int:
        own = table.integer(name)
        return (defaults.integer(name) or 0) if own is None else own

    return AdviceThresholds(
        small_function=size("small-function"),
        layer_cost=size("layer-cost"),
        split_saving=size("split-saving"),
        split_share=integer("split-share"),
        slow_start_ms=integer("slow-start"),
    )
