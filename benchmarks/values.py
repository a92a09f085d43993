"""The values of a measurement: samples, the rows that give them, and the budgets that judge them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Budget", "Command", "Measure", "Row", "Run", "Runner", "Sample", "Traffic", "Unavailable"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One process to run; what it needs from the environment is all in *environment*."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    ok: tuple[int, ...] = (0,)
    """The exit codes that count as done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """What one run sent over a link and got back, in bytes as they stood on the wire."""

    sent_bytes: int
    received_bytes: int
    requests: int
    due_bytes: int | None = None
    """What had to be sent, if anybody can say; the rest is talk."""

    @property
    def excess_bytes(self) -> int:
        """What was sent beyond what had to be."""
        return self.sent_bytes - (self.due_bytes or 0)

    def since(self, before: Traffic) -> Traffic:
        """Return what has passed after the reading *before*."""
        return Traffic(
            sent_bytes=self.sent_bytes - before.sent_bytes,
            received_bytes=self.received_bytes - before.received_bytes,
            requests=self.requests - before.requests,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What one run cost."""

    seconds: float
    """Wall time."""
    cpu_seconds: float
    """User and system time of the process and those it waited for."""
    peak_bytes: int
    """Resident memory of the largest of those processes, at its peak."""
    result_bytes: int = 0
    """Size of what it made, where a row says so."""
    traffic: Traffic | None = None
    """Where it worked over a link that counts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A finished process: its cost, and what it wrote."""

    sample: Sample
    output: str


class Runner(Protocol):
    """What runs a command and measures it; raises `RuntimeError` if it fails."""

    def __call__(self, command: Command) -> Run:
        """Run *command* to its end."""


def _nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table: something that can be run again and again."""

    name: str
    """What budgets and the JSON call it."""
    title: str
    """What people read."""
    run: Callable[[Runner], Sample]
    prepare: Callable[[], None] = _nothing
    """Run before each repeat, unmeasured."""
    verify: Callable[[], None] = _nothing
    """Run after each repeat, unmeasured: raise unless it did what it was measured for."""
    slow: bool = False
    """Whether a few repeats have to do."""
    once: bool = False
    """Whether one has to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unavailable:
    """A line of the table that cannot be filled on this machine."""

    name: str
    title: str
    reason: str


class Measure(Enum):
    """What a budget limits."""

    TIMES = "times"
    """The wall time of a row as a multiple of another row's."""
    SECONDS = "s"
    BYTES = "bytes"
    """Peak resident memory."""
    CPU = "cpu"
    """The processor time of a row as a multiple of another row's: for what other programs must not disturb."""
    SIZE = "size"
    """The size of what a row makes as a multiple of another row's."""
    SENT = "sent"
    """The bytes that a row sends as a multiple of another row's."""
    DUE = "due"
    """The bytes that a row sends as a multiple of what it had to."""
    EXCESS = "excess"
    """The bytes that a row sends beyond what it had to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """A promise about a row, alone or beside *against*."""

    what: str
    row: str
    measure: Measure
    at_most: float
    against: str | None = None
    aim: bool = False
    """Whether missing it is worth a note rather than a failure."""
