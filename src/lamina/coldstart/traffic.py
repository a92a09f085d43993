"""Add up cold starts that real traffic had: percentiles by version of the function, or before and after a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lamina.coldstart.reports import parse

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from lamina.aws.api.telemetry import ColdStart, LoggedLine

__all__ = ["Group", "LayerLookup", "ObservedColdStart", "Percentiles", "by_version", "logged", "split", "traced"]


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


def logged(lines: Sequence[LoggedLine]) -> tuple[ObservedColdStart, ...]:
    """Return the cold starts that *lines* of a log report."""
    return tuple(
        ObservedColdStart(moment=line.moment, milliseconds=report.cold_ms, version=line.version)
        for line in lines
        for report in parse(line.message)
        if report.cold_ms is not None
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
