"""Read ``[tool.lamina.deploy]``: the names of functions in Lambda, and the alias that their traffic uses."""

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
"""The alias to move if none is configured: it is moved in functions that have it, and never created."""
_NAMES = ("service", "function")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployConfig:
    """The configuration in ``[tool.lamina.deploy]``."""

    function_name: str = "{service}-{function}"
    """The template of a function's name in Lambda, with the placeholders ``{service}`` and ``{function}``."""
    alias: str | None = None
    """The alias to move to each new version, created if missing. ``None``: move ``live`` in functions that have it."""

    def name(self, service: str, function: str) -> str:
        """Return the name in Lambda of *function* of *service*."""
        return self.function_name.replace("{service}", service).replace("{function}", function)

    def check(self, service: str, functions: Iterable[str]) -> None:
        """Raise `DeployError` if Lambda would reject the name of one of the *functions* of *service*; the message lists all such names."""
        names = [self.name(service, function) for function in functions]
        if wrong := [f"`{name}`" for name in names if not fits("function-name", name)]:
            raise DeployError(
                f"Lambda does not accept {' or '.join(wrong)} as a function name",
                hint="set `function-name` in `[tool.lamina.deploy]` to a template for valid names, such as "
                '`"orders-{function}"`: at most 64 letters, digits, `-` and `_`',
            )


def load(project: Path) -> DeployConfig:
    """Return the deployment configuration of *project*. Raises `InvalidConfigError` listing every mistake in it."""
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
        table.complain("function-name", f"`{value}` gives all functions the same name; add `{{function}}` to it")
    return value


def _alias(table: Table) -> str | None:
    value = table.string("alias")
    if value is not None and not fits("alias", value):
        table.complain(
            "alias", f"`{value}` is not a valid alias name: use letters, digits, `-` and `_`, but not only digits"
        )
    return value
