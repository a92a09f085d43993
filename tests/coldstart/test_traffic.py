"""Tests of reading cold starts from logs in both of Lambda's formats, and of their percentiles."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.aws.api.telemetry import ColdStart, LoggedLine
from lamina.coldstart.traffic import ObservedColdStart, Percentiles, by_version, cold_starts, logged, split, traced

_REQUEST = "8286a188-ba32-4475-8077-530cd35c09a9"
_REPORT = f"REPORT RequestId: {_REQUEST}\tDuration: 5.62 ms\tBilled Duration: 250 ms\tMemory Size: 128 MB\tMax Memory Used: 56 MB\t"
_NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def _seen(minute: int, milliseconds: float, version: str | None = None) -> ObservedColdStart:
    return ObservedColdStart(moment=_NOON + dt.timedelta(minutes=minute), milliseconds=milliseconds, version=version)


def test_percentiles() -> None:
    """Each percentile is one of the measured times, by the nearest-rank method."""
    found = Percentiles.of(float(number) for number in range(1, 101))

    assert Percentiles(count=100, p50=50.0, p90=90.0, p99=99.0, greatest=100.0) == found


@given(st.lists(st.floats(min_value=0, max_value=1e5), min_size=1))
def test_order(times: list[float]) -> None:
    """Percentiles are in ascending order, and each is one of the times."""
    found = Percentiles.of(times)

    assert found.p50 <= found.p90 <= found.p99 <= found.greatest
    assert {found.p50, found.p90, found.p99, found.greatest} <= set(times)


def test_by_version() -> None:
    """Groups are in the order in which the versions first appeared, each with its layers."""
    layers = {"7": ("common:4",), "8": ("common:5",)}
    groups = by_version(
        [_seen(3, 90, "8"), _seen(1, 100, "7"), _seen(2, 120, "7"), _seen(4, 80)],
        lambda version: layers.get(version, ()),
    )

    assert [("7", ("common:4",), 2), ("8", ("common:5",), 1), ("unknown", (), 1)] == [
        (group.name, group.layers, group.percentiles.count) for group in groups
    ]


def test_split() -> None:
    """A cold start at the moment itself counts as after it, and an empty group is left out."""
    assert [("before", 1), ("after", 2)] == [
        (group.name, group.percentiles.count) for group in split([_seen(-1, 1), _seen(0, 2), _seen(1, 3)], _NOON)
    ]
    assert ["after"] == [group.name for group in split([_seen(0, 2)], _NOON)]


def _json(kind: str, **record: object) -> str:
    return json.dumps({"time": "2026-11-23T05:43:28.000Z", "type": kind, "record": record})


def test_cold_start() -> None:
    """A cold start is found by the init duration in its REPORT line."""
    log = (
        f"START RequestId: {_REQUEST} Version: 7\nhello\nEND RequestId: {_REQUEST}\n{_REPORT}Init Duration: 243.93 ms\t\n"
        "XRAY TraceId: 1-5e34a614-10bdxxx0f3d5f4c3f0f1\tSegmentId: 07f5a3c4\tSampled: true\t\n"
    )

    assert (243.93,) == cold_starts(log)


def test_warm_start() -> None:
    """A REPORT line without an init duration is not a cold start."""
    assert () == cold_starts(_REPORT)


def test_snapstart() -> None:
    """With SnapStart, the cold start's duration is the restore duration, not the billed one."""
    assert (839.83,) == cold_starts(f"{_REPORT}Restore Duration: 839.83 ms\tBilled Restore Duration: 76 ms\t")
    assert (839.83,) == cold_starts(f"{_REPORT}Billed Restore Duration: 76 ms\tRestore Duration: 839.83 ms\t")


@pytest.mark.parametrize("separator", ["\t", " "])
def test_failed_initialisation(separator: str) -> None:
    """A failed initialisation is not counted as a cold start."""
    fields = ("INIT_REPORT Init Duration: 1236.04 ms", "Phase: init", "Status: error", "Error Type: Runtime.ExitError")

    assert () == cold_starts(separator.join(fields))


def test_timeouts() -> None:
    """An initialisation or a restore that timed out is not counted as a cold start."""
    assert () == cold_starts(
        "INIT_REPORT Init Duration: 9998.42 ms\tPhase: init\tStatus: timeout\n"
        "RESTORE_REPORT Restore Duration: 10000.81 ms\tStatus: timeout\n"
    )


def test_json() -> None:
    """Cold starts are found in the JSON format too."""
    metrics = {
        "billedDurationMs": 250,
        "durationMs": 5.62,
        "initDurationMs": 243.93,
        "maxMemoryUsedMB": 56,
        "memorySizeMB": 128,
    }
    tracing = {"spanId": "0a1b", "type": "X-Amzn-Trace-Id", "value": "Root=1-5e34a614-10bd;Parent=0a1b;Sampled=1"}
    line = _json("platform.report", requestId=_REQUEST, metrics=metrics, tracing=tracing, status="success")

    assert (243.93,) == cold_starts(line)
    del metrics["initDurationMs"]
    assert () == cold_starts(_json("platform.report", requestId=_REQUEST, metrics=metrics, status="success"))


def test_json_of_failures() -> None:
    """Failed initialisations and restores in the JSON format are not counted as cold starts."""
    init = {"phase": "init", "status": "error", "errorType": "Runtime.ExitError", "metrics": {"durationMs": 125.33}}
    restore = {"status": "failure", "errorType": "Extension.Crash", "metrics": {"durationMs": 19.87}}

    assert () == cold_starts(f"{_json('platform.initReport', **init)}\n{_json('platform.restoreReport', **restore)}")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "REPORTED",
        '{"type": "platform.start", "record": {}}',
        '{"type": 1}',
        "{",
        "[1]",
        '{"type": "platform.report"}',
    ],
)
def test_everything_else(line: str) -> None:
    """Lines that the function itself writes are ignored."""
    assert () == cold_starts(line)


def test_lines() -> None:
    """Log lines that report a cold start are returned, in either format."""
    text = "REPORT RequestId: a\tDuration: 1 ms\tInit Duration: 100.5 ms\t"
    document = '{"type": "platform.report", "record": {"requestId": "b", "metrics": {"durationMs": 1, "restoreDurationMs": 9}}}'
    lines = [
        LoggedLine(moment=_NOON, message=message, version="7") for message in (text, document, "Init Duration: 5 ms")
    ]

    assert [100.5, 9] == [each.milliseconds for each in logged(lines)]


def test_traces() -> None:
    """Cold starts from X-Ray have no version."""
    found = traced([ColdStart(trace_id="1-a", kind="init", began=_NOON, milliseconds=12.0)])

    assert (ObservedColdStart(moment=_NOON, milliseconds=12.0, version=None),) == found
