"""
Read cold starts from a function's log, and compute their percentiles for each version, or for the periods before and after a moment.

Sources for Lambda's log lines, in the text format (``REPORT``) and in JSON (``platform.report``):
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html,
https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html and
https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html (2026-11-23).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from lamina.aws.api.telemetry import ColdStart, LoggedLine

_REPORT = re.compile(r"REPORT\s")
# A cold start from a SnapStart snapshot has a restore duration, any other an init duration. Fields are separated by tabs, some by a space.
_RESTORE = re.compile(r"(?<!Billed )Restore Duration:\s*([0-9.]+)\s*ms")
_INIT = re.compile(r"Init Duration:\s*([0-9.]+)\s*ms")


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedColdStart:
    """A cold start of a deployed function, reported by its log or by X-Ray."""

    moment: dt.datetime
    milliseconds: float
    version: str | None
    """The function's version; ``None`` if it is unknown. X-Ray never reports it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Percentiles:
    """Percentiles of cold start durations, in milliseconds."""

    count: int
    p50: float
    p90: float
    p99: float
    greatest: float

    @classmethod
    def of(cls, times: Iterable[float]) -> Percentiles:
        """Return the percentiles of *times*, which must not be empty, by the nearest-rank method: each percentile is one of *times*."""
        ordered = sorted(times)
        return cls(
            count=len(ordered),
            p50=_nearest(ordered, 50),
            p90=_nearest(ordered, 90),
            p99=_nearest(ordered, 99),
            greatest=ordered[-1],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A summary of the cold starts of one function version, or of the period before or after a moment."""

    name: str
    """The function's version, or ``unknown``, ``before`` or ``after``."""
    layers: tuple[str, ...]
    """ARNs of the function version's layer versions; empty if they are unknown, or if the group is a period."""
    first: dt.datetime
    percentiles: Percentiles


class LayerLookup(Protocol):
    """A callable that looks up the layers of a version of a Lambda function."""

    def __call__(self, version: str) -> tuple[str, ...]:
        """Return the ARNs of the layer versions that *version* uses; empty if *version* is ``unknown`` or no longer exists."""


def cold_starts(log: str) -> tuple[float, ...]:
    """
    Return the duration, in milliseconds, of each cold start that *log* reports.

    Initialisations that failed or timed out are not included; Lambda reports them in other lines (``INIT_REPORT``).
    """
    return tuple(time for line in log.splitlines() if (time := _cold_ms(line)) is not None)


def _cold_ms(line: str) -> float | None:
    if line.startswith("{"):
        return _cold_ms_in_json(line)
    found = (_RESTORE.search(line) or _INIT.search(line)) if _REPORT.match(line) else None
    return None if found is None else float(found[1])


def _cold_ms_in_json(line: str) -> float | None:
    try:
        event: Any = json.loads(line)
        metrics = event["record"]["metrics"] if event["type"] == "platform.report" else {}
        time: float | None = metrics.get("restoreDurationMs", metrics.get("initDurationMs"))
    except (ValueError, KeyError, TypeError, AttributeError):
        # The line may be JSON of any form that the function has logged.
        return None
    return time


def logged(lines: Sequence[LoggedLine]) -> tuple[ObservedColdStart, ...]:
    """Return the cold starts that *lines* report. Each has the timestamp and the function version of its line."""
    return tuple(
        ObservedColdStart(moment=line.moment, milliseconds=time, version=line.version)
        for line in lines
        for time in cold_starts(line.message)
    )


def traced(found: Sequence[ColdStart]) -> tuple[ObservedColdStart, ...]:
    """Convert cold starts from X-Ray, which does not report the function's version."""
    return tuple(ObservedColdStart(moment=each.began, milliseconds=each.milliseconds, version=None) for each in found)


def by_version(seen: Sequence[ObservedColdStart], layers: LayerLookup) -> tuple[Group, ...]:
    """Group *seen* by function version, in the order of their first cold starts. Without a version, the group is ``unknown``."""
    versions: dict[str, list[ObservedColdStart]] = {}
    for each in sorted(seen, key=lambda each: each.moment):
        versions.setdefault(each.version or "unknown", []).append(each)
    return tuple(_group(name, members, layers(name)) for name, members in versions.items())


def split(seen: Sequence[ObservedColdStart], moment: dt.datetime) -> tuple[Group, ...]:
    """Group *seen* into cold starts before *moment* and cold starts at or after it; empty groups are left out."""
    sides = {
        "before": [each for each in seen if each.moment < moment],
        "after": [each for each in seen if each.moment >= moment],
    }
    return tuple(_group(name, members, ()) for name, members in sides.items() if members)


def _group(name: str, members: Sequence[ObservedColdStart], layers: tuple[str, ...]) -> Group:
    return Group(
        name=name,
        layers=layers,
        first=min(each.moment for each in members),
        percentiles=Percentiles.of(each.milliseconds for each in members),
    )


def _nearest(ordered: Sequence[float], percent: int) -> float:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
