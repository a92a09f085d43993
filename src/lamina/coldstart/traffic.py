"""
Read cold starts from a function's log, and add up those that real traffic had: percentiles by version, or before and after a moment.

Source of what Lambda logs, in the text format (``REPORT``) and in JSON (``platform.report``):
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
# Of a cold start from a snapshot (SnapStart), and of one without. Tabs separate fields, in some places one space does.
_RESTORE = re.compile(r"(?<!Billed )Restore Duration:\s*([0-9.]+)\s*ms")
_INIT = re.compile(r"Init Duration:\s*([0-9.]+)\s*ms")


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedColdStart:
    """One cold start."""

    moment: dt.datetime
    milliseconds: float
    version: str | None
    """Of the function, where it is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Percentiles:
    """What shares of cold starts take at most, in milliseconds."""

    count: int
    p50: float
    p90: float
    p99: float
    greatest: float

    @classmethod
    def of(cls, times: Iterable[float]) -> Percentiles:
        """Return the percentiles of *times*, at least one: each is one of them, the nearest in rank."""
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
    """Cold starts that belong together."""

    name: str
    """The function's version, or ``before`` and ``after``."""
    layers: tuple[str, ...]
    """ARNs of the layer versions of that version; none where that is not known."""
    first: dt.datetime
    percentiles: Percentiles


class LayerLookup(Protocol):
    """Says which layers a version of a function has."""

    def __call__(self, version: str) -> tuple[str, ...]:
        """Return ARNs of layer versions, none for a version that is gone."""


def cold_starts(log: str) -> tuple[float, ...]:
    """
    Return the milliseconds of each cold start that a line of *log* reports.

    Initialisations that failed or took too long have reports of another name, and do not count.
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
        # The function may log JSON of its own, whatever it looks like.
        return None
    return time


def logged(lines: Sequence[LoggedLine]) -> tuple[ObservedColdStart, ...]:
    """Return the cold starts that *lines* of a log report."""
    return tuple(
        ObservedColdStart(moment=line.moment, milliseconds=time, version=line.version)
        for line in lines
        for time in cold_starts(line.message)
    )


def traced(found: Sequence[ColdStart]) -> tuple[ObservedColdStart, ...]:
    """Return the cold starts that X-Ray saw; which version they were of, it does not say."""
    return tuple(ObservedColdStart(moment=each.began, milliseconds=each.milliseconds, version=None) for each in found)


def by_version(seen: Sequence[ObservedColdStart], layers: LayerLookup) -> tuple[Group, ...]:
    """Return a group for each version of the function, in the order in which they first appeared."""
    versions: dict[str, list[ObservedColdStart]] = {}
    for each in sorted(seen, key=lambda each: each.moment):
        versions.setdefault(each.version or "unknown", []).append(each)
    return tuple(_group(name, members, layers(name)) for name, members in versions.items())


def split(seen: Sequence[ObservedColdStart], moment: dt.datetime) -> tuple[Group, ...]:
    """Return the cold starts before *moment*, and those from then on, as far as there are any."""
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
