"""Collect the results of a measurement in one `Study`: times, comparisons with variants, and checks of limits. Convert it to JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lamina.coldstart.attribution import modules, shares
from lamina.coldstart.quantiles import Difference, Quartiles
from lamina.coldstart.variants import needed_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.coldstart.attribution import ModuleShare, OwnerTime
    from lamina.coldstart.measure import Measurement
    from lamina.coldstart.thresholds import Circumstances, Verdict
    from lamina.coldstart.trace import File

VERSION = "1"
BANNER = "Measured on this machine; use the times for comparison only. Times in Lambda differ, and include downloading the code."


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The comparison of one function in the current build with one of its variants."""

    function: str
    variant: str
    difference: Difference | None
    """The time of the current build minus the variant's, in milliseconds; ``None`` if one of the two did not start."""
    cpu: Difference | None = None
    """The same difference in CPU time, in milliseconds; ``None`` also if the system does not report CPU times."""
    needed_by: tuple[str, ...] = ()
    """The imports that led to a missing module, outermost first, if the variant did not start because of it; otherwise empty."""
    stood_in: bool = False
    """Whether the variant was measured with empty modules in place of the missing ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """All results of one measurement, and the conditions of the measurement."""

    service: str
    target: str
    built: str | None
    """When the measured zips were built, in UTC and ISO 8601; ``None`` if it is not recorded."""
    circumstances: Circumstances
    repeat: int
    seed: int
    measurements: tuple[Measurement, ...]
    comparisons: tuple[Comparison, ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all functions of the current build started, and no limit is exceeded."""
        return all(verdict.ok for verdict in self.verdicts) and all(each.failure is None for each in self.base)

    @property
    def base(self) -> tuple[Measurement, ...]:
        """The measurements of the functions in the current build; variants are left out."""
        return tuple(each for each in self.measurements if not each.subject.variant)


def compare(measurements: Sequence[Measurement]) -> tuple[Comparison, ...]:
    """Compare the variants in *measurements*, in this order, with the same functions in the current build."""
    base = {each.subject.function: each for each in measurements if not each.subject.variant}
    return tuple(
        _comparison(each, base[each.subject.function])
        for each in measurements
        if each.subject.variant and each.subject.function in base
    )


def _comparison(other: Measurement, base: Measurement) -> Comparison:
    comparable = other.failure is None and base.failure is None
    told = comparable and bool(other.cpu_times) and bool(base.cpu_times)
    return Comparison(
        function=other.subject.function,
        variant=other.subject.variant,
        difference=Difference.between(other.times, base.times) if comparable else None,
        cpu=Difference.between(other.cpu_times, base.cpu_times) if told else None,
        needed_by=needed_by(other),
        stood_in=other.stood_in and other.failure is None,
    )


def document(study: Study) -> dict[str, object]:
    """Convert *study* to the plain values of a JSON document of version "1", with times in milliseconds and sizes in bytes."""
    return {
        "version": VERSION,
        "kind": "local",
        "note": BANNER,
        "service": study.service,
        "target": study.target,
        "built": study.built,
        "circumstances": asdict(study.circumstances),
        "repeat": study.repeat,
        "seed": study.seed,
        "functions": [_measurement(each) for each in study.measurements],
        "comparisons": [
            {
                "function": each.function,
                "variant": each.variant,
                "difference_ms": None if each.difference is None else _rounded(asdict(each.difference)),
                "cpu_difference_ms": None if each.cpu is None else _rounded(asdict(each.cpu)),
                "needed_by": list(each.needed_by),
                "stood_in": each.stood_in,
            }
            for each in study.comparisons
        ],
        "verdicts": [_rounded(asdict(each)) | {"ok": each.ok} for each in study.verdicts],
        "ok": study.ok,
    }


def _measurement(measurement: Measurement) -> dict[str, object]:
    traces, owners = measurement.traces, measurement.subject.owners
    return {
        "name": measurement.subject.function,
        "variant": measurement.subject.variant or None,
        "mode": measurement.mode.value if measurement.mode is not None else None,
        "failure": measurement.failure,
        "total_ms": _quartiles(measurement.total_ms),
        "cpu_ms": _quartiles(measurement.cpu_ms),
        "samples_ms": [round(time, 3) for time in measurement.times],
        "traced_ms": _quartiles(Quartiles.of(measurement.traced_times) if measurement.traced_times else None),
        "memory_bytes": measurement.memory_bytes,
        "compiled": [_path(file) for file in traces[-1].compiled] if traces else [],
        "read_bytes": sum(size for _, size in traces[-1].files) if traces else 0,
        "distributions": [_share(each) for each in shares(traces, owners)] if traces else [],
        "modules": [_module(each) for each in modules(traces, owners)] if traces else [],
        "imports": _imports(measurement) if traces else [],
    }


def _imports(measurement: Measurement) -> list[dict[str, object]]:
    """Return the imports of the run with the tracer whose total import time is the median, in the order in which they started."""
    traces = sorted(measurement.traces, key=lambda trace: trace.outermost_ns)
    typical = traces[(len(traces) - 1) // 2]
    compiled = set(typical.compiled)
    rows: list[dict[str, object]] = []
    for each in typical.imports:
        owner = measurement.subject.owners.of(each.file)
        rows.append(
            {
                "name": each.module,
                "parent": each.parent,
                "own_ms": round(each.self_ns / 1e6, 3),
                "distribution": owner.name or None,
                "place": owner.place.value,
                "compiled": each.file in compiled,
                "failed": not each.ok,
            }
        )
    return rows


def _share(share: OwnerTime) -> dict[str, object]:
    return {
        "name": share.owner.name or None,
        "version": share.owner.version or None,
        "place": share.owner.place.value,
        "own_ms": _quartiles(share.own_ms),
        "cumulative_ms": _quartiles(share.cumulative_ms),
        "modules": share.modules,
        "compiled": share.compiled,
        "read_bytes": share.read_bytes,
    }


def _module(module: ModuleShare) -> dict[str, object]:
    return {
        "name": module.module,
        "distribution": module.owner.name or None,
        "place": module.owner.place.value,
        "own_ms": round(module.own_ms, 3),
        "cumulative_ms": round(module.cumulative_ms, 3),
        "compiled": module.compiled,
    }


def _path(file: File) -> str:
    return f"{file.place.value}:{file.path}"


def _quartiles(quartiles: Quartiles | None) -> dict[str, object] | None:
    return None if quartiles is None else _rounded(asdict(quartiles))


def _rounded(values: dict[str, object]) -> dict[str, object]:
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()}
