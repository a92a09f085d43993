"""Read ``[tool.lamina.deploy]``: the names of functions in Lambda, and the alias that their traffic uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.aws.api.facts import fits
from lamina.aws.deploy.claim import CLAIM
from lamina.aws.publish.config import template
from lamina.core.errors import DeployError, InvalidConfigError
from lamina.project import config
from lamina.project.functions import read_wrapper

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from lamina.project.table import Table

DEFAULT_ALIAS = "live"
"""The alias to move if none is configured: it is moved in functions that have it, and never created."""
_NAMES = ("service", "function")
_LONGEST_WAIT_SECONDS = 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployConfig:
    """The configuration in ``[tool.lamina.deploy]``."""

    function_name: str = "{service}-{function}"
    """The template of a function's name in Lambda, with the placeholders ``{service}`` and ``{function}``."""
    alias: str | None = None
    """The alias to move to each new version, created if missing. ``None``: move ``live`` in functions that have it."""

    wrapper: str | None = None
    """The handler to set in place of each function's own; empty for none. ``None``: keep the known wrapper that a function has."""
    wrappers: Mapping[str, str] = field(default_factory=dict)
    """The handlers of functions that configure a wrapper of their own, by the function's name in the project."""
    wait_seconds: int | None = None
    """The time limit for one change of a function; ``None`` for the limits of AWS's own waiters."""

    def name(self, service: str, function: str) -> str:
        """Return the name in Lambda of *function* of *service*."""
        return self.function_name.replace("{service}", service).replace("{function}", function)

    def wrapper_of(self, function: str) -> str | None:
        """Return the configured wrapper of *function*, empty for none; ``None`` if the configuration does not say."""
        return self.wrappers.get(function, self.wrapper)

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
    found = DeployConfig(
        function_name=_function_name(table),
        alias=_alias(table),
        wrapper=read_wrapper(table),
        wait_seconds=_wait_seconds(table),
    )
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


def alias_mistake(name: str) -> str | None:
    """Return why functions cannot have an alias *name* for their callers, or ``None`` if they can."""
    if not fits("alias", name):
        return f"`{name}` is not a valid alias name: use letters, digits, `-` and `_`, but not only digits"
    if name == CLAIM:
        return f"`{name}` is the alias that lamina creates and deletes during a deployment: use another name"
    return None


def _alias(table: Table) -> str | None:
    value = table.string("alias")
    mistake = None if value is None else alias_mistake(value)
    if mistake is not None:
        table.complain("alias", mistake)
    return value


def _wait_seconds(table: Table) -> int | None:
    value = table.integer("wait-seconds")
    if value is not None and not 1 <= value <= _LONGEST_WAIT_SECONDS:
        table.complain("wait-seconds", f"{value:,} seconds is out of range; use 1 to {_LONGEST_WAIT_SECONDS:,} seconds")
    return value
