"""
Ask AWS for cold starts of deployed functions: those that real traffic had, and some that are forced now.

Forcing publishes nothing and does not touch what callers use. Changing a variable of the unpublished version (``$LATEST``) makes
Lambda start its next invocation in a new environment. The variable is ours, and is taken away in the end. Where ``$LATEST`` may be
in use, nothing is done unless that is asked for.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from lamina.aws.api.session import Access
from lamina.aws.api.telemetry import DeployedFunctions, Logs, XRay
from lamina.coldstart.traffic import Group, Percentiles, by_version, cold_starts, logged, split, traced
from lamina.core.errors import AwsError, ConfigError
from lamina.core.reporter import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lamina.aws.api.telemetry import DeployedFunction, Invoked
    from lamina.coldstart.traffic import ObservedColdStart
    from lamina.core.reporter import Reporter

VARIABLE = "LAMINA_COLDSTART"
"""The variable of a function that is changed to force a cold start; its value means nothing."""

_UNPUBLISHED = "$LATEST"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where AWS keeps what it knows."""

    functions: DeployedFunctions
    logs: Logs
    xray: XRay

    @classmethod
    def connect(cls, *, region: str | None, role: str | None) -> Sources:
        """Return the sources of the account and region that *region* and *role* choose; raises as `Access.connect` does."""
        services = Access(region=region, role=role).connect()
        return cls(
            functions=DeployedFunctions(services.caller("lambda")),
            logs=Logs(services.caller("logs")),
            xray=XRay(services.caller("xray")),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Which cold starts are asked for."""

    logs_hours: float | None = None
    """How far back to read the logs, if at all."""
    xray_hours: float | None = None
    """The same for the traces that X-Ray sampled."""
    moment: dt.datetime | None = None
    """Group by before and after this moment, not by version."""
    forced: int | None = None
    """How many cold starts to force."""
    payload: bytes = b"{}"
    """The event of those that are forced."""
    even_if_in_use: bool = False
    """Force them even where callers may be using the unpublished version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedGroup:
    """Cold starts of one function that belong together, and where they were seen."""

    function: str
    source: str
    """``logs``, ``xray`` or ``forced``."""
    group: Group


def observe(
    sources: Sources, names: Iterable[str], question: Question, *, now: dt.datetime, reporter: Reporter = SILENT
) -> tuple[ObservedGroup, ...]:
    """Return the cold starts of the functions *names*; raises ConfigError for one that does not exist, and as `force` does."""
    found: list[ObservedGroup] = []
    for name in names:
        deployed = _existing(sources.functions, name)
        found += [
            ObservedGroup(function=name, source=source, group=group)
            for source, group in _groups(deployed, sources, question, now, reporter)
        ]
    return tuple(found)


def _groups(
    deployed: DeployedFunction, sources: Sources, question: Question, now: dt.datetime, reporter: Reporter
) -> Iterator[tuple[str, Group]]:
    if question.logs_hours is not None:
        lines = sources.logs.cold_starts(deployed.log_group, now - dt.timedelta(hours=question.logs_hours), now)
        yield from (("logs", each) for each in _grouped(logged(lines), deployed, sources, question.moment))
    if question.xray_hours is not None:
        traces = sources.xray.cold_starts(deployed.name, now - dt.timedelta(hours=question.xray_hours), now)
        yield from (("xray", each) for each in _grouped(traced(traces), deployed, sources, question.moment))
    if question.forced and (group := _forced(deployed, sources, question, now, reporter)) is not None:
        yield "forced", group


def _grouped(
    seen: tuple[ObservedColdStart, ...], deployed: DeployedFunction, sources: Sources, moment: dt.datetime | None
) -> tuple[Group, ...]:
    if moment is not None:
        return split(seen, moment)

    def layers(version: str) -> tuple[str, ...]:
        found = sources.functions.get(deployed.name, version) if version != "unknown" else None
        return found.layers if found is not None else ()

    return by_version(seen, layers)


def _forced(
    deployed: DeployedFunction, sources: Sources, question: Question, now: dt.datetime, reporter: Reporter
) -> Group | None:
    count = question.forced or 0
    times, errors = force(
        sources.functions,
        deployed.name,
        count=count,
        payload=question.payload,
        even_if_in_use=question.even_if_in_use,
    )
    if errors:
        reporter.warn(
            f"`{deployed.name}` failed in {errors} of {count} invocations",
            hint="give it an event that it takes: --event FILE; its initialisation counts all the same",
        )
    if not times:
        return None
    return Group(name="$LATEST", layers=deployed.layers, first=now, percentiles=Percentiles.of(times))


def document(found: Iterable[ObservedGroup]) -> dict[str, object]:
    """Return what was *found* as the plain values of a JSON document, version "1"."""
    rows = [
        {
            "function": each.function,
            "source": each.source,
            "group": each.group.name,
            "layers": list(each.group.layers),
            "first": each.group.first.isoformat(),
            "milliseconds": asdict(each.group.percentiles),
        }
        for each in found
    ]
    return {"version": "1", "kind": "aws", "groups": rows}


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


def force(
    functions: RestartableFunctions, name: str, *, count: int, payload: bytes = b"{}", even_if_in_use: bool = False
) -> tuple[list[float], int]:
    """
    Start the function *name* cold *count* times; return the milliseconds that Lambda reported, and how many invocations failed.

    The initialisation of an invocation that failed counts all the same.

    Raises ConfigError if its unpublished version may be what callers use and *even_if_in_use* is not given, or if its environment
    cannot be read and thus not be put back; AwsError if Lambda refuses, or somebody else changes the function meanwhile.
    """
    deployed = _existing(functions, name)
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
    return times, errors


def _existing(functions: RestartableFunctions, name: str) -> DeployedFunction:
    deployed = functions.get(name)
    if deployed is None:
        raise ConfigError(f"There is no function `{name}`", hint="look at the name, the region and the account")
    return deployed


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
