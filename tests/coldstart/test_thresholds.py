"""Budgets, baselines and regressions."""

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
    """A function whose median is 110 ms, and one that cannot start."""
    one, two = make_subjects(HANDLER, {}, handlers={"one": "app.handler", "two": "app.handler"})
    return Measurement(subject=one, times=[90.0, 110.0, 120.0]), Measurement(
        subject=two, failure="LookupError: no table"
    )


def test_budget(measured: tuple[Measurement, Measurement]) -> None:
    """A median at the budget keeps it, one above does not, and a function that cannot start never does."""
    assert [True, False] == [verdict.ok for verdict in thresholds.judge_budget(measured, 110)]
    assert [False, False] == [verdict.ok for verdict in thresholds.judge_budget(measured, 109.9)]


def test_round_trip(measured: tuple[Measurement, Measurement], tmp_path: Path) -> None:
    """A baseline is read as it was written; what could not start is not in it."""
    thresholds.write(tmp_path / "base.json", measured, _NOW)

    assert thresholds.Baseline(circumstances=_NOW, functions=(("one", 110.0),)) == thresholds.read(
        tmp_path / "base.json"
    )


def test_regression(measured: tuple[Measurement, Measurement]) -> None:
    """A median may grow by the percentage, and no more; functions that the baseline lacks are passed over."""
    baseline = thresholds.Baseline(circumstances=_NOW, functions=(("one", 100.0),))

    assert (
        Verdict(rule="regression", function="one", limit_ms=150.0, measured_ms=110.0),
    ) == thresholds.judge_regression(measured, baseline, 50)
    assert [True, False] == [thresholds.judge_regression(measured, baseline, percent)[0].ok for percent in (11, 9)]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"version": "2"}', '{"version": "1", "circumstances": {}, "functions": {}}']
)
def test_no_baseline(tmp_path: Path, content: str) -> None:
    """What is no baseline is refused with what to do."""
    path = tmp_path / "base.json"
    path.write_text(content)
    with pytest.raises(ConfigError) as raised:
        thresholds.read(path)

    assert f"`{path}` is no baseline of version 1" == str(raised.value)


def test_missing_baseline(tmp_path: Path) -> None:
    """A baseline that is not there is to be written first."""
    with pytest.raises(ConfigError) as raised:
        thresholds.read(tmp_path / "none.json")

    assert f"The baseline `{tmp_path / 'none.json'}` cannot be read: No such file or directory" == str(raised.value)
    assert "write it first: lamina coldstart --baseline FILE --write-baseline" == raised.value.hint
