"""Compute quartiles of repeated measurements, and the difference between two series with its confidence interval."""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESAMPLES = 2_000
_CONFIDENCE = 0.95
# With fewer numbers in a series, the bootstrap interval is too narrow to be meaningful.
_FEWEST = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Quartiles:
    """The minimum, the quartiles and the maximum of a series of numbers."""

    count: int
    least: float
    lower: float
    """The first quartile."""
    median: float
    upper: float
    greatest: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Quartiles:
        """Compute the quartiles of *numbers*, which must not be empty."""
        ordered = sorted(numbers)
        return cls(
            count=len(ordered),
            least=ordered[0],
            lower=_quantile(ordered, 0.25),
            median=statistics.median(ordered),
            upper=_quantile(ordered, 0.75),
            greatest=ordered[-1],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The difference between the medians of two series, with its confidence interval."""

    median: float
    """The median of the second series minus the median of the first."""
    low: float
    """The lower end of the 95% confidence interval, computed by bootstrap resampling."""
    high: float
    """The upper end of the 95% confidence interval."""
    certain: bool
    """Whether the difference is significant: each series has at least four numbers, and the interval does not contain zero."""

    @classmethod
    def between(cls, first: Sequence[float], second: Sequence[float]) -> Difference:
        """
        Compute the difference between two series, which must not be empty.

        Resampling uses a fixed seed, so the same two series always have the same result.
        """
        chance = random.Random(0)  # noqa: S311 - resampling, not secrets
        resampled = sorted(
            statistics.median(chance.choices(second, k=len(second)))
            - statistics.median(chance.choices(first, k=len(first)))
            for _ in range(_RESAMPLES)
        )
        low = _quantile(resampled, (1 - _CONFIDENCE) / 2)
        high = _quantile(resampled, (1 + _CONFIDENCE) / 2)
        enough = min(len(first), len(second)) >= _FEWEST
        return cls(
            median=statistics.median(second) - statistics.median(first),
            low=low,
            high=high,
            certain=enough and (low > 0 or high < 0),
        )


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return the quantile at *share* (0 to 1) of the *ordered* numbers, with linear interpolation."""
    position = share * (len(ordered) - 1)
    index = int(position)
    following = ordered[min(index + 1, len(ordered) - 1)]
    return ordered[index] + (following - ordered[index]) * (position - index)
