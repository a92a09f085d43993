"""The part of ``lamina coldstart`` that asks AWS: forced cold starts, and those that real traffic had."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lamina.aws.api.session import Access
from lamina.aws.api.telemetry import DeployedFunctions, Logs, XRay
from lamina.cli._console import Console
from lamina.cli.coldstart import misplaced
from lamina.cli.invoke import read_event
from lamina.coldstart.forced import force
from lamina.coldstart.traffic import Group, Percentiles, by_version, logged, split, traced
from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from lamina.aws.api.telemetry import DeployedFunction
    from lamina.coldstart.traffic import ObservedColdStart

__all__ = ["Sources", "run", "tell"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where AWS keeps what it knows."""

    functions: DeployedFunctions
    logs: Logs
    xray: XRay


def run(arguments: argparse.Namespace) -> int:
    """Connect, ask, and show."""
    _check(arguments)
    services = Access(region=arguments.region, role=arguments.role).connect()
    sources = Sources(
        functions=DeployedFunctions(services.caller("lambda")),
        logs=Logs(services.caller("logs")),
        xray=XRay(services.caller("xray")),
    )
    return tell(arguments, sources, now=dt.datetime.now(dt.UTC))


def tell(arguments: argparse.Namespace, sources: Sources, *, now: dt.datetime) -> int:
    """Ask *sources* what the command line wants to know, and show it."""
    console = Console.of(arguments)
    found: list[tuple[str, str, Group]] = []
    for name in arguments.functions:
        deployed = sources.functions.get(name)
        if deployed is None:
            raise ConfigError(f"There is no function `{name}`", hint="look at the name, the region and the account")
        if arguments.logs is not None:
            lines = sources.logs.cold_starts(deployed.log_group, now - dt.timedelta(hours=arguments.logs), now)
            found += [(name, "logs", each) for each in _groups(arguments, logged(lines), deployed, sources)]
        if arguments.xray is not None:
            traces = sources.xray.cold_starts(name, now - dt.timedelta(hours=arguments.xray), now)
            found += [(name, "xray", each) for each in _groups(arguments, traced(traces), deployed, sources)]
        if arguments.forced:
            found += _forced(arguments, deployed, sources, console, now)
    if arguments.json:
        print(json.dumps({"version": "1", "kind": "aws", "groups": [_row(*each) for each in found]}, indent=2))
        return 0
    if not found:
        console.say("no cold start was seen")
        return 0
    print(f"{'function':28}{'source':8}{'version':10}{'count':>6}{'p50':>11}{'p90':>11}{'p99':>11}{'max':>11}  layers")
    for name, source, group in found:
        each = group.percentiles
        times = "".join(f"{time:>8.0f} ms" for time in (each.p50, each.p90, each.p99, each.greatest))
        layers = " ".join(":".join(arn.split(":")[-2:]) for arn in group.layers)
        print(f"{name:28}{source:8}{group.name:10}{each.count:>6}{times}  {layers}".rstrip())
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.functions:
        raise ConfigError("`--aws` needs the names of deployed functions", hint="lamina coldstart --aws NAME --logs 24")
    if arguments.logs is None and arguments.xray is None and arguments.forced is None:
        raise ConfigError("`--aws` needs `--logs`, `--xray` or `--forced`", hint="see: lamina coldstart --help")
    mistakes = [
        f"`--{name}` is above 0"
        for name, value in (("logs", arguments.logs), ("xray", arguments.xray), ("forced", arguments.forced))
        if value is not None and not value > 0
    ]
    if mistakes := [*mistakes, *misplaced(arguments)]:
        raise ConfigError("; ".join(mistakes), hint="see: lamina coldstart --help")
    _moment(arguments.split)


def _moment(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"`--split` is no moment: {text}", hint="such as 2026-11-23T12:00:00+00:00") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


def _groups(
    arguments: argparse.Namespace, seen: tuple[ObservedColdStart, ...], deployed: DeployedFunction, sources: Sources
) -> tuple[Group, ...]:
    moment = _moment(arguments.split)
    if moment is not None:
        return split(seen, moment)

    def layers(version: str) -> tuple[str, ...]:
        found = sources.functions.get(deployed.name, version) if version != "unknown" else None
        return found.layers if found is not None else ()

    return by_version(seen, layers)


def _forced(
    arguments: argparse.Namespace, deployed: DeployedFunction, sources: Sources, console: Console, now: dt.datetime
) -> list[tuple[str, str, Group]]:
    payload = read_event(arguments.event[0]) if arguments.event else b"{}"
    result = force(
        sources.functions,
        deployed.name,
        count=arguments.forced,
        payload=payload,
        even_if_in_use=arguments.allow_latest,
    )
    if result.errors:
        console.warn(
            f"`{deployed.name}` failed in {result.errors} of {arguments.forced} invocations",
            hint="give it an event that it takes: --event FILE; its initialisation counts all the same",
        )
    times = [report.cold_ms for report in result.reports if report.cold_ms is not None]
    if not times:
        return []
    group = Group(name="$LATEST", layers=result.layers, first=now, percentiles=Percentiles.of(times))
    return [(deployed.name, "forced", group)]


def _row(function: str, source: str, group: Group) -> dict[str, object]:
    return {
        "function": function,
        "source": source,
        "group": group.name,
        "layers": list(group.layers),
        "first": group.first.isoformat(),
        "milliseconds": asdict(group.percentiles),
    }
