"""
Read the cold starts of deployed functions from AWS: those of real traffic, or new ones that lamina forces.

To force a cold start, lamina changes the environment variable `VARIABLE` of the unpublished version (``$LATEST``) and invokes that
version. Lambda handles the invocation in a new execution environment. At the end, lamina removes the variable. Published versions do not
change, and no new one is published. If callers may use ``$LATEST``, lamina changes it only with the user's permission.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from lamina.aws.api.session import Access
from lamina.aws.api.telemetry import DeployedFunctions, Logs, XRay
from lamina.coldstart.traffic import Group, Percentiles, by_version, cold_starts, logged, split, traced
from lamina.core.errors import AwsError, ConfigError, MissingPermissionError
from lamina.core.reporter import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lamina.aws.api.telemetry import DeployedFunction, Invoked, LoggedLine
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
        """Connect to the services in *region*, with the credentials of *role* if it is not ``None``. Raises what `Access.connect` raises."""
        services = Access(region=region, role=role).connect()
        return cls(
            functions=DeployedFunctions(services.caller("lambda")),
            logs=Logs(services.caller("logs")),
            xray=XRay(services.caller("xray")),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Which cold starts to report."""

    logs_hours: float | None = None
    """Read the logs of this many past hours; ``None`` to skip the logs."""
    xray_hours: float | None = None
    """Read the X-Ray traces of this many past hours; ``None`` to skip X-Ray."""
    moment: dt.datetime | None = None
    """Group cold starts into those before and after this moment; ``None`` to group by version."""
    forced: int | None = None
    """The number of cold starts to force; ``None`` to force none."""
    payload: bytes = b"{}"
    """The event to send when forcing cold starts."""
    even_if_in_use: bool = False
    """Force cold starts even if callers may use the unpublished version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedGroup:
    """The cold starts of one function from one source, for one version or period."""

    function: str
    source: str
    """The source of the cold starts: ``logs``, ``xray`` or ``forced``."""
    group: Group


def observe(
    sources: Sources, names: Iterable[str], question: Question, *, now: dt.datetime, reporter: Reporter = SILENT
) -> tuple[ObservedGroup, ...]:
    """
    Return the cold starts of the functions *names* that *question* selects.

    Raises `ConfigError` if a function does not exist, `AwsError` if AWS rejects a request, and what `force` raises.
    """
    found: list[ObservedGroup] = []
    if question.xray_hours is not None:
        _warn_of_missing_traces(sources, reporter)
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
        begin = now - dt.timedelta(hours=question.logs_hours)
        only = deployed.name if deployed.shares_log_group else None
        lines = sources.logs.cold_starts(deployed.log_group, begin, now, function=only)
        _warn_of_provisioned(deployed, sources, lines, reporter)
        yield from (("logs", each) for each in _grouped(logged(lines), deployed, sources, question.moment))
    if question.xray_hours is not None:
        traces = sources.xray.cold_starts(deployed.name, now - dt.timedelta(hours=question.xray_hours), now)
        yield from (("xray", each) for each in _grouped(traced(traces), deployed, sources, question.moment))
    if question.forced and (group := _forced(deployed, sources, question, now, reporter)) is not None:
        yield "forced", group


def _warn_of_provisioned(
    deployed: DeployedFunction, sources: Sources, lines: Sequence[LoggedLine], reporter: Reporter
) -> None:
    """Warn if *lines* may report initialisations that no caller waited for: the log does not tell them from cold starts."""
    if not lines:
        return
    try:
        provisioned = sources.functions.provisioned(deployed.name)
    except MissingPermissionError as error:
        reporter.warn(f"initialisations for provisioned concurrency may count as cold starts: {error}", hint=error.hint)
        return
    seen = {line.version for line in lines}
    if versions := [version for version in provisioned if version in seen]:
        plural = len(versions) > 1
        reporter.warn(
            f"{'versions' if plural else 'version'} {', '.join(versions)} of function `{deployed.name}` "
            f"{'have' if plural else 'has'} provisioned concurrency, so Lambda initialised some environments in advance: "
            "the log counts them as cold starts, but no caller waited for them",
            hint="read only what callers waited for: `--xray HOURS`",
        )


def _warn_of_missing_traces(sources: Sources, reporter: Reporter) -> None:
    try:
        complete = sources.xray.is_complete()
    except MissingPermissionError as error:
        reporter.warn(f"X-Ray may have only a part of the traces: {error}", hint=error.hint)
        return
    if not complete:
        reporter.warn(
            "the account's traces go to CloudWatch Logs (Transaction Search), and X-Ray has only the part that is indexed",
            hint="read all cold starts from the functions' logs: `--logs HOURS`",
        )


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
            f"function `{deployed.name}` returned an error in {errors} of {count} forced cold starts; "
            "their times are included if Lambda reported them",
            hint="pass an event that the function accepts: `--event FILE`",
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
        """Return *version* of the function *name*, ``$LATEST`` by default, or ``None`` if it does not exist."""

    def aliases(self, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the aliases of a function, each with the versions that receive its traffic."""

    def touch(self, name: str, environment: Mapping[str, str], revision: str) -> str:
        """Replace the environment variables of the unpublished version; return its new revision. Fails if it is no longer at *revision*."""

    def invoke(self, name: str, payload: bytes) -> Invoked:
        """Invoke the unpublished version with the event *payload*; return the end of its log, and whether it failed."""


def force(
    functions: RestartableFunctions, name: str, *, count: int, payload: bytes = b"{}", even_if_in_use: bool = False
) -> tuple[list[float], int]:
    """
    Force *count* cold starts of the function *name*. Return their durations in milliseconds, and the number of failed invocations.

    The cold start of a failed invocation is included if Lambda reports its duration.

    Raises `ConfigError` if the function does not exist, if callers may use its unpublished version and *even_if_in_use* is false, or if
    AWS does not return its environment variables, because lamina must restore them. Raises `AwsError` if Lambda rejects a request, for
    example because another client has changed the function in the meantime.
    """
    deployed = _existing(functions, name)
    if not even_if_in_use:
        _check_unused(name, functions.aliases(name))
    if deployed.environment is None:
        raise ConfigError(
            f"AWS did not return the environment variables of function `{name}`, and forcing a cold start without them would delete them",
            hint="allow `kms:Decrypt` on the function's KMS key, or read the cold starts of real traffic with `--logs HOURS`",
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
    """Remove `VARIABLE`. Keep the current values of all other variables, because a deployment may have changed them in the meantime."""
    try:
        now = functions.get(name)
        if now is not None and now.environment is not None and VARIABLE in dict(now.environment):
            functions.touch(name, {key: value for key, value in now.environment if key != VARIABLE}, now.revision)
    except AwsError as error:
        error.hint = (
            f"remove the environment variable `{VARIABLE}` from function `{name}` if it is still set (it has no effect)"
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
        f"refused to force cold starts of function `{name}`, because callers may use `$LATEST`: {reason}",
        hint="pass `--allow-latest` if a few slow invocations are acceptable, "
        "or read the cold starts of real traffic with `--logs HOURS`",
    )
