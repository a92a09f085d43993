"""
Run a program in several processes of the target's interpreter, and exchange requests and answers over pipes.

The program defines the format of a request. An answer is one byte, a 32-bit little-endian length, and that many bytes.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Self, TypeVar, cast

from lamina.core.errors import BytecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor
    from pathlib import Path

    from lamina.bytecode.interpreter import Interpreter

# The number of queued requests per process: enough to keep it busy, few enough to limit memory use.
_WINDOW = 4

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Worker:
    """One process that answers one request at a time."""

    def __init__(self, interpreter: Interpreter, program: Path, argument: str) -> None:
        """Start the process. Raises `BytecodeError` if the interpreter does not start."""
        import subprocess

        self._path = interpreter.path
        # Option -I would also ignore the hash seed. Without a fixed seed, set constants have no fixed order before Python 3.11.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        text = program.read_text(encoding="utf-8")
        try:
            self._process = subprocess.Popen(
                [str(interpreter.path), "-s", "-S", "-B", "-W", "ignore", "-c", text, argument],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**environment, "PYTHONHASHSEED": "0"},
            )
        except OSError as error:
            raise self._failure(error.strerror or str(error)) from error
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Return the first byte and the content of the answer to *request*. Raises `BytecodeError` if the process ends."""
        try:
            self._requests.write(request)
            self._requests.flush()
        except BrokenPipeError as error:
            raise self._failure("it exited without an answer") from error
        head = self._answers.read(5)
        length = int.from_bytes(head[1:], "little")
        answer = self._answers.read(length)
        if len(head) != 5 or len(answer) != length:
            raise self._failure("it exited without an answer")
        return head[0], answer

    def close(self) -> None:
        """End the process by closing its input. The process also ends when lamina ends."""
        with self._process, suppress(BrokenPipeError):
            self._requests.close()

    def _failure(self, reason: str) -> BytecodeError:
        return BytecodeError(
            f"the interpreter `{self._path}` failed: {reason}",
            hint=f'run `{self._path} --version` to check the interpreter, or set `bytecode = "none"`',
        )


class Workers:
    """A pool of processes of one program, started when first needed; a context manager."""

    def __init__(self, interpreter: Interpreter, program: Path, *, jobs: int | None = None) -> None:
        """Process up to *jobs* items at once (default: one per processor)."""
        self.interpreter = interpreter
        self._program = program
        self._jobs = jobs or _processors()
        self._pool: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._started: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop waiting items, finish running ones, and end all processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        while self._started:
            self._started.pop().close()

    def map(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """
        Call *function* with each of *items*, and yield the results in order.

        The calls run in threads, and *items* is consumed as needed. Raises the first error of *function*.
        """
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="worker")
        pending: deque[Future[_Result]] = deque()
        for item in items:
            pending.append(self._pool.submit(function, item))
            if len(pending) > self._jobs * _WINDOW:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def mine(self, argument: str = "") -> Worker:
        """Return the process of the calling thread that was started with *argument*; start it if there is none."""
        existing: Worker | None = getattr(self._local, f"worker_{argument}", None)
        if existing is None:
            existing = Worker(self.interpreter, self._program, argument)
            setattr(self._local, f"worker_{argument}", existing)
            self._started.append(existing)
        return existing

    def once(self, request: bytes, argument: str) -> tuple[int, bytes]:
        """Start a process with *argument*, return its answer to *request*, and end the process."""
        worker = Worker(self.interpreter, self._program, argument)
        try:
            return worker.ask(request)
        finally:
            worker.close()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
