"""Know which modules common distributions contain. Only this module reads ``data/import_names.toml``."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from lamina.core.target import runtime_of
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from lamina.core.target import Target


def preinstalled_modules(target: Target) -> frozenset[str]:
    """Return the dotted names of the modules of the distributions that are preinstalled in the runtime of *target*."""
    return frozenset(module for row in runtime_of(target).preinstalled for module in modules_of(row.name))


def created_modules() -> dict[str, tuple[str, ...]]:
    """Return the top-level modules that distributions create at run time, by the module that does so."""
    return {name: tuple(found) for name, found in read_data("import_names.toml")["created"].items()}


def modules_of(name: str) -> tuple[str, ...]:
    """Return the dotted names of the modules that the distribution *name* has, as far as known; else the module named like it."""
    return _modules_of().get(name, (name.replace("-", "_"),))


@cache
def _modules_of() -> dict[str, tuple[str, ...]]:
    """Return the modules of common distributions, by the requirement to add."""
    document = read_data("import_names.toml")
    return {name: (name,) for name in document["same"]} | {
        name: tuple(found) for name, found in document["modules"].items()
    }


def requirements_of(module: str) -> tuple[str, ...]:
    """Return the requirements of distributions that are known to provide the dotted name *module*, by the longest known part of the name."""
    by_module: dict[str, list[str]] = {}
    for requirement, modules in _modules_of().items():
        for each in modules:
            by_module.setdefault(each, []).append(requirement)
    while module:
        if module in by_module:
            return tuple(by_module[module])
        module = module.rpartition(".")[0]
    return ()
