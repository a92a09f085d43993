"""Ask AWS for cold starts of deployed functions: those that real traffic had, and some that are forced now."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lamina.aws.api.session import Access
from lamina.aws.api.telemetry import DeployedFunctions, Logs, XRay
from lamina.coldstart.forced import force
from lamina.coldstart.traffic import Group, Percentiles, by_version, logged, split, traced
from lamina.core.errors import ConfigError
from lamina.core.reporter import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lamina.aws.api.telemetry import DeployedFunction
    from lamina.coldstart.traffic import ObservedColdStart
    from lamina.core.reporter import Reporter

__all__ = ["ObservedGroup", "Question", "Sources", "document", "observe"]


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
        deployed = sources.functions.get(name)
        if deployed is None:
            raise ConfigError(f"There is no function `{name}`", hint="look at the name, the region and the account")
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
    result = force(
        sources.functions,
        deployed.name,
        count=count,
        payload=question.payload,
        even_if_in_use=question.even_if_in_use,
    )
    if result.errors:
        reporter.warn(
            f"`{deployed.name}` failed in {result.errors} of {count} invocations",
            hint="give it an event that it takes: --event FILE; its initialisation counts all the same",
        )
    if not result.times:
        return None
    return Group(name="$LATEST", layers=result.layers, first=now, percentiles=Percentiles.of(result.times))


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
