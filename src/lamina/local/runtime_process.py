"""
Start a function's process and wait until it requests its first event. This initialisation is the main part of a cold start.

The function's environment is unpacked only once. Each start needs a supervisor process and an interpreter process.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from lamina.core.supervised.process import Process
from lamina.local.environment import Mode
from lamina.local.facts import facts
from lamina.local.runtime_api import RuntimeApi

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamina.core.supervised.process import Ended
    from lamina.core.supervised.request import StartRequest
    from lamina.local.environment import FunctionEnvironment


class RuntimeProcess:
    """A function's process and the Runtime API that serves it. Use it as a context manager: on exit both are stopped."""

    def __init__(
        self,
        environment: FunctionEnvironment,
        *,
        on_log: Callable[[bytes], None],
        prelude: str | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        """
        Start the process of *environment*, which is killed if it uses more than *memory_bytes*.

        *prelude* is Python source that runs before the runtime client. Its variable ``report_fd`` is a file descriptor; data written there
        is collected in `Process.reported`.

        Raises `InvokeError` if the process does not start, `RefusedError` if namespace mode is required but not available, and
        `ConfigError` if the function sets environment variables that Lambda reserves.
        """
        with ExitStack() as stack:
            self.api = stack.enter_context(RuntimeApi(response_bytes=facts().limits.response_bytes))

            def start(mode: Mode) -> Process:
                request = _request(environment, mode, prelude, self.api.address, memory_bytes)
                return Process(request, on_log=on_log, on_end=self.api.end, report=prelude is not None)

            self.process, self.mode, self.mode_reason = environment.start(start)
            stack.enter_context(self.process)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait_ready(self, timeout: float) -> float | None:
        """
        Wait up to *timeout* seconds until the process requests its first event. Return the milliseconds from its start to that request.

        Return ``None`` if the process has ended, has failed to load the handler, or is still initialising.
        """
        self.api.wait_ready(timeout)
        if self.api.ready_at is None:
            return None
        return (self.api.ready_at - self.process.started_at) / 1e6


def _request(
    environment: FunctionEnvironment, mode: Mode, prelude: str | None, address: str, memory_bytes: int | None
) -> StartRequest:
    directories = environment.directories(mode)
    # A namespace hides the interpreter's installed packages. In path mode, `-S` keeps them off the search path.
    isolation = ["-s"] if mode is Mode.NAMESPACE else ["-s", "-S"]
    variables = environment.variables(mode) | {"AWS_LAMBDA_RUNTIME_API": address, "LAMINA_OPT": directories.opt}
    if prelude is not None:
        variables["LAMINA_PRELUDE"] = prelude
    if mode is Mode.PATH:
        # An empty home directory, so that libraries do not read the user's configuration.
        variables.setdefault("HOME", str(environment.scratch))
    return {
        # A wrapper may insert options before the last argument, the path of the runtime's program, as AWS's documentation shows.
        "arguments": environment.command(mode, [*isolation, f"{directories.runtime}/bootstrap.py"]),
        "environment": variables,
        "directory": directories.task,
        "plan": environment.plan() if mode is Mode.NAMESPACE else None,
        "detached": True,
        "memory_bytes": memory_bytes,
        "file_descriptors": facts().limits.file_descriptors,
    }


def exit_words(ended: Ended) -> str:
    """Return the message with which Lambda reports that a runtime exited during initialisation or an invocation."""
    code = os.waitstatus_to_exitcode(ended.status)
    if code == 0:
        return "Runtime exited without providing a reason"
    if code > 0:
        return f"Runtime exited with error: exit status {code}"
    known = facts().signals
    return f"Runtime exited with error: signal: {known.get(-code, f'signal {-code}')}"
