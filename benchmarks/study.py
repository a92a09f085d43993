"""Run rows interleaved, and judge what came out. Knows nothing of what the rows do."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.values import Measure

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from benchmarks.values import Budget, Row, Runner, Sample

__all__ = ["Spread", "Study", "Verdict", "conduct", "judge"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Least, middle and greatest of several numbers."""

    least: float
    median: float
    greatest: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Return the spread of *numbers*, at least one."""
        return cls(least=min(numbers), median=statistics.median(numbers), greatest=max(numbers))


@dataclass(kw_only=True, slots=True)
class Study:
    """The samples of every row, by repeat, and why some rows have none."""

    samples: dict[str, dict[int, Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def spread(self, row: str, value: Callable[[Sample], float]) -> Spread | None:
        """Return the spread of *value* over the repeats of *row*, or None if it has none."""
        taken = self.samples.get(row)
        return Spread.of([value(sample) for sample in taken.values()]) if taken else None

    def ratio(self, row: str, against: str, value: Callable[[Sample], float]) -> Spread | None:
        """Return the spread of the quotients of two rows' *value*, repeat by repeat."""
        above, below = self.samples.get(row, {}), self.samples.get(against, {})
        quotients = [value(above[turn]) / value(below[turn]) for turn in above.keys() & below.keys()]
        return Spread.of(quotients) if quotients else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A budget, and what was measured; None where a row is missing."""

    budget: Budget
    measured: Spread | None

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the promise; the greatest, for memory."""
        if self.measured is None:
            return None
        if self.budget.measure is Measure.BYTES:
            return self.measured.greatest <= self.budget.at_most
        return self.measured.median <= self.budget.at_most


def conduct(
    rows: Sequence[Row],
    runner: Runner,
    *,
    repeats: int,
    slow_repeats: int,
    chance: random.Random,
    tell: Callable[[str], None],
    settle: Callable[[], None],
) -> Study:
    """
    Run every row *repeats* times, slow ones *slow_repeats* times, in an order that *chance* draws for each repeat.

    *settle* runs between the preparation of a row and its measurement.
    A row that fails is not tried again, and the study says why.
    """
    study = Study()
    for turn in range(repeats):
        order = [row for row in rows if turn < slow_repeats or not row.slow]
        chance.shuffle(order)
        for row in order:
            if row.name in study.failures:
                continue
            tell(f"{turn + 1}/{repeats} {row.title}")
            try:
                sample = _measure(row, runner, settle)
            except (RuntimeError, OSError) as error:
                study.failures[row.name] = str(error)
                study.samples.pop(row.name, None)
            else:
                study.samples.setdefault(row.name, {})[turn] = sample
    return study


def _measure(row: Row, runner: Runner, settle: Callable[[], None]) -> Sample:
    row.prepare()
    settle()
    sample = row.run(runner)
    row.verify()
    return sample


def judge(study: Study, budgets: Sequence[Budget]) -> list[Verdict]:
    """Return the verdict on each of *budgets*."""
    return [Verdict(budget=budget, measured=_measured(study, budget)) for budget in budgets]


def _measured(study: Study, budget: Budget) -> Spread | None:
    match budget.measure:
        case Measure.TIMES:
            return study.ratio(budget.row, budget.against, lambda sample: sample.seconds) if budget.against else None
        case Measure.SECONDS:
            return study.spread(budget.row, lambda sample: sample.seconds)
        case Measure.BYTES:
            return study.spread(budget.row, lambda sample: sample.peak_bytes)
        case Measure.CPU:
            return (
                study.ratio(budget.row, budget.against, lambda sample: sample.cpu_seconds) if budget.against else None
            )
        case Measure.SIZE:
            return (
                study.ratio(budget.row, budget.against, lambda sample: sample.result_bytes) if budget.against else None
            )
