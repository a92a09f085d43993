"""Percentiles of what real traffic had."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from lamina.aws.api.telemetry import ColdStart, LoggedLine
from lamina.coldstart.traffic import ObservedColdStart, Percentiles, by_version, logged, split, traced

_NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def _seen(minute: int, milliseconds: float, version: str | None = None) -> ObservedColdStart:
    return ObservedColdStart(moment=_NOON + dt.timedelta(minutes=minute), milliseconds=milliseconds, version=version)


def test_percentiles() -> None:
    """Each percentile is a time that was seen, the nearest in rank."""
    found = Percentiles.of(float(number) for number in range(1, 101))

    assert Percentiles(count=100, p50=50.0, p90=90.0, p99=99.0, greatest=100.0) == found


@given(st.lists(st.floats(min_value=0, max_value=1e5), min_size=1))
def test_order(times: list[float]) -> None:
    """Percentiles are in their order, and among the times."""
    found = Percentiles.of(times)

    assert found.p50 <= found.p90 <= found.p99 <= found.greatest
    assert {found.p50, found.p90, found.p99, found.greatest} <= set(times)


def test_by_version() -> None:
    """Versions come in the order in which they appeared, each with its layers."""
    layers = {"7": ("common:4",), "8": ("common:5",)}
    groups = by_version(
        [_seen(3, 90, "8"), _seen(1, 100, "7"), _seen(2, 120, "7"), _seen(4, 80)],
        lambda version: layers.get(version, ()),
    )

    assert [("7", ("common:4",), 2), ("8", ("common:5",), 1), ("unknown", (), 1)] == [
        (group.name, group.layers, group.percentiles.count) for group in groups
    ]


def test_split() -> None:
    """What begins at the moment is after it; a side without cold starts is left out."""
    assert [("before", 1), ("after", 2)] == [
        (group.name, group.percentiles.count) for group in split([_seen(-1, 1), _seen(0, 2), _seen(1, 3)], _NOON)
    ]
    assert ["after"] == [group.name for group in split([_seen(0, 2)], _NOON)]


def test_lines() -> None:
    """Of lines of a log those that report a cold start count, in either format."""
    text = "REPORT RequestId: a\tDuration: 1 ms\tInit Duration: 100.5 ms\t"
    document = '{"type": "platform.report", "record": {"requestId": "b", "metrics": {"durationMs": 1, "restoreDurationMs": 9}}}'
    lines = [
        LoggedLine(moment=_NOON, message=message, version="7") for message in (text, document, "Init Duration: 5 ms")
    ]

    assert [100.5, 9] == [each.milliseconds for each in logged(lines)]


def test_traces() -> None:
    """X-Ray does not say which version it was."""
    found = traced([ColdStart(trace_id="1-a", kind="init", began=_NOON, milliseconds=12.0)])

    assert (ObservedColdStart(moment=_NOON, milliseconds=12.0, version=None),) == found
