"""
Force cold starts of a deployed function, without publishing anything and without touching what callers use.

Changing a variable of the unpublished version (``$LATEST``) makes Lambda start its next invocation in a new environment. The
variable is ours, and is taken away in the end. Where ``$LATEST`` may be in use, nothing is done unless that is asked for.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lamina.coldstart.traffic import cold_starts
from lamina.core.errors import AwsError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.aws.api.telemetry import DeployedFunction, Invoked

__all__ = ["VARIABLE", "Forced", "RestartableFunctions", "force"]

VARIABLE = "LAMINA_COLDSTART"
"""The variable that is changed; its value means nothing."""

_UNPUBLISHED = "$LATEST"


class RestartableFunctions(Protocol):
    """What is needed of Lambda; `lamina.aws.api.telemetry.DeployedFunctions` is it."""

    def get(self, name: str, version: str | None = None) -> DeployedFunction | None:
        """Return a function, or nothing where there is none."""

    def aliases(self, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return a function's aliases, each with the versions that it sends traffic to."""

    def touch(self, name: str, environment: Mapping[str, str], revision: str) -> str:
        """Change the environment of the unpublished version, if it is still at *revision*; return the new one."""

    def invoke(self, name: str, payload: bytes) -> Invoked:
        """Invoke the unpublished version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forced:
    """The cold starts of one function."""

    layers: tuple[str, ...]
    times: tuple[float, ...]
    """Milliseconds that each took."""
    errors: int
    """Invocations in which the function failed; its initialisation counts all the same."""


def force(
    functions: RestartableFunctions, name: str, *, count: int, payload: bytes = b"{}", even_if_in_use: bool = False
) -> Forced:
    """
    Start the function *name* cold *count* times and return what Lambda reported.

    Raises ConfigError if its unpublished version may be what callers use and *even_if_in_use* is not given, or if its environment
    cannot be read and thus not be put back; AwsError if Lambda refuses, or somebody else changes the function meanwhile.
    """
    deployed = functions.get(name)
    if deployed is None:
        raise ConfigError(f"There is no function `{name}`", hint="look at the name, the region and the account")
    if not even_if_in_use:
        _check_unused(name, functions.aliases(name))
    if deployed.environment is None:
        raise ConfigError(
            f"The environment of `{name}` cannot be read, so it could not be put back",
            hint="allow `kms:Decrypt` for its key, or look at real traffic instead: --logs",
        )
    original = {key: value for key, value in deployed.environment if key != VARIABLE}
    times: list[float] = []
    errors = 0
    revision = deployed.revision
    try:
        for _ in range(count):
            revision = functions.touch(name, original | {VARIABLE: uuid.uuid4().hex}, revision)
            invoked = functions.invoke(name, payload)
            errors += invoked.error is not None
            times += cold_starts(invoked.log)
    finally:
        _restore(functions, name)
    return Forced(layers=deployed.layers, times=tuple(times), errors=errors)


def _restore(functions: RestartableFunctions, name: str) -> None:
    """Take our variable away, and leave whatever else stands there by now: somebody may have deployed meanwhile."""
    try:
        now = functions.get(name)
        if now is not None and now.environment is not None and VARIABLE in dict(now.environment):
            functions.touch(name, {key: value for key, value in now.environment if key != VARIABLE}, now.revision)
    except AwsError as error:
        error.hint = f"the variable `{VARIABLE}` may still be in the environment of `{name}`; it does nothing, and can be removed"
        raise


def _check_unused(name: str, aliases: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
    using = [alias for alias, versions in aliases if _UNPUBLISHED in versions]
    if using:
        reason = (
            f"the alias{'es' if len(using) > 1 else ''} {', '.join(f'`{alias}`' for alias in using)} of `{name}` use it"
        )
    elif not aliases:
        reason = f"`{name}` has no alias, so its callers may use it"
    else:
        return
    raise ConfigError(
        f"`$LATEST` would be started cold, and {reason}",
        hint="if a few slower starts do no harm there: --allow-latest; or look at real traffic: --logs",
    )
