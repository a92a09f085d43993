"""Say how one built function is run: what is configured, what Lambda assumes where nothing is, and what the user asks for now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError
from lamina.local.facts import facts
from lamina.project.functions import setting
from lamina.project.service import Function

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lamina.local.artifacts import Artifacts, BuiltFunction
    from lamina.project.service import Service

__all__ = ["additional_variables", "any_function", "function_of"]


def function_of(
    built: BuiltFunction, service: Service | None, *, memory_mb: int | None = None, timeout_seconds: int | None = None
) -> Function:
    """
    Return how to run *built*: the command line's limits, else those that *service* configures for its name, else Lambda's own.

    Raises ConfigError for limits that Lambda would not take.
    """
    configured = {function.name: function for function in service.functions} if service is not None else {}
    memory, timeout = setting("memory"), setting("timeout")
    _check("memory", memory_mb, memory.least, memory.most, unit="MB")
    _check("timeout", timeout_seconds, timeout.least, timeout.most, unit="seconds")
    found = configured.get(built.name) or Function(
        name=built.name,
        handler=built.handler,
        layers=tuple(layer.name for layer in built.layers),
        memory_mb=int(memory.default),
        timeout_seconds=int(timeout.default),
    )
    # What was built counts, even where the configuration has changed since.
    return replace(
        found,
        handler=built.handler,
        memory_mb=memory_mb if memory_mb is not None else found.memory_mb,
        timeout_seconds=timeout_seconds if timeout_seconds is not None else found.timeout_seconds,
    )


def _check(name: str, value: int | None, least: int | None, most: int | None, *, unit: str) -> None:
    if value is not None and least is not None and most is not None and not least <= value <= most:
        raise ConfigError(f"Lambda takes no {name} of {value} {unit}", hint=f"from {least} to {most} {unit}")


def additional_variables(
    asked: Iterable[str], environ: Mapping[str, str], *, credentials: bool = False
) -> dict[str, str]:
    """
    Return the variables that the user names, as ``NAME=VALUE`` or as ``NAME`` of *environ*; with *credentials*, those of AWS as well.

    Raises ConfigError with all names that *environ* does not have.
    """
    found: dict[str, str] = {}
    missing: list[str] = []
    if credentials:
        known = facts()
        found |= {name: environ[name] for name in (*known.credentials, *known.companions) if name in environ}
        if "AWS_ACCESS_KEY_ID" not in found:
            missing.append("AWS_ACCESS_KEY_ID")
    for entry in asked:
        name, separator, value = entry.partition("=")
        if separator:
            found[name] = value
        elif name in environ:
            found[name] = environ[name]
        else:
            missing.append(name)
    if missing:
        raise ConfigError(
            f"The environment has no {', '.join(f'`{name}`' for name in missing)}",
            hint="set it, or give the value: --env NAME=VALUE",
        )
    return found


def any_function(artifacts: Artifacts) -> BuiltFunction:
    """
    Return the first function of a build whose functions all see the same layers.

    Raises ConfigError if they do not, or if there is none.
    """
    layers = {tuple(layer.sha256 for layer in function.layers) for function in artifacts.functions}
    if len(layers) != 1:
        names = ", ".join(function.name for function in artifacts.functions)
        raise ConfigError(
            "The functions have different layers, so one has to be named" if layers else "The build has no function",
            hint=f"name one before the command: {names}" if layers else "configure one, and build: lamina build",
        )
    return artifacts.functions[0]
