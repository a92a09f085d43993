"""
Start a function's process up to its first request for an event: initialisation, which is what cold starts are made of.

`start` is for whoever goes on to send events; `initialise` is for whoever only measures, and may do so often: the environment is unpacked
once, a start costs a supervisor and an interpreter.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from lamina.local.environment import Mode
from lamina.local.facts import facts
from lamina.local.process import Process, RefusedError
from lamina.local.runtime_api import RuntimeApi

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from lamina.local.environment import FunctionEnvironment
    from lamina.local.guest.request import StartRequest
    from lamina.local.process import Ended
    from lamina.local.runtime_api import Failure

__all__ = ["Initialised", "RuntimeProcess", "StartOptions", "initialise"]

_EXIT_PATIENCE_SECONDS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class StartOptions:
    """What a measurement changes about the start."""

    interpreter: tuple[str, ...] = ()
    """Options of the interpreter, such as ``("-X", "importtime")``."""
    environment: tuple[tuple[str, str], ...] = ()
    prelude: str | None = None
    """Python source that runs before the client, with ``report_fd``, a descriptor whose data is given back as the report."""
    launcher: tuple[str, ...] = ()
    """A command to put before the interpreter's."""


_PLAIN = StartOptions()


@dataclass(frozen=True, kw_only=True, slots=True)
class Initialised:
    """One initialisation, measured; the process is gone."""

    milliseconds: float | None
    """From the start of the interpreter to the first request for an event; nothing if it never came."""
    failure: Failure | None
    """What the runtime client reported if the handler could not be loaded."""
    ended: Ended | None
    """How the process ended, if it did so by itself."""
    memory_bytes: int
    """The most that the process was seen to hold."""
    mode: Mode
    logs: str
    """Everything written to standard output and error."""
    report: bytes
    """What the prelude wrote."""


class RuntimeProcess:
    """A function's process and the Runtime API it talks to. A context manager: on exit both are gone."""

    def __init__(
        self,
        environment: FunctionEnvironment,
        *,
        on_log: Callable[[bytes], None],
        options: StartOptions = _PLAIN,
        memory_bytes: int | None = None,
    ) -> None:
        """
        Start the process of *environment*, killed when it holds more than *memory_bytes*.

        Raises InvokeError if it cannot be started, RefusedError if only a namespace would do and there is none.
        """
        self.refusal: str | None = None
        """Why the environment is shown by path although a namespace was preferred."""
        with ExitStack() as stack:
            limits = facts().limits
            self.api = stack.enter_context(RuntimeApi(response_bytes=limits.response_bytes))
            self.mode = Mode.PATH if environment.mode is Mode.PATH else Mode.NAMESPACE
            try:
                self.process = self._start(environment, options, on_log, memory_bytes)
            except RefusedError as error:
                if environment.mode is Mode.NAMESPACE:
                    raise
                self.mode, self.refusal = Mode.PATH, str(error)
                self.process = self._start(environment, options, on_log, memory_bytes)
            stack.enter_context(self.process)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._stack.close()

    def wait_ready(self, timeout: float) -> float | None:
        """
        Wait up to *timeout* seconds for the first request for an event; return the milliseconds it took since the start, or nothing.

        After nothing, the process may have ended, have failed to load the handler, or still be at it.
        """
        self.api.wait_ready(timeout)
        if self.api.ready_at is None:
            return None
        return (self.api.ready_at - self.process.started_at) / 1e6

    def _start(
        self,
        environment: FunctionEnvironment,
        options: StartOptions,
        on_log: Callable[[bytes], None],
        memory_bytes: int | None,
    ) -> Process:
        request = _request(environment, self.mode, options, self.api.address)
        request["memory_bytes"] = memory_bytes
        return Process(request, on_log=on_log, on_end=self.api.end, report=options.prelude is not None)


def _request(environment: FunctionEnvironment, mode: Mode, options: StartOptions, address: str) -> StartRequest:
    directories = environment.directories(mode)
    # What is installed for the interpreter is hidden in a namespace, and can only be left out elsewhere.
    isolation = ["-s"] if mode is Mode.NAMESPACE else ["-s", "-S"]
    arguments = [*options.launcher, environment.python(mode), *isolation, *options.interpreter]
    arguments += [f"{directories.runtime}/bootstrap.py", environment.function.handler, directories.opt]
    if options.prelude is not None:
        arguments += [options.prelude, "{report_fd}"]
    variables = environment.variables(mode) | dict(options.environment) | {"AWS_LAMBDA_RUNTIME_API": address}
    if mode is Mode.PATH:
        # A home of nobody's, so that what a library looks up there is not the user's.
        variables.setdefault("HOME", str(environment.scratch))
    return {
        "arguments": arguments,
        "environment": variables,
        "directory": directories.task,
        "plan": environment.plan() if mode is Mode.NAMESPACE else None,
        "detached": True,
        "memory_bytes": None,
        "file_descriptors": facts().limits.file_descriptors,
    }


def initialise(
    environment: FunctionEnvironment, *, options: StartOptions = _PLAIN, timeout: float | None = None
) -> Initialised:
    """
    Start a fresh process of *environment*, wait until it asks for an event, end it, and say how that went.

    It may take *timeout* seconds; Lambda's own limit is the default. Raises InvokeError if it cannot be started at all.
    """
    written: list[bytes] = []
    seconds = timeout if timeout is not None else facts().limits.init_seconds
    with RuntimeProcess(environment, on_log=written.append, options=options) as runtime:
        milliseconds = runtime.wait_ready(seconds)
        process, failure = runtime.process, runtime.api.init_failure
        memory = process.memory()
        # The report and the logs of a process that failed are complete when it has ended.
        ended = process.wait(_EXIT_PATIENCE_SECONDS if failure is not None else 0)
    return Initialised(
        milliseconds=milliseconds,
        failure=failure,
        ended=ended,
        memory_bytes=memory,
        mode=runtime.mode,
        logs=b"".join(written).decode(errors="replace"),
        report=process.reported,
    )


def exit_words(ended: Ended) -> str:
    """Return how Lambda words the end of a runtime that nobody asked to end."""
    code = os.waitstatus_to_exitcode(ended.status)
    if code == 0:
        return "Runtime exited without providing a reason"
    if code > 0:
        return f"Runtime exited with error: exit status {code}"
    known = facts().signals
    return f"Runtime exited with error: signal: {known.get(-code, f'signal {-code}')}"
