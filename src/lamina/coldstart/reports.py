"""
Read what Lambda writes about initialisations into a function's log, in either format. Pure: text in, values out.

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html (``INIT_REPORT``, ``RESTORE_REPORT``),
https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html (``REPORT``), and for the JSON format
https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html (2026-11-23).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

__all__ = ["Kind", "Report", "parse"]


class Kind(StrEnum):
    """What a report is about."""

    INVOCATION = "invocation"
    INIT = "init"
    """An initialisation that failed or took too long."""
    RESTORE = "restore"
    """A restore from a snapshot that failed or took too long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One report; times in milliseconds, ``None`` for what it does not say."""

    kind: Kind
    request_id: str | None = None
    duration_ms: float | None = None
    billed_ms: float | None = None
    memory_mb: int | None = None
    max_memory_mb: int | None = None
    init_ms: float | None = None
    """Of a cold start without snapshot."""
    restore_ms: float | None = None
    """Of a cold start from a snapshot (SnapStart)."""
    billed_restore_ms: float | None = None
    phase: str | None = None
    status: str | None = None
    """``success`` where the report leaves it out in the text format."""
    error_type: str | None = None
    trace_id: str | None = None

    @property
    def cold_ms(self) -> float | None:
        """What the cold start took, if it was one and did not fail."""
        if self.kind is not Kind.INVOCATION:
            return None
        return self.restore_ms if self.restore_ms is not None else self.init_ms


# Fields are separated by tabs, in some places by one space; values never hold the name of another field.
_NUMBER = r"{name}:\s*([0-9.]+)\s*(?:ms|MB)"
_WORD = r"{name}:\s*(\S+)"
_TEXT_KINDS = {"REPORT": Kind.INVOCATION, "INIT_REPORT": Kind.INIT, "RESTORE_REPORT": Kind.RESTORE}
_JSON_KINDS = {
    "platform.report": Kind.INVOCATION,
    "platform.initReport": Kind.INIT,
    "platform.restoreReport": Kind.RESTORE,
}
_BEGINNING = re.compile(r"(REPORT|INIT_REPORT|RESTORE_REPORT)\s")


def parse(log: str) -> tuple[Report, ...]:
    """Return the reports among the lines of *log*; what is none, such as the function's own output, is passed over."""
    found: list[Report] = []
    for line in log.splitlines():
        beginning = _BEGINNING.match(line)
        if beginning is not None:
            found.append(_from_text(_TEXT_KINDS[beginning[1]], line))
        elif line.startswith("XRAY TraceId:") and found:
            found[-1] = replace(found[-1], trace_id=_word(line, "XRAY TraceId"))
        elif line.startswith("{"):
            report = _from_json(line)
            if report is not None:
                found.append(report)
    return tuple(found)


def _from_text(kind: Kind, line: str) -> Report:
    # "Duration" ends the names of other fields, so it counts only where a separator is before it.
    return Report(
        kind=kind,
        request_id=_word(line, "RequestId"),
        duration_ms=_number(line, r"(?<![A-Za-z] )Duration"),
        billed_ms=_number(line, "Billed Duration"),
        memory_mb=_integer(line, "Memory Size"),
        max_memory_mb=_integer(line, "Max Memory Used"),
        init_ms=_number(line, "Init Duration"),
        restore_ms=_number(line, r"(?<!Billed )Restore Duration"),
        billed_restore_ms=_number(line, "Billed Restore Duration"),
        phase=_word(line, "Phase"),
        status=_word(line, "Status") or "success",
        error_type=_word(line, "Error Type"),
        trace_id=_word(line, "XRAY TraceId"),
    )


def _number(line: str, name: str) -> float | None:
    found = re.search(_NUMBER.replace("{name}", name), line)
    return None if found is None else float(found[1])


def _integer(line: str, name: str) -> int | None:
    found = _number(line, name)
    return None if found is None else int(found)


def _word(line: str, name: str) -> str | None:
    found = re.search(_WORD.replace("{name}", name), line)
    return None if found is None else found[1]


def _from_json(line: str) -> Report | None:
    try:
        event: Any = json.loads(line)
        kind = _JSON_KINDS[event["type"]]
        record = event["record"]
        metrics = record.get("metrics", {})
        duration = metrics.get("durationMs")
        tracing = record.get("tracing") or {}
        return Report(
            kind=kind,
            request_id=record.get("requestId"),
            duration_ms=duration if kind is Kind.INVOCATION else None,
            billed_ms=metrics.get("billedDurationMs"),
            memory_mb=metrics.get("memorySizeMB"),
            max_memory_mb=metrics.get("maxMemoryUsedMB"),
            init_ms=metrics.get("initDurationMs")
            if kind is Kind.INVOCATION
            else duration
            if kind is Kind.INIT
            else None,
            restore_ms=duration if kind is Kind.RESTORE else metrics.get("restoreDurationMs"),
            billed_restore_ms=metrics.get("billedRestoreDurationMs"),
            phase=record.get("phase"),
            status=record.get("status"),
            error_type=record.get("errorType"),
            trace_id=_root(tracing.get("value")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        # The function may log JSON of its own, whatever it looks like.
        return None


def _root(header: str | None) -> str | None:
    found = re.match(r"Root=([^;]+)", header or "")
    return None if found is None else found[1]
