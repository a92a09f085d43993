"""Judge measured times against a budget and a baseline. Returns verdicts, never raises for a slow function."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lamina.core.errors import ConfigError
from lamina.core.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lamina.coldstart.measure import Measurement

_VERSION = "1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Circumstances:
    """What decides whether two measurements may be compared."""

    system: str
    machine: str
    processors: int
    runtime: str
    cpu_share: float | None
    """Of one processor; ``None`` without a limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """Medians of an earlier measurement, in milliseconds, by function."""

    circumstances: Circumstances
    functions: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether one function keeps one limit."""

    rule: str
    """``budget`` or ``regression``."""
    function: str
    limit_ms: float
    measured_ms: float | None
    """The median; ``None`` where the function could not be initialised."""

    @property
    def ok(self) -> bool:
        """Whether the limit is kept; a function that cannot start keeps none."""
        return self.measured_ms is not None and self.measured_ms <= self.limit_ms


def circumstances(runtime: str, cpu_share: float | None) -> Circumstances:
    """Return those of this machine."""
    return Circumstances(
        system=platform.system(),
        machine=platform.machine(),
        processors=os.cpu_count() or 1,
        runtime=runtime,
        cpu_share=cpu_share,
    )


def judge_budget(measurements: Sequence[Measurement], budget_ms: float) -> tuple[Verdict, ...]:
    """Return whether each median is at most *budget_ms*."""
    return tuple(_verdict("budget", each, budget_ms) for each in measurements)


def judge_regression(measurements: Sequence[Measurement], baseline: Baseline, percent: float) -> tuple[Verdict, ...]:
    """Return whether each median is at most *percent* above the baseline's; functions that it does not know are passed over."""
    before = dict(baseline.functions)
    return tuple(
        _verdict("regression", each, before[each.subject.function] * (1 + percent / 100))
        for each in measurements
        if each.subject.function in before
    )


def _verdict(rule: str, measurement: Measurement, limit_ms: float) -> Verdict:
    function = measurement.subject.function
    return Verdict(rule=rule, function=function, limit_ms=limit_ms, measured_ms=_median(measurement))


def write(path: Path, measurements: Sequence[Measurement], now: Circumstances) -> None:
    """Write the medians of *measurements* as a baseline; functions that could not start are left out."""
    functions = {each.subject.function: median for each in measurements if (median := _median(each)) is not None}
    document = {
        "version": _VERSION,
        "circumstances": asdict(now),
        "functions": {name: {"median_ms": round(functions[name], 3)} for name in sorted(functions)},
    }
    replace_file(path, json.dumps(document, indent=2).encode() + b"\n")


def read(path: Path) -> Baseline:
    """Return the baseline in *path*; raises ConfigError if there is none."""
    try:
        return _baseline(json.loads(path.read_bytes()))
    except OSError as error:
        raise ConfigError(
            f"The baseline `{path}` cannot be read: {error.strerror}",
            hint="write it first: lamina coldstart --baseline FILE --write-baseline",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"`{path}` is no baseline of version {_VERSION}",
            hint="write it anew: lamina coldstart --baseline FILE --write-baseline",
        ) from error


def _baseline(document: Any) -> Baseline:
    if document["version"] != _VERSION:
        raise ValueError(f"version {document['version']!r}")
    return Baseline(
        circumstances=Circumstances(**document["circumstances"]),
        functions=tuple((name, float(row["median_ms"])) for name, row in document["functions"].items()),
    )


def _median(measurement: Measurement) -> float | None:
    total = measurement.total_ms
    return None if total is None or measurement.failure is not None else total.median
