"""Check measured times against a budget or a baseline. An exceeded limit raises no exception; the `Verdict` contains the result."""

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
    """The conditions of a measurement; measurements are comparable only if these are equal."""

    system: str
    machine: str
    processors: int
    runtime: str
    cpu_share: float | None
    """The CPU limit as a share of one CPU; ``None`` without a limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """The conditions and results of an earlier measurement: each function's median in milliseconds."""

    circumstances: Circumstances
    functions: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The result of checking one function against one limit."""

    rule: str
    """The kind of limit: ``budget`` or ``regression``."""
    function: str
    limit_ms: float
    measured_ms: float | None
    """The function's median time; ``None`` if it did not start."""

    @property
    def ok(self) -> bool:
        """Whether the median is within the limit; ``False`` if the function did not start."""
        return self.measured_ms is not None and self.measured_ms <= self.limit_ms


def circumstances(runtime: str, cpu_share: float | None) -> Circumstances:
    """Return the conditions of a measurement on this machine with *runtime* and *cpu_share*."""
    return Circumstances(
        system=platform.system(),
        machine=platform.machine(),
        processors=os.cpu_count() or 1,
        runtime=runtime,
        cpu_share=cpu_share,
    )


def judge_budget(measurements: Sequence[Measurement], budget_ms: float) -> tuple[Verdict, ...]:
    """Check each function: its median time must be at most *budget_ms*."""
    return tuple(_verdict("budget", each, budget_ms) for each in measurements)


def judge_regression(measurements: Sequence[Measurement], baseline: Baseline, percent: float) -> tuple[Verdict, ...]:
    """
    Check each function: its median time must exceed its median in *baseline* by at most *percent* percent.

    Functions that *baseline* does not contain are skipped.
    """
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
    """Write the median time of each function to *path* as a baseline. Functions that did not start are left out."""
    functions = {each.subject.function: median for each in measurements if (median := _median(each)) is not None}
    document = {
        "version": _VERSION,
        "circumstances": asdict(now),
        "functions": {name: {"median_ms": round(functions[name], 3)} for name in sorted(functions)},
    }
    replace_file(path, json.dumps(document, indent=2).encode() + b"\n")


def read(path: Path) -> Baseline:
    """Read the baseline file *path*. Raises `ConfigError` if it is unreadable, or is not a baseline of the current format version."""
    try:
        return _baseline(json.loads(path.read_bytes()))
    except OSError as error:
        raise ConfigError(
            f"failed to read the baseline `{path}`: {error.strerror}",
            hint=f"write it: `lamina coldstart --baseline {path} --write-baseline`",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"`{path}` is not a baseline file of format version {_VERSION}",
            hint=f"replace it with a new baseline: `lamina coldstart --baseline {path} --write-baseline`",
        ) from error


def _baseline(document: Any) -> Baseline:
    if document["version"] != _VERSION:
        raise ValueError(f"unsupported format version {document['version']!r}")
    return Baseline(
        circumstances=Circumstances(**document["circumstances"]),
        functions=tuple((name, float(row["median_ms"])) for name, row in document["functions"].items()),
    )


def _median(measurement: Measurement) -> float | None:
    total = measurement.total_ms
    return None if total is None or measurement.failure is not None else total.median
