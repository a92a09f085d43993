"""
Start functions and their variants in new processes, and measure the initialisation of each process.

The processes run in random order, so that other load on the machine affects all variants equally. Total times are measured without the
tracer, because it slows down imports. Imports are recorded in separate processes with the tracer.
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
from lamina.local.output import RecentOutput
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
    from lamina.core.supervised.process import Ended
    from lamina.local.environment import FunctionEnvironment, Mode

# Lambda's limit is 10 seconds. With a CPU limit, initialisation may last much longer.
_PATIENCE_SECONDS = 60.0
_EXIT_PATIENCE_SECONDS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A function to measure: either the function in the current build, or a variant to compare with it."""

    function: str
    variant: str
    """The variant's label, such as ``without numpy``; empty for the current build."""
    environment: FunctionEnvironment
    owners: Owners
    absent: tuple[str, ...] = ()
    """Packages and modules that this variant lacks. If the function does not start without them, it is measured with empty ones."""

    @property
    def label(self) -> str:
        """The label in tables and charts: the function's name, and the variant's label if there is one."""
        return f"{self.function}, {self.variant}" if self.variant else self.function


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The result of one initialisation in a new process."""

    milliseconds: float | None
    """Time from the start of the process to its first request for an event; ``None`` if it did not request one."""
    cpu_ms: float | None
    """
    CPU time of the process until its first request for an event. Other load on the machine hardly affects it.

    ``None`` if the process did not request an event, or if the system does not report CPU times.
    """
    memory_bytes: int
    failure: str | None
    """Why the process did not request an event; ``None`` if it did."""
    mode: Mode
    mode_reason: str | None
    logs: str
    trace: Trace | None
    unanswered: tuple[str, ...] = ()
    """One reason for each event that failed. After an event that ended the process or timed out, no more events are sent."""


@dataclass(kw_only=True, slots=True)
class Measurement:
    """The results of all runs of one subject."""

    subject: Subject
    times: list[float] = field(default_factory=list)
    """The time of each run without the tracer, in milliseconds, in the order of measurement."""
    cpu_times: list[float] = field(default_factory=list)
    """The CPU time of each run without the tracer, in milliseconds; empty if the system does not report CPU times."""
    traces: list[Trace] = field(default_factory=list)
    traced_times: list[float] = field(default_factory=list)
    """The time of each run with the tracer, in milliseconds, in the order of *traces*. Both lists exclude the warm-up run."""
    memory_bytes: int = 0
    """The highest memory use of a run without the tracer, in bytes."""
    failure: str | None = None
    """Why a run did not start; ``None`` if all runs started."""
    stood_in: bool = False
    """Whether empty modules replaced those in `Subject.absent`, because the function does not start without them."""
    first: Trace | None = None
    """The trace of the warm-up run, which may have failed."""
    first_failure: str | None = None
    """Why the warm-up run failed; ``None`` if it did not."""
    mode: Mode | None = None
    mode_reason: str | None = None

    @property
    def total_ms(self) -> Quartiles | None:
        """The quartiles of *times*; ``None`` if there are no times."""
        return Quartiles.of(self.times) if self.times else None

    @property
    def cpu_ms(self) -> Quartiles | None:
        """The quartiles of *cpu_times*; ``None`` if there are no CPU times."""
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
    Start a process of *environment*, wait until it is initialised, send it *events* one after another, and end it.

    Empty modules replace the missing modules *stubbed*. *limit* restricts the CPU share of the process. *patience* is the timeout in seconds
    for the initialisation and for each event. A failed initialisation raises no exception; `Run.failure` contains the reason.

    Raises what `RuntimeProcess` raises. Raises `InvokeError` if the CPU limit cannot be applied or the tracer's report is invalid.
    """
    written: RecentOutput[bytes] = RecentOutput()
    prelude = trace.prelude(traced=traced, stubbed=stubbed)
    with RuntimeProcess(environment, on_log=written.add, prelude=prelude) as runtime:
        if limit is not None:
            limit.hold(runtime.process.pid)
        milliseconds = runtime.wait_ready(patience)
        cpu_ms = _cpu_ms(runtime.process.pid) if milliseconds is not None else None
        process, failure = runtime.process, runtime.api.init_failure
        unanswered = _send(runtime, environment, events, patience) if milliseconds is not None else ()
        memory = process.memory()
        # The report and the logs of a failed process are complete only after it has ended.
        ended = process.wait(_EXIT_PATIENCE_SECONDS if failure is not None else 0)
    logs = written.joined(b"").decode(errors="replace")
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
    Measure *subjects*: first one warm-up run of each, then rounds in which *chance* determines the order.

    Each subject has *repeat* runs without the tracer and *traced* runs with it. A subject that fails to initialise is not run again;
    its measurement contains the reason. Raises what `start` raises.
    """
    found = [Measurement(subject=subject) for subject in subjects]
    reporter.stage("measuring", total=len(found) * (1 + repeat + traced), unit="starts")
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
        # If the function does not start with empty modules either, report its first failure.
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
    """Return the CPU time of all threads of *pid* in milliseconds, or ``None`` if ``/proc/PID/task/TID/schedstat`` does not report it."""
    try:
        threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e6 or None
    except (OSError, ValueError, IndexError):
        return None


def _send(
    runtime: RuntimeProcess, environment: FunctionEnvironment, events: Sequence[bytes], patience: float
) -> tuple[str, ...]:
    """Send *events* one after another, until one ends the process or times out. Return one reason for each event that failed."""
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
        reasons.append(exit_words(outcome) if outcome is not None else f"no response within {patience:g} s")
        break
    return tuple(reasons)


def _words(failure: Failure | None, ended: Ended | None, patience: float) -> str:
    if failure is not None:
        return str(failure.error)
    if ended is not None:
        return exit_words(ended)
    limit = facts().limits.init_seconds
    return f"initialisation did not finish within {patience:g} s (Lambda's limit: {limit:g} s)"
