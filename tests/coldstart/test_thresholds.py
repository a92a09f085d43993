"""Tests of budgets, baselines and regressions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from coldstart_layers import HANDLER
from lamina.coldstart import thresholds
from lamina.coldstart.measure import Measurement
from lamina.coldstart.thresholds import Baseline, FunctionPackaging, Medians, Verdict
from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from coldstart_layers import MakeSubjects

_NOW = thresholds.circumstances("python3.13", 0.3)


@pytest.fixture
def measured(make_subjects: MakeSubjects) -> tuple[Measurement, Measurement]:
    """Return the measurements of a function with medians of 110 ms and 60 ms of CPU time, and of one that cannot start."""
    one, two = make_subjects(HANDLER, {}, handlers={"one": "app.handler", "two": "app.handler"})
    return Measurement(subject=one, times=[90.0, 110.0, 120.0], cpu_times=[60.0, 50.0, 70.0]), Measurement(
        subject=two, failure="LookupError: no table"
    )


def _baseline(total_ms: float, cpu_ms: float | None) -> Baseline:
    return Baseline(circumstances=_NOW, functions=(("one", Medians(total_ms=total_ms, cpu_ms=cpu_ms)),))


def test_budget(measured: tuple[Measurement, Measurement]) -> None:
    """A median equal to the budget passes, a greater one fails, and a function that cannot start always fails."""
    assert [True, False] == [verdict.ok for verdict in thresholds.judge_budget(measured, 110)]
    assert [False, False] == [verdict.ok for verdict in thresholds.judge_budget(measured, 109.9)]


def test_round_trip(measured: tuple[Measurement, Measurement], tmp_path: Path) -> None:
    """Reading a baseline returns what was written, without functions that could not start."""
    packages = {
        "one": FunctionPackaging.of(layers=[["numpy", "pandas"], ["requests"], []], zipped=[]),
        "two": FunctionPackaging.of(layers=[], zipped=[["numpy"]]),
    }
    path = tmp_path / "base.json"

    thresholds.write(path, measured, _NOW, packages)

    expected = _baseline(110.0, 60.0)
    found = thresholds.read(path)
    assert (expected.circumstances, expected.functions) == (found.circumstances, found.functions)
    assert {"one": packages["one"]} == found.packages
    assert json.loads(path.read_text())["packagings"] == [
        {"functions": ["one"], "layers": [["numpy", "pandas"], ["requests"]], "zip": []}
    ]


def test_regression(measured: tuple[Measurement, Measurement]) -> None:
    """The median CPU time may grow by at most the percentage; functions that the baseline lacks are skipped."""
    assert (
        Verdict(rule="regression", function="one", limit_ms=75.0, measured_ms=60.0, clock="cpu"),
    ) == thresholds.judge_regression(measured, _baseline(100.0, 50.0), 50)
    assert [True, False] == [
        thresholds.judge_regression(measured, _baseline(1.0, 50.0), percent)[0].ok for percent in (21, 19)
    ]


def test_regression_without_cpu_times(measured: tuple[Measurement, Measurement]) -> None:
    """Without CPU times in the baseline or the measurement, the total times are compared."""
    expected = (Verdict(rule="regression", function="one", limit_ms=150.0, measured_ms=110.0),)
    unknown = (Measurement(subject=measured[0].subject, times=measured[0].times),)

    assert expected == thresholds.judge_regression(measured, _baseline(100.0, None), 50)
    assert expected == thresholds.judge_regression(unknown, _baseline(100.0, 50.0), 50)


def test_busy_machine(measured: tuple[Measurement, Measurement]) -> None:
    """A function whose total time alone has grown passes, and is reported as one that waited."""
    assert (("one", 50.0, 110.0),) == thresholds.only_slower_by_waiting(measured, _baseline(50.0, 55.0), 25)
    assert () == thresholds.only_slower_by_waiting(measured, _baseline(100.0, 55.0), 25)
    assert () == thresholds.only_slower_by_waiting(measured, _baseline(50.0, 40.0), 25)
    assert () == thresholds.only_slower_by_waiting(measured, _baseline(50.0, None), 25)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"version": "2"}', '{"version": "1", "circumstances": {}, "functions": {}}']
)
def test_no_baseline(tmp_path: Path, content: str) -> None:
    """A file that is not a baseline is rejected."""
    path = tmp_path / "base.json"
    path.write_text(content)
    with pytest.raises(ConfigError) as raised:
        thresholds.read(path)

    assert f"`{path}` is not a baseline file of format version 1" == str(raised.value)


def test_missing_baseline(tmp_path: Path) -> None:
    """If the baseline does not exist, the hint is the command that writes it."""
    with pytest.raises(ConfigError) as raised:
        thresholds.read(tmp_path / "none.json")

    path = tmp_path / "none.json"
    assert f"failed to read the baseline `{path}`: No such file or directory" == str(raised.value)
    assert f"write it: `lamina coldstart --baseline {path} --write-baseline`" == raised.value.hint
