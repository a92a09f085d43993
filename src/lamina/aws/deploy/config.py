"""Read ``[tool.lamina.deploy]``: what functions are called in AWS, and which alias their traffic comes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.api.facts import fits
from lamina.aws.publish.config import template
from lamina.core.errors import DeployError, InvalidConfigError
from lamina.project import config

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.project.table import Table

DEFAULT_ALIAS = "live"
"""Moved where it exists, if no other is configured."""
_NAMES = ("service", "function")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployConfig:
    """The configuration of deploying."""

    function_name: str = "{service}-{function}"
    """What a function is called in Lambda."""
    alias: str | None = None
    """Moved to each new version, and made where it is missing. ``None``: ``live`` where it exists."""

    def name(self, service: str, function: str) -> str:
        """Return what *function* of *service* is called in Lambda."""
        return self.function_name.replace("{service}", service).replace("{function}", function)

    def check(self, service: str, functions: Iterable[str]) -> None:
        """Raise DeployError naming everything that *functions* of *service* would be called, and that Lambda refuses."""
        names = [self.name(service, function) for function in functions]
        if wrong := [f"`{name}`" for name in names if not fits("function-name", name)]:
            raise DeployError(
                f"Lambda takes no function called {' or '.join(wrong)}",
                hint="up to 64 letters, digits, `-` and `_`: `function-name` in `[tool.lamina.deploy]`",
            )


def load(project: Path) -> DeployConfig:
    """Return the configuration of deploying *project*; raises InvalidConfigError with every mistake in it."""
    mistakes: list[tuple[str, str]] = []
    file, table = config.section(project, "deploy", mistakes)
    found = DeployConfig(function_name=_function_name(table), alias=_alias(table))
    table.done()
    if mistakes:
        raise InvalidConfigError(file=file, mistakes=mistakes)
    return found


def _function_name(table: Table) -> str:
    value = template(table, "function-name", _NAMES)
    if value is None:
        return DeployConfig().function_name
    if "{function}" not in value:
        table.complain("function-name", f"`{value}` would call all functions the same: it needs `{{function}}`")
    return value


def _alias(table: Table) -> str | None:
    value = table.string("alias")
    if value is not None and not fits("alias", value):
        table.complain("alias", f"`{value}` is no alias's name")
    return value
