"""The data classes of a measurement: commands, samples, rows and budgets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Budget", "Command", "Measure", "Row", "Run", "Runner", "Sample", "Traffic", "Unavailable", "times"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One process to run, with its complete environment."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    ok: tuple[int, ...] = (0,)
    """The exit codes that count as success."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """The traffic of one run over the slow line, in bytes on the wire."""

    sent_bytes: int
    received_bytes: int
    requests: int
    lambda_requests: int = 0
    """The requests to the API of Lambda, whose rate AWS limits."""
    due_bytes: int | None = None
    """The bytes of content that had to be sent; ``None`` if unknown. All other bytes are protocol overhead."""

    @property
    def excess_bytes(self) -> int:
        """The bytes sent beyond `due_bytes`."""
        return self.sent_bytes - (self.due_bytes or 0)

    def since(self, before: Traffic) -> Traffic:
        """Return the traffic after the reading *before*."""
        return Traffic(
            sent_bytes=self.sent_bytes - before.sent_bytes,
            received_bytes=self.received_bytes - before.received_bytes,
            requests=self.requests - before.requests,
            lambda_requests=self.lambda_requests - before.lambda_requests,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """The time, memory and traffic of one run."""

    seconds: float
    """The wall time."""
    cpu_seconds: float
    """The user and system time of the process and of the child processes that it waited for."""
    peak_bytes: int
    """The peak resident memory of the largest of these processes."""
    result_bytes: int = 0
    """The size of the result, if the row measures it."""
    traffic: Traffic | None = None
    """The traffic; ``None`` if the row does not use the slow line."""
    calls: int = 0
    """The API calls of the row, if it counts them itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A finished process: its sample, and its output."""

    sample: Sample
    output: str


class Runner(Protocol):
    """A function that runs and measures a command. Raises `RuntimeError` if the command fails."""

    def __call__(self, command: Command) -> Run:
        """Run *command*, wait for its end, and return its sample and output."""


def _nothing() -> None:
    """Do nothing; the default of `prepare` and `verify`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table: a measurement that can be repeated."""

    name: str
    """The row's name in budgets and in the JSON report."""
    title: str
    """The row's title in the table."""
    run: Callable[[Runner], Sample]
    prepare: Callable[[], None] = _nothing
    """A function that runs before each repeat, outside of the measurement."""
    verify: Callable[[], None] = _nothing
    """A function that runs after each repeat, outside of the measurement. It raises if the result is wrong."""
    slow: bool = False
    """Whether the row runs only a few times."""
    once: bool = False
    """Whether the row runs only once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unavailable:
    """A line of the table that cannot be measured on this machine."""

    name: str
    title: str
    reason: str


class Measure(Enum):
    """The quantity that a budget limits."""

    TIMES = "times"
    """The wall time of a row as a multiple of another row's."""
    SECONDS = "s"
    BYTES = "bytes"
    """Peak resident memory."""
    CPU = "cpu"
    """The processor time of a row as a multiple of another row's, which other programs disturb less than the wall time."""
    SIZE = "size"
    """The size of a row's result as a multiple of another row's."""
    SENT = "sent"
    """The bytes that a row sends as a multiple of another row's."""
    DUE = "due"
    """The bytes that a row sends as a multiple of its `due_bytes`."""
    EXCESS = "excess"
    """The bytes that a row sends beyond its `due_bytes`."""
    REQUESTS = "requests"
    """The number of requests that a row sends."""
    LAMBDA_REQUESTS = "requests to Lambda"
    CALLS = "calls"
    """The number of API calls that a row counts itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """An upper limit for a row, absolute or relative to the row *against*."""

    what: str
    row: str
    measure: Measure
    at_most: float
    against: str | None = None
    aim: bool = False
    """Whether the budget is only an aim, which does not fail the benchmark when missed."""


def times(what: str, row: str, against: str, at_most: float, *, aim: float | None = None) -> tuple[Budget, ...]:
    """Return the limit of the wall time of *row* as a multiple of that of *against*, and the *aim* if it is lower."""
    limits = [(at_most, False)] if aim is None else [(at_most, False), (aim, True)]
    return tuple(
        Budget(what=what, row=row, against=against, measure=Measure.TIMES, at_most=most, aim=is_aim)
        for most, is_aim in limits
    )
