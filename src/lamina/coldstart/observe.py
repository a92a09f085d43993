"""
Query AWS for cold starts of deployed functions: those of real traffic, and new ones that lamina forces.

To force a cold start, lamina changes an environment variable of the unpublished version (``$LATEST``). Lambda then handles the next
invocation in a new environment. lamina uses its own variable and finally removes it. It publishes no version, and changes no version
that an alias uses. If callers may use ``$LATEST``, lamina changes it only with the user's permission.
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
"""The environment variable that lamina changes to force a cold start; its value has no meaning."""

_UNPUBLISHED = "$LATEST"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The AWS services that cold starts are read from."""

    functions: DeployedFunctions
    logs: Logs
    xray: XRay

    @classmethod
    def connect(cls, *, region: str | None, role: str | None) -> Sources:
        """Connect to the services in *region*, with the credentials of *role* if it is given. Raises what `Access.connect` raises."""
        services = Access(region=region, role=role).connect()
        return cls(
            functions=DeployedFunctions(services.caller("lambda")),
            logs=Logs(services.caller("logs")),
            xray=XRay(services.caller("xray")),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """The user's choice of cold starts to report."""

    logs_hours: float | None = None
    """Read the logs of this many past hours; ``None`` to skip the logs."""
    xray_hours: float | None = None
    """Read the X-Ray traces of this many past hours; ``None`` to skip X-Ray."""
    moment: dt.datetime | None = None
    """Group cold starts into those before and after this moment; ``None`` to group by version."""
    forced: int | None = None
    """The number of cold starts to force."""
    payload: bytes = b"{}"
    """The event to send when forcing cold starts."""
    even_if_in_use: bool = False
    """Force cold starts even if callers may use the unpublished version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedGroup:
    """A group of cold starts of one function, and the source that reported them."""

    function: str
    source: str
    """The origin of the cold starts: ``logs``, ``xray`` or ``forced``."""
    group: Group


def observe(
    sources: Sources, names: Iterable[str], question: Question, *, now: dt.datetime, reporter: Reporter = SILENT
) -> tuple[ObservedGroup, ...]:
    """
    Return the cold starts of the functions *names* that *question* selects.

    Raises `ConfigError` if a function does not exist, and what `force` raises.
    """
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
            hint="pass an event that the function accepts: `--event FILE` (its cold starts were measured nevertheless)",
        )
    if not times:
        return None
    return Group(name="$LATEST", layers=deployed.layers, first=now, percentiles=Percentiles.of(times))


def document(found: Iterable[ObservedGroup]) -> dict[str, object]:
    """Convert *found* to the plain values of a JSON document of version "1"."""
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
    """The operations of Lambda that `force` requires; `lamina.aws.api.telemetry.DeployedFunctions` implements them."""

    def get(self, name: str, version: str | None = None) -> DeployedFunction | None:
        """Return the function *name*, or ``None`` if it does not exist."""

    def aliases(self, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the aliases of a function, each with the versions that receive its traffic."""

    def touch(self, name: str, environment: Mapping[str, str], revision: str) -> str:
        """Replace the environment variables of the unpublished version, if it is still at *revision*; return the new revision."""

    def invoke(self, name: str, payload: bytes) -> Invoked:
        """Invoke the unpublished version with the event *payload*."""


def force(
    functions: RestartableFunctions, name: str, *, count: int, payload: bytes = b"{}", even_if_in_use: bool = False
) -> tuple[list[float], int]:
    """
    Force *count* cold starts of the function *name*. Return their durations in milliseconds, and the number of failed invocations.

    The cold start of a failed invocation is included if Lambda reports its duration.

    Raises `ConfigError` if callers may use the unpublished version and *even_if_in_use* is not set, or if AWS does not return the
    environment variables, because lamina could not restore them. Raises `AwsError` if Lambda rejects a request, for example because
    another client has changed the function in the meantime.
    """
    deployed = _existing(functions, name)
    if not even_if_in_use:
        _check_unused(name, functions.aliases(name))
    if deployed.environment is None:
        raise ConfigError(
            f"AWS did not return the environment variables of `{name}`, so lamina could not restore them after a change",
            hint="allow `kms:Decrypt` for the function's key, or read the cold starts of real traffic with `--logs HOURS`",
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
        raise ConfigError(f"function `{name}` does not exist", hint="check the name, the region and the account")
    return deployed


def _restore(functions: RestartableFunctions, name: str) -> None:
    """Remove lamina's variable and keep all others as they are now, because a deployment may have changed them in the meantime."""
    try:
        now = functions.get(name)
        if now is not None and now.environment is not None and VARIABLE in dict(now.environment):
            functions.touch(name, {key: value for key, value in now.environment if key != VARIABLE}, now.revision)
    except AwsError as error:
        error.hint = (
            f"remove the variable `{VARIABLE}` from the environment of `{name}` if it is still set; it has no effect"
        )
        raise


def _check_unused(name: str, aliases: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
    using = [alias for alias, versions in aliases if _UNPUBLISHED in versions]
    if using:
        reason = (
            f"{'aliases' if len(using) > 1 else 'alias'} {', '.join(f'`{alias}`' for alias in using)} "
            f"{'send' if len(using) > 1 else 'sends'} traffic to it"
        )
    elif not aliases:
        reason = "the function has no alias, so its callers may invoke `$LATEST`"
    else:
        return
    raise ConfigError(
        f"`$LATEST` of `{name}` may be in use: {reason}",
        hint="pass `--allow-latest` if a few slow invocations are acceptable, "
        "or read the cold starts of real traffic with `--logs HOURS`",
    )
