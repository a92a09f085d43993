"""Tests of budgets, baselines and regressions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from coldstart_layers import HANDLER
from lamina.coldstart import thresholds
from lamina.coldstart.measure import Measurement
from lamina.coldstart.thresholds import Verdict
from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from coldstart_layers import MakeSubjects

_NOW = thresholds.circumstances("python3.13", 0.3)


@pytest.fixture
def measured(make_subjects: MakeSubjects) -> tuple[Measurement, Measurement]:
    """Return the measurements of a function with a median of 110 ms, and of one that cannot start."""
    one, two = make_subjects(HANDLER, {}, handlers={"one": "app.handler", "two": "app.handler"})
    return Measurement(subject=one, times=[90.0, 110.0, 120.0]), Measurement(
        subject=two, failure="LookupError: no table"
    )


def test_budget(measured: tuple[Measurement, Measurement]) -> None:
    """A median equal to the budget passes, a greater one fails, and a function that cannot start always fails."""
    assert [True, False] == [verdict.ok for verdict in thresholds.judge_budget(measured, 110)]
    assert [False, False] == [verdict.ok for verdict in thresholds.judge_budget(measured, 109.9)]


def test_round_trip(measured: tuple[Measurement, Measurement], tmp_path: Path) -> None:
    """Reading a baseline returns what was written, without functions that could not start."""
    thresholds.write(tmp_path / "base.json", measured, _NOW)

    assert thresholds.Baseline(circumstances=_NOW, functions=(("one", 110.0),)) == thresholds.read(
        tmp_path / "base.json"
    )


def test_regression(measured: tuple[Measurement, Measurement]) -> None:
    """A median may grow by at most the percentage; functions that the baseline lacks are skipped."""
    baseline = thresholds.Baseline(circumstances=_NOW, functions=(("one", 100.0),))

    assert (
        Verdict(rule="regression", function="one", limit_ms=150.0, measured_ms=110.0),
    ) == thresholds.judge_regression(measured, baseline, 50)
    assert [True, False] == [thresholds.judge_regression(measured, baseline, percent)[0].ok for percent in (11, 9)]


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
