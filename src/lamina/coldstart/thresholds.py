"""
Check measured times against a budget or a baseline. An exceeded limit raises no exception; the `Verdict` contains the result.

A baseline is compared by CPU time, which other programs on the machine hardly affect. If the system does not report CPU times, or the
baseline lacks them, the total times are compared.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.core.errors import ConfigError
from lamina.core.faults import exhausted
from lamina.core.files import read_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from lamina.coldstart.measure import Measurement
    from lamina.core.values import Build

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


class FunctionPackaging(NamedTuple):
    """The distributions that one function has, in each of its layers and in its zip."""

    layers: frozenset[frozenset[str]]
    zipped: frozenset[str]

    @classmethod
    def of(cls, *, layers: Iterable[Iterable[str]], zipped: Iterable[Iterable[str]]) -> FunctionPackaging:
        """Return the packaging with the sets of names in *layers* and in the zip. Layers without distributions do not count."""
        return cls(
            layers=frozenset(frozenset(each) for each in layers) - {frozenset()},
            zipped=frozenset[str]().union(*zipped),
        )


def packages_of(build: Build) -> dict[str, FunctionPackaging]:
    """Return how each function of *build* gets its distributions, by its name."""
    held = {layer.name: [each.name for each in layer.distributions] for layer in build.layers}
    return {
        each.name: FunctionPackaging.of(
            layers=(held[name] for name in each.layers), zipped=[[share.name for share in each.distributions]]
        )
        for each in build.packages
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """The conditions and results of an earlier measurement: the medians of each function."""

    circumstances: Circumstances
    functions: tuple[tuple[str, Medians], ...]
    packages: Mapping[str, FunctionPackaging] | None = None
    """How each function got its distributions; ``None`` for a file of an earlier lamina, which does not say so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Medians:
    """The medians of one function in milliseconds."""

    total_ms: float
    cpu_ms: float | None = None
    """The CPU time; ``None`` if it is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The result of checking one function against one limit."""

    rule: str
    """The kind of limit: ``budget`` or ``regression``."""
    function: str
    limit_ms: float
    measured_ms: float | None
    """The function's median time; ``None`` if it did not start."""
    clock: str = "total"
    """The compared time: ``total``, or ``cpu`` for the CPU time."""

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
    """Check each function: its median total time must be at most *budget_ms*."""
    return tuple(
        Verdict(rule="budget", function=each.subject.function, limit_ms=budget_ms, measured_ms=_total(each))
        for each in measurements
    )


def judge_regression(measurements: Sequence[Measurement], baseline: Baseline, percent: float) -> tuple[Verdict, ...]:
    """
    Check each function: its median CPU time must exceed its median in *baseline* by at most *percent* percent.

    Total times are compared if one of the CPU times is unknown. Functions that *baseline* does not contain are skipped.
    """
    before = dict(baseline.functions)
    allowed = 1 + percent / 100
    return tuple(
        _regression(each, before[each.subject.function], allowed)
        for each in measurements
        if each.subject.function in before
    )


def only_slower_by_waiting(
    measurements: Sequence[Measurement], baseline: Baseline, percent: float
) -> tuple[tuple[str, float, float], ...]:
    """
    Return the functions whose CPU time is within *percent* of *baseline*, but whose total time is not, with both total times.

    The machine was busy, or the functions wait longer, for example for the network.
    """
    before = dict(baseline.functions)
    by_cpu = {
        each.function for each in judge_regression(measurements, baseline, percent) if each.ok and each.clock == "cpu"
    }
    totals = {each.subject.function: _total(each) for each in measurements if each.subject.function in by_cpu}
    return tuple(
        (name, before[name].total_ms, total)
        for name, total in totals.items()
        if total is not None and total > before[name].total_ms * (1 + percent / 100)
    )


def _regression(measurement: Measurement, before: Medians, allowed: float) -> Verdict:
    function, cpu = measurement.subject.function, measurement.cpu_ms
    if before.cpu_ms is not None and cpu is not None and measurement.failure is None:
        return Verdict(
            rule="regression",
            function=function,
            limit_ms=before.cpu_ms * allowed,
            measured_ms=cpu.median,
            clock="cpu",
        )
    return Verdict(
        rule="regression", function=function, limit_ms=before.total_ms * allowed, measured_ms=_total(measurement)
    )


def write(
    path: Path, measurements: Sequence[Measurement], now: Circumstances, packages: Mapping[str, FunctionPackaging]
) -> None:
    """
    Write the medians of each function to *path* as a baseline, with the packaging of each, from *packages*.

    Functions that did not start are left out.
    """
    functions: dict[str, dict[str, float]] = {}
    for each in measurements:
        if (total := _total(each)) is not None:
            row = functions.setdefault(each.subject.function, {"median_ms": round(total, 3)})
            if each.cpu_ms is not None:
                row["cpu_median_ms"] = round(each.cpu_ms.median, 3)
    same: dict[FunctionPackaging, list[str]] = {}
    for name in sorted(functions):
        same.setdefault(packages[name], []).append(name)
    document = {
        "version": _VERSION,
        "circumstances": asdict(now),
        "functions": {name: functions[name] for name in sorted(functions)},
        "packagings": [
            {"functions": names, "layers": sorted(map(sorted, each.layers)), "zip": sorted(each.zipped)}
            for each, names in same.items()
        ],
    }
    replace_file(path, json.dumps(document, indent=2).encode() + b"\n")


def read(path: Path) -> Baseline:
    """Read the baseline file *path*. Raises `ConfigError` if it is unreadable, or is not a baseline of the current format version."""
    try:
        return _baseline(json.loads(read_file(path)))
    except OSError as error:
        raise exhausted(error) or ConfigError(
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
        functions=tuple((name, _medians(row)) for name, row in document["functions"].items()),
        packages={
            str(name): FunctionPackaging.of(layers=row["layers"], zipped=[row["zip"]])
            for row in document["packagings"]
            for name in row["functions"]
        }
        if "packagings" in document
        else None,
    )


def _medians(row: dict[str, Any]) -> Medians:
    cpu = row.get("cpu_median_ms")
    return Medians(total_ms=float(row["median_ms"]), cpu_ms=float(cpu) if cpu is not None else None)


def _total(measurement: Measurement) -> float | None:
    total = measurement.total_ms
    return None if total is None or measurement.failure is not None else total.median
