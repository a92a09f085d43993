"""Format the results: a table for people, and JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from benchmarks.values import Measure, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.study import Spread, Study, Verdict
    from benchmarks.values import Row

__all__ = ["report", "save", "table"]

_REFERENCE = "build-segments"


def table(rows: Sequence[Row | Unavailable], study: Study, verdicts: Sequence[Verdict]) -> str:
    """Return a text table of the rows and budgets, with the reasons for missing rows."""
    lines = [f"{'':52}{'median':>10}{'min':>10}{'max':>10}{'CPU':>10}{'memory':>9}{'n':>4}"]
    missing = []
    for row in rows:
        seconds = study.spread(row.name, lambda sample: sample.seconds)
        if isinstance(row, Unavailable) or seconds is None:
            reason = row.reason if isinstance(row, Unavailable) else study.failures.get(row.name, "not run")
            missing.append(f"{row.title}: {reason}")
            lines.append(f"{row.title:52}{'not available':>20}")
            continue
        cpu = study.spread(row.name, lambda sample: sample.cpu_seconds)
        peak = study.spread(row.name, lambda sample: sample.peak_bytes)
        if cpu is None or peak is None:
            raise RuntimeError(f"`{row.name}` has an incomplete sample")
        cells = [_time(seconds.median), _time(seconds.least), _time(seconds.greatest), _time(cpu.median)]
        count = len(study.samples[row.name])
        lines.append(
            f"{row.title:52}" + "".join(f"{cell:>10}" for cell in cells) + f"{_bytes(peak.greatest):>9}{count:>4}"
        )
    lines += _traffic(rows, study)
    lines += ["", f"{'budget':58}{'at most':>10}{'median':>10}{'min':>10}{'max':>10}  verdict"]
    lines += [_verdict(verdict) for verdict in verdicts]
    lines += [
        "",
        "Ratios compare runs of the same repeat. CPU is the sum of a row's processes; memory is the peak of the largest process.",
    ]
    lines += [f"not available: {reason}" for reason in missing]
    return "\n".join(lines)


def _traffic(rows: Sequence[Row | Unavailable], study: Study) -> Sequence[str]:
    """Return the lines about traffic over the slow line, from the latest repeat only, because bytes hardly differ between repeats."""
    lines = [
        f"{row.title:52}{_time(sample.seconds):>10}{_exact(traffic.sent_bytes):>12}{_exact(traffic.received_bytes):>12}"
        f"{traffic.requests:>10,}{'' if traffic.due_bytes is None else _exact(traffic.due_bytes):>12}"
        for row in rows
        for sample in list(study.samples.get(row.name, {}).values())[-1:]
        if (traffic := sample.traffic) is not None
    ]
    if not lines:
        return ()
    return [
        "",
        f"{'over the slow line':52}{'time':>10}{'sent':>12}{'received':>12}{'requests':>10}{'required':>12}",
        *lines,
    ]


def _verdict(verdict: Verdict) -> str:
    budget = verdict.budget
    beside = f" / {budget.against}" if budget.against else ""
    name = f"{budget.what}: {budget.row}{beside}"
    limit = _value(budget.at_most, budget.measure)
    if verdict.measured is None:
        return f"{name:58}{limit:>10}{'':30}  not measured"
    spread = verdict.measured
    cells = "".join(f"{_value(each, budget.measure):>10}" for each in (spread.median, spread.least, spread.greatest))
    word = "met" if verdict.met else "not reached (aim)" if budget.aim else "MISSED"
    return f"{name:58}{limit:>10}{cells}  {word}"


def _value(number: float, measure: Measure) -> str:
    match measure:
        case Measure.TIMES | Measure.CPU | Measure.SIZE | Measure.SENT | Measure.DUE:
            # A small fraction is easier to compare as its reciprocal.
            return f"1/{1 / number:.1f}" if number < 1 / 2 else f"{number:.2f}x"
        case Measure.SECONDS:
            return _time(number)
        case Measure.BYTES:
            return _bytes(number)
        case Measure.EXCESS:
            return _exact(number)
        case Measure.REQUESTS | Measure.LAMBDA_REQUESTS | Measure.CALLS:
            return f"{number:,.0f}"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _exact(number: float) -> str:
    return f"{number / 1000:,.1f} kB"


def _bytes(number: float) -> str:
    return f"{number / 1_000_000:.0f} MB"


def report(
    rows: Sequence[Row | Unavailable], study: Study, verdicts: Sequence[Verdict], facts: dict[str, object]
) -> dict[str, object]:
    """Return all results as JSON values in format version "1", in seconds and bytes."""
    return {
        "version": "1",
        "machine": {
            "system": platform.system(),
            "machine": platform.machine(),
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "load": os.getloadavg()[0],
        },
        **facts,
        "rows": [
            {
                "name": row.name,
                "title": row.title,
                "unavailable": row.reason if isinstance(row, Unavailable) else study.failures.get(row.name),
                "samples": [
                    {"repeat": turn, **asdict(sample)} for turn, sample in study.samples.get(row.name, {}).items()
                ],
            }
            for row in rows
        ],
        "budgets": [
            {
                "what": verdict.budget.what,
                "row": verdict.budget.row,
                "against": verdict.budget.against,
                "measure": verdict.budget.measure.value,
                "at_most": verdict.budget.at_most,
                "aim": verdict.budget.aim,
                "measured": _spread(verdict.measured),
                "met": verdict.met,
            }
            for verdict in verdicts
        ],
    }


def _spread(spread: Spread | None) -> dict[str, float] | None:
    return None if spread is None else asdict(spread)


def save(document: dict[str, object], path: Path) -> None:
    """Write *document* to *path* atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    temporary.replace(path)
    print(f"written: {path}", file=sys.stderr)
