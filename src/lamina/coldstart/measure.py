"""
Run initialisations in fresh processes, interleaved, so that whatever the machine does meanwhile happens to all of them.

Times are of undisturbed processes; what they consist of is learned from others that are traced.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.coldstart import trace
from lamina.coldstart.quantiles import Quartiles
from lamina.core.reporter import SILENT
from lamina.local.facts import facts
from lamina.local.response import Failure, Response
from lamina.local.runtime_api import Event
from lamina.local.runtime_process import RuntimeProcess, exit_words

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from lamina.coldstart.cpu import Limit
    from lamina.coldstart.owners import Owners
    from lamina.coldstart.trace import Trace
    from lamina.core.reporter import Reporter
    from lamina.local.environment import FunctionEnvironment, Mode
    from lamina.local.process import Ended

# Lambda itself gives up after ten; a share of a processor is worth waiting for.
_PATIENCE_SECONDS = 60.0
_EXIT_PATIENCE_SECONDS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One thing to measure: a function, in one of the variants that are compared."""

    function: str
    variant: str
    """Empty for the build as it is."""
    environment: FunctionEnvironment
    owners: Owners
    absent: tuple[str, ...] = ()
    """Packages and modules that this variant hides; if the function cannot start without them, something stands in."""

    @property
    def label(self) -> str:
        """What people read: the function, and the variant if it is one."""
        return f"{self.function}, {self.variant}" if self.variant else self.function


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One initialisation."""

    milliseconds: float | None
    """From the start of the interpreter to the first request for an event; ``None`` where that never came."""
    cpu_ms: float | None
    """What the process itself had of the processors until then, which other programs hardly disturb; ``None`` where nobody tells."""
    memory_bytes: int
    failure: str | None
    """Why there is no time."""
    mode: Mode
    mode_reason: str | None
    logs: str
    trace: Trace | None
    unanswered: tuple[str, ...] = ()
    """Why the function did not answer events, one reason for each; there is no event after the one that ended it."""


@dataclass(kw_only=True, slots=True)
class Measurement:
    """All runs of one subject."""

    subject: Subject
    times: list[float] = field(default_factory=list)
    """Milliseconds, in the order in which they were measured."""
    cpu_times: list[float] = field(default_factory=list)
    """Milliseconds of processor time of the same runs, as far as the system tells."""
    traces: list[Trace] = field(default_factory=list)
    traced_times: list[float] = field(default_factory=list)
    memory_bytes: int = 0
    """The most that a process held."""
    failure: str | None = None
    """Why the subject could not be measured."""
    stood_in: bool = False
    """Whether empty modules took the place of what the variant hides, because the function imports it unconditionally."""
    first: Trace | None = None
    """Of the first run, which may have failed."""
    first_failure: str | None = None
    """Why the first run failed."""
    mode: Mode | None = None
    mode_reason: str | None = None

    @property
    def total_ms(self) -> Quartiles | None:
        """The quartiles of the times, if there are any."""
        return Quartiles.of(self.times) if self.times else None

    @property
    def cpu_ms(self) -> Quartiles | None:
        """The quartiles of the processor times, if there are any."""
        return Quartiles.of(self.cpu_times) if self.cpu_times else None


def start(
    environment: FunctionEnvironment,
    *,
    traced: bool = False,
    stubbed: Sequence[str] = (),
    limit: Limit | None = None,
    events: Sequence[bytes] = (),
    patience: float = _PATIENCE_SECONDS,
) -> Run:
    """
    Initialise a fresh process of *environment*, give it *events* one after the other, and end it.

    Empty modules take the place of *stubbed*. *limit* holds the process back from its first milliseconds on. Raises InvokeError if nothing can be started.
    """
    written: list[bytes] = []
    prelude = trace.prelude(traced=traced, stubbed=stubbed)
    with RuntimeProcess(environment, on_log=written.append, prelude=prelude) as runtime:
        if limit is not None:
            limit.hold(runtime.process.pid)
        milliseconds = runtime.wait_ready(patience)
        cpu_ms = _cpu_ms(runtime.process.pid) if milliseconds is not None else None
        process, failure = runtime.process, runtime.api.init_failure
        unanswered = _send(runtime, environment, events, patience) if milliseconds is not None else ()
        memory = process.memory()
        # The report and the logs of a process that failed are complete when it has ended.
        ended = process.wait(_EXIT_PATIENCE_SECONDS if failure is not None else 0)
    logs = b"".join(written).decode(errors="replace")
    return Run(
        milliseconds=milliseconds,
        cpu_ms=cpu_ms,
        memory_bytes=memory,
        failure=None if milliseconds is not None else _words(failure, ended, patience),
        mode=runtime.mode,
        mode_reason=runtime.mode_reason,
        logs=logs,
        trace=trace.read(process.reported, environment.directories(runtime.mode)) if traced else None,
        unanswered=unanswered,
    )


def conduct(
    subjects: Sequence[Subject],
    *,
    repeat: int,
    traced: int,
    chance: random.Random,
    limit: Limit | None = None,
    reporter: Reporter = SILENT,
) -> tuple[Measurement, ...]:
    """
    Measure *subjects*: one traced run of each to warm up, then round after round, each in an order that *chance* draws.

    Each has *repeat* undisturbed runs and *traced* ones.
    A subject that cannot be initialised is not tried again, and its measurement says why.
    Raises InvokeError if nothing can be started at all.
    """
    found = [Measurement(subject=subject) for subject in subjects]
    reporter.stage("Measuring", total=len(found) * (1 + repeat + traced), unit="starts")
    for each in found:
        _warm(each, limit)
        reporter.advance(1)
    for turn in range(max(repeat, traced)):
        going = [each for each in found if each.failure is None]
        order = [(each, False) for each in going] if turn < repeat else []
        order += [(each, True) for each in going] if turn < traced else []
        chance.shuffle(order)
        for each, is_traced in order:
            if each.failure is None:
                _take(each, _again(each, limit, traced=is_traced))
            reporter.advance(1)
    return tuple(found)


def _warm(measurement: Measurement, limit: Limit | None) -> None:
    run = start(measurement.subject.environment, traced=True, limit=limit)
    measurement.mode, measurement.mode_reason = run.mode, run.mode_reason
    measurement.first = run.trace
    measurement.failure = measurement.first_failure = run.failure
    if run.failure is not None and measurement.subject.absent:
        measurement.stood_in = True
        second = _again(measurement, limit, traced=True).failure
        # If nothing can stand in, what matters is why the function cannot start at all.
        measurement.failure = None if second is None else run.failure


def _again(measurement: Measurement, limit: Limit | None, *, traced: bool) -> Run:
    absent = measurement.subject.absent if measurement.stood_in else ()
    return start(measurement.subject.environment, traced=traced, stubbed=absent, limit=limit)


def _take(measurement: Measurement, run: Run) -> None:
    if run.milliseconds is None:
        measurement.failure = run.failure
        return
    if run.trace is not None:
        measurement.traces.append(run.trace)
        measurement.traced_times.append(run.milliseconds)
    else:
        measurement.times.append(run.milliseconds)
        measurement.cpu_times += [run.cpu_ms] if run.cpu_ms is not None else []
        measurement.memory_bytes = max(measurement.memory_bytes, run.memory_bytes)


def _cpu_ms(pid: int | None) -> float | None:
    """Return the milliseconds that all threads of *pid* have been running; only Linux tells so exactly."""
    try:
        threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e6 or None
    except (OSError, ValueError, IndexError):
        return None


def _send(
    runtime: RuntimeProcess, environment: FunctionEnvironment, events: Sequence[bytes], patience: float
) -> tuple[str, ...]:
    """Give *events* to a process that waits for them, until one ends it; return why it did not answer."""
    reasons: list[str] = []
    for payload in events:
        deadline = time.time() + environment.function.timeout_seconds
        event = Event(payload=payload, deadline=deadline, arn=environment.arn)
        outcome = runtime.api.exchange(event, patience)
        if isinstance(outcome, Response):
            continue
        if isinstance(outcome, Failure):
            reasons.append(str(outcome.error))
            continue
        reasons.append(exit_words(outcome) if outcome is not None else f"no answer in {patience:g} s")
        break
    return tuple(reasons)


def _words(failure: Failure | None, ended: Ended | None, patience: float) -> str:
    if failure is not None:
        return str(failure.error)
    if ended is not None:
        return exit_words(ended)
    limit = facts().limits.init_seconds
    return f"no event was asked for in {patience:g} s, and Lambda waits {limit:g} s"
