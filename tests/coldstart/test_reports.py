"""What Lambda writes about initialisations, in both formats, as its documentation shows it."""

from __future__ import annotations

import json

import pytest

from lamina.coldstart.reports import Kind, Report, parse

_REQUEST = "8286a188-ba32-4475-8077-530cd35c09a9"
_REPORT = f"REPORT RequestId: {_REQUEST}\tDuration: 5.62 ms\tBilled Duration: 250 ms\tMemory Size: 128 MB\tMax Memory Used: 56 MB\t"


def _json(kind: str, **record: object) -> str:
    return json.dumps({"time": "2026-11-23T05:43:28.000Z", "type": kind, "record": record})


def test_cold_start() -> None:
    """A cold start has an init duration, and the trace's line belongs to it."""
    log = (
        f"START RequestId: {_REQUEST} Version: 7\nhello\nEND RequestId: {_REQUEST}\n{_REPORT}Init Duration: 243.93 ms\t\n"
        "XRAY TraceId: 1-5e34a614-10bdxxx0f3d5f4c3f0f1\tSegmentId: 07f5a3c4\tSampled: true\t\n"
    )
    expected = Report(
        kind=Kind.INVOCATION,
        request_id=_REQUEST,
        duration_ms=5.62,
        billed_ms=250.0,
        memory_mb=128,
        max_memory_mb=56,
        init_ms=243.93,
        status="success",
        trace_id="1-5e34a614-10bdxxx0f3d5f4c3f0f1",
    )

    assert (expected,) == parse(log)
    assert 243.93 == expected.cold_ms


def test_warm_start() -> None:
    """A warm start is a report without a cold time."""
    [report] = parse(_REPORT)

    assert (5.62, None) == (report.duration_ms, report.cold_ms)


def test_snapstart() -> None:
    """From a snapshot, the restore is the cold start."""
    [report] = parse(f"{_REPORT}Restore Duration: 839.83 ms\tBilled Restore Duration: 76 ms\t")

    assert (839.83, 839.83, 76.0, None) == (
        report.cold_ms,
        report.restore_ms,
        report.billed_restore_ms,
        report.init_ms,
    )
    assert (5.62, 250.0) == (report.duration_ms, report.billed_ms)


@pytest.mark.parametrize("separator", ["\t", " "])
def test_failed_initialisation(separator: str) -> None:
    """A failed initialisation says in which phase and why; it is no cold start that counts."""
    fields = ("INIT_REPORT Init Duration: 1236.04 ms", "Phase: init", "Status: error", "Error Type: Runtime.ExitError")
    [report] = parse(separator.join(fields))

    assert (
        Report(kind=Kind.INIT, init_ms=1236.04, phase="init", status="error", error_type="Runtime.ExitError") == report
    )
    assert report.cold_ms is None


def test_timeouts() -> None:
    """An initialisation or a restore that took too long has that status."""
    init, restore = parse(
        "INIT_REPORT Init Duration: 9998.42 ms\tPhase: init\tStatus: timeout\n"
        "RESTORE_REPORT Restore Duration: 10000.81 ms\tStatus: timeout\n"
    )

    assert (Kind.INIT, 9998.42, "timeout") == (init.kind, init.init_ms, init.status)
    assert (Kind.RESTORE, 10000.81, "timeout", None) == (
        restore.kind,
        restore.restore_ms,
        restore.status,
        restore.cold_ms,
    )


def test_json() -> None:
    """The JSON format says the same."""
    metrics = {
        "billedDurationMs": 250,
        "durationMs": 5.62,
        "initDurationMs": 243.93,
        "maxMemoryUsedMB": 56,
        "memorySizeMB": 128,
    }
    tracing = {"spanId": "0a1b", "type": "X-Amzn-Trace-Id", "value": "Root=1-5e34a614-10bd;Parent=0a1b;Sampled=1"}
    line = _json("platform.report", requestId=_REQUEST, metrics=metrics, tracing=tracing, status="success")
    [report] = parse(line)

    expected = parse(f"{_REPORT}Init Duration: 243.93 ms\t\nXRAY TraceId: 1-5e34a614-10bd\t\n")
    assert expected == (report,)


def test_json_of_failures() -> None:
    """Failed initialisations and restores have reports of their own."""
    init, restore = parse(
        _json(
            "platform.initReport",
            initializationType="on-demand",
            phase="init",
            status="error",
            errorType="Runtime.ExitError",
            metrics={"durationMs": 125.33},
        )
        + "\n"
        + _json("platform.restoreReport", status="failure", errorType="Extension.Crash", metrics={"durationMs": 19.87})
    )

    assert (Kind.INIT, 125.33, "init", "Runtime.ExitError") == (init.kind, init.init_ms, init.phase, init.error_type)
    assert (Kind.RESTORE, 19.87, None) == (restore.kind, restore.restore_ms, restore.cold_ms)


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
    """What the function itself writes is never taken for a report."""
    assert () == parse(line)
