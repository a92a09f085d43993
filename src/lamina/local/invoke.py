"""Send events to a function, and report results, errors and logs in the format that Lambda uses."""

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
from lamina.core.supervised.process import Ended
from lamina.local.facts import facts
from lamina.local.output import RecentOutput
from lamina.local.provided import sdk_modules
from lamina.local.response import Failure, FunctionError, Response
from lamina.local.runtime_api import Event
from lamina.local.runtime_process import RuntimeProcess, exit_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamina.local.debugger import Debugger
    from lamina.local.environment import FunctionEnvironment, Mode

_MB = 1_048_576
_EXIT_PATIENCE_SECONDS = 2
_DEBUGGED_SECONDS = 86_400
_NO_MODULE = re.compile(r"No module named '([^'.]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class InvocationResult:
    """The result of one invocation."""

    request_id: str
    payload: bytes
    """The JSON bytes that the caller receives: the function's response, or the description of its error."""
    error: FunctionError | None
    hint: str | None
    """How to fix the error; ``None`` if there is no error, or if lamina does not recognise it."""
    mode: Mode
    mode_reason: str | None
    """Why path mode replaced namespace mode; ``None`` if it did not."""
    init_ms: float | None
    """Duration of the initialisation; ``None`` if an earlier invocation initialised the process, or if initialisation failed or timed out."""
    duration_ms: float
    billed_ms: int
    memory_bytes: int
    """The function's configured memory, in bytes."""
    max_memory_bytes: int
    """The highest memory, in bytes, that the function has used since its process started."""
    logs: str = ""
    """The function's output, with the START, END and REPORT lines that Lambda adds; only its end if it exceeds `output.MOST`."""


class ExecutionEnvironment:
    """
    A function's process, which handles one event after another.

    The first invocation starts the process, and so does the next invocation after a crash or a timeout. Use this class as a context
    manager; the process is ended on exit. The methods are not thread-safe.
    """

    def __init__(
        self,
        environment: FunctionEnvironment,
        *,
        on_log: Callable[[str], None] | None = None,
        init_seconds: float | None = None,
        debugger: Debugger | None = None,
    ) -> None:
        """
        Prepare to run the function of *environment*, without starting a process.

        *on_log* receives the log while it is written. *init_seconds* replaces Lambda's limit on the duration of the initialisation.
        With a *debugger*, each process waits for a client, and has no memory limit and a day to initialise and to respond.
        """
        self._prelude = debugger.prelude(environment.function.name) if debugger is not None else None
        if debugger is not None:
            environment = replace(
                environment, function=replace(environment.function, timeout_seconds=_DEBUGGED_SECONDS)
            )
            init_seconds = _DEBUGGED_SECONDS
        self.environment = environment
        self._on_log = on_log
        self._init_seconds = facts().limits.init_seconds if init_seconds is None else init_seconds
        self._runtime: RuntimeProcess | None = None
        self._log: RecentOutput[str] = RecentOutput()
        self._decoding = threading.Lock()
        self._decoder = _decoder()
        self._memory_bytes = environment.function.memory_mb * _MB
        self._limit_bytes = self._memory_bytes if debugger is None else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()

    def invoke(self, payload: bytes, *, client_context: str | None = None) -> InvocationResult:
        """
        Send the event *payload* and return the result. An error of the function is part of the result and raises no exception.

        Raises `ConfigError` if the event exceeds Lambda's size limit or the function sets reserved environment variables, and
        `InvokeError` if the process does not start.
        """
        limit = facts().limits.event_bytes
        if len(payload) > limit:
            raise ConfigError(
                f"the event has {len(payload):,} bytes, which exceeds Lambda's limit of {limit:,} bytes",
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
            # Initialisation exceeded its limit. Lambda repeats it as part of the invocation, under the function's timeout.
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
        """
        Start the process. Return it, the duration of its initialisation in milliseconds, and the failure of its initialisation.

        Duration and failure are both ``None`` if initialisation exceeded its time limit. The returned process is then a second one, which
        is still initialising; the caller waits for it as part of the invocation.
        """
        runtime = self._start()
        init_ms = runtime.wait_ready(self._init_seconds)
        # Output of the initialisation must be logged before the platform's next line.
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
        self._runtime = RuntimeProcess(
            self.environment, on_log=self._hear, prelude=self._prelude, memory_bytes=self._limit_bytes
        )
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
        """Return the result of an invocation, write Lambda's last log lines, and discard a process that cannot handle more events."""
        memory = runtime.process.memory()
        self._hear(b"", final=True)
        # The memory limit may have been exceeded only now, after the function has responded.
        exceeded = self._limit_bytes is not None and memory > self._limit_bytes
        ended = runtime.process.wait(_EXIT_PATIENCE_SECONDS if exceeded else 0)
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
        return replace(result, logs=self._log.joined(""))

    def _say_end(self, result: InvocationResult, outcome: Response | Failure | Ended | None) -> None:
        """Log the reason if the function did not respond, then the END and REPORT lines."""
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
        """Return the error for a failure that the runtime reported, for an ended process, or for a timeout (``None``)."""
        if isinstance(outcome, Failure):
            return outcome.error
        if isinstance(outcome, Ended):
            kind = "Runtime.OutOfMemory" if outcome.killed_for_memory else "Runtime.ExitError"
            words = exit_words(outcome)
        else:
            kind, words = "Sandbox.Timedout", _timed_out(self.environment.function.timeout_seconds)
        return FunctionError(type=kind, message=f"RequestId: {request_id} Error: {words}")

    def _hint(self, error: FunctionError | None) -> str | None:
        """Return advice if the error is about a missing module, else ``None``."""
        found = _NO_MODULE.search(error.message) if error is not None else None
        if found is None:
            return None
        module = found[1]
        if (name := sdk_modules().get(module)) is not None:
            return (
                f"add `{name}` to your dependencies: Lambda's runtime contains it, but it is not available here, "
                "and AWS can change its version at any time"
            )
        return (
            f"check that the distribution with `{module}` is in the lock file and not excluded: "
            f"neither the layers nor the function package contain `{module}`"
        )

    def _hear(self, data: bytes, *, final: bool = False) -> None:
        # A piece of output may end in the middle of a character.
        with self._decoding:
            text = self._decoder.decode(data, final)
        if text:
            self._say(text)

    def _say(self, text: str) -> None:
        self._log.add(text)
        if self._on_log is not None:
            self._on_log(text)

    def _discard(self) -> None:
        if self._runtime is not None:
            self._runtime.__exit__(None, None, None)
            self._runtime = None


def _decoder() -> io.IncrementalNewlineDecoder:
    """
    Return a decoder from UTF-8 bytes to text with normalised line ends.

    The runtime client separates the lines of one log record by a carriage return alone, which CloudWatch requires.
    """
    return io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)


def invoke(
    environment: FunctionEnvironment,
    payload: bytes,
    *,
    on_log: Callable[[str], None] | None = None,
    debugger: Debugger | None = None,
) -> InvocationResult:
    """Start a process of *environment*, send it the event *payload*, and end it. Returns and raises what `ExecutionEnvironment.invoke` does."""
    with ExecutionEnvironment(environment, on_log=on_log, debugger=debugger) as session:
        return session.invoke(payload)


def _timed_out(seconds: float) -> str:
    return f"Task timed out after {seconds:.2f} seconds"
