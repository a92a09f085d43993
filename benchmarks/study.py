"""Run rows interleaved, and compare the samples with the budgets. This module is independent of what the rows measure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.values import Measure

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from benchmarks.values import Budget, Row, Runner, Sample, Traffic

__all__ = ["Spread", "Study", "Verdict", "conduct", "judge"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """The minimum, median and maximum of several numbers."""

    least: float
    median: float
    greatest: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Return the spread of *numbers*, which must not be empty."""
        return cls(least=min(numbers), median=statistics.median(numbers), greatest=max(numbers))


@dataclass(kw_only=True, slots=True)
class Study:
    """The samples of every row by repeat, and the reasons why rows failed."""

    samples: dict[str, dict[int, Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def spread(self, row: str, value: Callable[[Sample], float]) -> Spread | None:
        """Return the spread of *value* over the repeats of *row*, or ``None`` if *row* has no samples."""
        taken = self.samples.get(row)
        return Spread.of([value(sample) for sample in taken.values()]) if taken else None

    def ratio(self, row: str, against: str, value: Callable[[Sample], float]) -> Spread | None:
        """Return the spread of the ratios of *row* to *against*, each computed within one repeat, or ``None`` if there are none."""
        above, below = self.samples.get(row, {}), self.samples.get(against, {})
        quotients = [value(above[turn]) / value(below[turn]) for turn in above.keys() & below.keys()]
        return Spread.of(quotients) if quotients else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A budget with its measurement, which is ``None`` if a row is missing."""

    budget: Budget
    measured: Spread | None

    @property
    def met(self) -> bool | None:
        """Whether the median is within the budget; for budgets in bytes and requests, whether the maximum is."""
        if self.measured is None:
            return None
        if self.budget.measure in _COUNTED:
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
    Run every row *repeats* times, in an order that *chance* draws for each repeat.

    Rows marked `slow` run *slow_repeats* times, rows marked `once` run once. *settle* runs between the preparation of a row and its
    measurement. A row that fails is not repeated, and the study contains the reason.
    """
    study = Study()
    for turn in range(repeats):
        order = [row for row in rows if turn < _most(row, repeats, slow_repeats)]
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


def _most(row: Row, repeats: int, slow_repeats: int) -> int:
    if row.once:
        return 1
    return slow_repeats if row.slow else repeats


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
    value = _VALUES[budget.measure]
    if budget.measure in _ALONE:
        return study.spread(budget.row, value)
    return study.ratio(budget.row, budget.against, value) if budget.against else None


def _traffic(sample: Sample) -> Traffic:
    if sample.traffic is None:
        raise RuntimeError("a budget for traffic refers to a row without traffic")
    return sample.traffic


_COUNTED = frozenset(
    {Measure.BYTES, Measure.DUE, Measure.EXCESS, Measure.REQUESTS, Measure.LAMBDA_REQUESTS, Measure.CALLS}
)
_ALONE = _COUNTED | {Measure.SECONDS}
_VALUES: dict[Measure, Callable[[Sample], float]] = {
    Measure.TIMES: lambda sample: sample.seconds,
    Measure.SECONDS: lambda sample: sample.seconds,
    Measure.BYTES: lambda sample: sample.peak_bytes,
    Measure.CPU: lambda sample: sample.cpu_seconds,
    Measure.SIZE: lambda sample: sample.result_bytes,
    Measure.SENT: lambda sample: _traffic(sample).sent_bytes,
    Measure.DUE: lambda sample: _traffic(sample).sent_bytes / (_traffic(sample).due_bytes or 1),
    Measure.EXCESS: lambda sample: _traffic(sample).excess_bytes,
    Measure.REQUESTS: lambda sample: _traffic(sample).requests,
    Measure.LAMBDA_REQUESTS: lambda sample: _traffic(sample).lambda_requests,
    Measure.CALLS: lambda sample: sample.calls,
}
