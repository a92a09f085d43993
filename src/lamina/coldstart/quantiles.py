"""Say where repeated measurements lie, and what a difference between two series of them is worth."""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESAMPLES = 2_000
_CONFIDENCE = 0.95
# A bootstrap of three numbers knows nothing that the three do not say themselves.
_FEWEST = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Quartiles:
    """Least, quartiles and greatest of several numbers."""

    count: int
    least: float
    lower: float
    """A quarter of the numbers is at most this."""
    median: float
    upper: float
    greatest: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Quartiles:
        """Return the quartiles of *numbers*, at least one."""
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
    """How much greater the median of one series is than another's, and how sure that is."""

    median: float
    """Second less first."""
    low: float
    """Of the interval that holds 95 % of the differences between resampled medians."""
    high: float
    certain: bool
    """Whether the interval leaves zero out, of at least four numbers on each side."""

    @classmethod
    def between(cls, first: Sequence[float], second: Sequence[float]) -> Difference:
        """Return the difference between two series, at least one number each; the same series give the same answer."""
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
    """Return the value below which *share* of the *ordered* numbers lie, between two of them in proportion."""
    position = share * (len(ordered) - 1)
    index = int(position)
    following = ordered[min(index + 1, len(ordered) - 1)]
    return ordered[index] + (following - ordered[index]) * (position - index)
