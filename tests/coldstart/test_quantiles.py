"""Tests of quartiles, and of the significance of differences."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.coldstart.quantiles import Difference, Quartiles

_TIMES = st.lists(st.floats(min_value=0.1, max_value=1e5), min_size=1, max_size=12)


def test_quartiles() -> None:
    """The quartiles of five numbers are the numbers themselves, sorted."""
    quartiles = Quartiles.of([4.0, 1.0, 3.0, 2.0, 5.0])

    assert Quartiles(count=5, least=1.0, lower=2.0, median=3.0, upper=4.0, greatest=5.0) == quartiles


@given(_TIMES)
def test_order(times: list[float]) -> None:
    """Minimum, quartiles and maximum are always in ascending order."""
    quartiles = Quartiles.of(times)

    assert quartiles.least <= quartiles.lower <= quartiles.median <= quartiles.upper <= quartiles.greatest


def test_certain() -> None:
    """Series that do not overlap differ, and the interval contains the difference."""
    found = Difference.between([10.0, 11.0, 12.0, 11.0], [20.0, 21.0, 22.0, 21.0])

    assert (10.0, True) == (found.median, found.certain)
    assert 8 <= found.low <= 10 <= found.high <= 12


def test_noise() -> None:
    """Series that overlap do not differ significantly, even if their medians differ."""
    assert not Difference.between([10.0, 20.0, 11.0, 19.0], [12.0, 21.0, 9.0, 22.0]).certain


def test_too_few() -> None:
    """Series of three numbers never differ significantly."""
    assert not Difference.between([1.0, 1.0, 1.0], [9.0, 9.0, 9.0]).certain


@settings(max_examples=10)
@given(_TIMES, _TIMES)
def test_same_answer(first: list[float], second: list[float]) -> None:
    """Equal series have equal results, and swapping the series changes the sign of the difference."""
    assert Difference.between(first, second) == Difference.between(first, second)
    assert Difference.between(first, second).median == -Difference.between(second, first).median
