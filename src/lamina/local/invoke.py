"""Send events to a function as Lambda does, and word what comes of it as Lambda does."""

from __future__ import annotations

import codecs
import datetime as dt
import io
import json
import math
import re
import threading
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from lamina.core.errors import ConfigError
from lamina.core.target import runtimes
from lamina.local.facts import facts
from lamina.local.process import Ended
from lamina.local.response import Failure, FunctionError, Response
from lamina.local.runtime_api import Event
from lamina.local.runtime_process import RuntimeProcess, exit_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamina.local.environment import FunctionEnvironment, Mode

_MB = 1_048_576
_EXIT_PATIENCE_SECONDS = 2
_NO_MODULE = re.compile(r"No module named '([^'.]+)")
# Module names that are not their distribution's.
_MODULES = {"dateutil": "python-dateutil"}


@dataclass(frozen=True, kw_only=True, slots=True)
class InvocationResult:
    """One invocation."""

    request_id: str
    payload: bytes
    """What the caller would receive: the function's response, or the description of its error."""
    error: FunctionError | None
    hint: str | None
    """What to do about the error, where lamina knows."""
    mode: Mode
    mode_reason: str | None
    """Why the environment was not shown in a namespace although that was preferred."""
    init_ms: float | None
    """Of the invocation that started the process; nothing for those after it."""
    duration_ms: float
    billed_ms: int
    memory_bytes: int
    """What the function may use."""
    max_memory_bytes: int
    """The most it was seen to use since its start."""
    logs: str = ""
    """What the function wrote, between the platform's own lines."""


class ExecutionEnvironment:
    """
    One execution environment: a process that handles event after event, started again when it has failed.

    A context manager: on exit nothing of it is left. Not to be shared between threads.
    """

    def __init__(
        self,
        environment: FunctionEnvironment,
        *,
        on_log: Callable[[str], None] | None = None,
        init_seconds: float | None = None,
    ) -> None:
        """Serve *environment*. *on_log* gets the log as it is written; *init_seconds* replaces Lambda's limit on initialisation."""
        self.environment = environment
        self._on_log = on_log
        self._init_seconds = facts().limits.init_seconds if init_seconds is None else init_seconds
        self._runtime: RuntimeProcess | None = None
        self._log: list[str] = []
        self._decoding = threading.Lock()
        self._decoder = _decoder()
        self._memory_bytes = environment.function.memory_mb * _MB

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()

    def invoke(self, payload: bytes, *, client_context: str | None = None) -> InvocationResult:
        """
        Send the event *payload* and wait for what comes of it; the function's failure is a result, not an exception.

        Raises ConfigError if Lambda would not take the event, InvokeError if nothing can be started.
        """
        limit = facts().limits.event_bytes
        if len(payload) > limit:
            raise ConfigError(
                f"The event has {len(payload)} bytes, and Lambda takes {limit}",
                hint="pass a reference to the data, such as an S3 key, instead of the data",
            )
        self._log.clear()
        request_id = str(uuid.uuid4())
        outcome: Response | Failure | Ended | None = None
        runtime, init_ms = self._runtime, None
        if runtime is None:
            runtime, init_ms, outcome = self._cold_start()
        began = time.monotonic()
        self._say(f"START RequestId: {request_id} Version: {facts().version}\n")
        budget = float(self.environment.function.timeout_seconds)
        if outcome is None and runtime.api.ready_at is None:
            # Initialisation was too slow; Lambda begins it anew, now as part of the invocation.
            runtime.wait_ready(budget)
            outcome = runtime.api.init_failure or runtime.process.ended
        if outcome is None and runtime.api.ready_at is not None:
            remaining = budget - (time.monotonic() - began)
            event = Event(
                request_id=request_id,
                payload=payload,
                deadline=time.time() + remaining,
                arn=self.environment.arn,
                client_context=client_context,
            )
            outcome = runtime.api.exchange(event, remaining)
        duration_ms = min((time.monotonic() - began) * 1000, budget * 1000)
        return self._conclude(runtime, request_id, outcome, init_ms=init_ms, duration_ms=duration_ms)

    def _cold_start(self) -> tuple[RuntimeProcess, float | None, Failure | Ended | None]:
        """Start the process: how long that took, or what went wrong; neither if it has to be tried again within the invocation."""
        runtime = self._start()
        init_ms = runtime.wait_ready(self._init_seconds)
        # What was written while it started belongs before the platform's next line.
        runtime.process.catch_up()
        if init_ms is not None:
            return runtime, init_ms, None
        failure = runtime.api.init_failure
        ended = runtime.process.wait(_EXIT_PATIENCE_SECONDS if failure is not None else 0)
        taken = (time.monotonic_ns() - runtime.process.started_at) / 1e6
        if failure is None and ended is None:
            self._say(f"INIT_REPORT Init Duration: {self._init_seconds * 1000:.2f} ms\tPhase: init\tStatus: timeout\n")
            self._discard()
            return self._start(), None, None
        error = self._describe("", failure or ended)
        self._say(f"INIT_REPORT Init Duration: {taken:.2f} ms\tPhase: init\tStatus: error\tError Type: {error.type}\n")
        return runtime, None, failure or ended

    def _start(self) -> RuntimeProcess:
        self._decoder = _decoder()
        self._runtime = RuntimeProcess(self.environment, on_log=self._hear, memory_bytes=self._memory_bytes)
        return self._runtime

    def _conclude(
        self,
        runtime: RuntimeProcess,
        request_id: str,
        outcome: Response | Failure | Ended | None,
        *,
        init_ms: float | None,
        duration_ms: float,
    ) -> InvocationResult:
        """Word the outcome, write the platform's last lines, and let go of a process that is of no more use."""
        memory = runtime.process.memory()
        self._hear(b"", final=True)
        # It may have answered, and been caught by this last look at its memory.
        ended = runtime.process.wait(_EXIT_PATIENCE_SECONDS if memory > self._memory_bytes else 0)
        if ended is not None and ended.killed_for_memory:
            outcome, memory = ended, self._memory_bytes
        error = None if isinstance(outcome, Response) else self._describe(request_id, outcome)
        answer = outcome.payload if isinstance(outcome, Response | Failure) else b""
        if error is not None and not answer:
            answer = json.dumps({"errorType": error.type, "errorMessage": error.message}).encode()
        billed_ms = math.ceil(duration_ms + ((init_ms or 0) if facts().bills_initialisation else 0))
        result = InvocationResult(
            request_id=request_id,
            payload=answer,
            error=error,
            hint=self._hint(error),
            mode=runtime.mode,
            mode_reason=runtime.mode_reason,
            init_ms=init_ms,
            duration_ms=duration_ms,
            billed_ms=billed_ms,
            memory_bytes=self._memory_bytes,
            max_memory_bytes=memory,
        )
        self._say_end(result, outcome)
        if runtime.process.ended is not None or outcome is None or runtime.api.init_failure is not None:
            self._discard()
        return replace(result, logs="".join(self._log))

    def _say_end(self, result: InvocationResult, outcome: Response | Failure | Ended | None) -> None:
        """Write why the function did not answer, that the invocation is over, and the platform's report about it."""
        request_id, error, status = result.request_id, result.error, ""
        if isinstance(outcome, Ended) and error is not None:
            self._say(f"{error.message}\n{error.type}\n")
            status = f"\tStatus: error\tError Type: {error.type}"
        elif outcome is None:
            now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self._say(f"{now} {request_id} {_timed_out(self.environment.function.timeout_seconds)}\n\n")
            status = "\tStatus: timeout"
        parts = [
            f"REPORT RequestId: {request_id}",
            f"Duration: {result.duration_ms:.2f} ms",
            f"Billed Duration: {result.billed_ms} ms",
            f"Memory Size: {self.environment.function.memory_mb} MB",
            f"Max Memory Used: {math.ceil(result.max_memory_bytes / _MB)} MB",
        ]
        if result.init_ms is not None:
            parts.append(f"Init Duration: {result.init_ms:.2f} ms")
        self._say(f"END RequestId: {request_id}\n")
        self._say("\t".join(parts) + status + "\n")

    def _describe(self, request_id: str, outcome: Failure | Ended | None) -> FunctionError:
        """Word what went wrong: reported by the runtime, or found by looking at it."""
        if isinstance(outcome, Failure):
            return outcome.error
        if isinstance(outcome, Ended):
            kind = "Runtime.OutOfMemory" if outcome.killed_for_memory else "Runtime.ExitError"
            words = exit_words(outcome)
        else:
            kind, words = "Sandbox.Timedout", _timed_out(self.environment.function.timeout_seconds)
        return FunctionError(type=kind, message=f"RequestId: {request_id} Error: {words}")

    def _hint(self, error: FunctionError | None) -> str | None:
        """Say what is known about a missing module."""
        found = _NO_MODULE.search(error.message) if error is not None else None
        if found is None:
            return None
        module = found[1]
        target = self.environment.target
        runtime = next(entry for entry in runtimes() if entry.name == target.runtime)
        if _MODULES.get(module, module) in {entry.name for entry in runtime.preinstalled}:
            return (
                f"`{module}` is part of Lambda's own runtime, whose version changes without you; "
                "it is not provided here: add it to your dependencies"
            )
        return f"neither the layers nor the package hold `{module}`: is its distribution locked, and not excluded?"

    def _hear(self, data: bytes, *, final: bool = False) -> None:
        # It comes in pieces that end anywhere, also within a character.
        with self._decoding:
            text = self._decoder.decode(data, final)
        if text:
            self._say(text)

    def _say(self, text: str) -> None:
        self._log.append(text)
        if self._on_log is not None:
            self._on_log(text)

    def _discard(self) -> None:
        if self._runtime is not None:
            self._runtime.__exit__(None, None, None)
            self._runtime = None


def _decoder() -> io.IncrementalNewlineDecoder:
    """Return what makes text of a log. The client ends the lines of one record by a carriage return alone, as CloudWatch wants it."""
    return io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)


def invoke(
    environment: FunctionEnvironment, payload: bytes, *, on_log: Callable[[str], None] | None = None
) -> InvocationResult:
    """Send one event to a fresh process of *environment*; see `ExecutionEnvironment.invoke`."""
    with ExecutionEnvironment(environment, on_log=on_log) as session:
        return session.invoke(payload)


def _timed_out(seconds: float) -> str:
    return f"Task timed out after {seconds:.2f} seconds"
