"""
Run programs in several processes of the target's interpreter, and exchange requests and answers over pipes.

A program defines the format of its requests. An answer is one byte, a 32-bit little-endian length, and that many bytes.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import IO, TYPE_CHECKING, NamedTuple, Self, TypeVar, cast

from lamina.bytecode.bounds import ProcessBounds
from lamina.bytecode.interpreter import OWN_MODULES_ONLY
from lamina.bytecode.pipes import can_wait, read, write
from lamina.core.environment import bare_environment
from lamina.core.errors import BytecodeError, StoppedError
from lamina.core.faults import exhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor
    from pathlib import Path

    from lamina.bytecode.interpreter import Interpreter

# The number of queued requests per process: enough to keep it busy, few enough to limit memory use.
_WINDOW = 4
# How long a process may take to end after its input has ended, before it is killed.
_PATIENCE_SECONDS = 5

# Precedes each program on Linux. When lamina ends, the other end of the pipe is closed whose descriptor is the last argument, and the
# kernel ends the process and its children with a signal. They would notice the end of standard input only after the current request,
# as they do on other systems.
_ENDS_WITH_LAMINA = """
import fcntl, os, select, sys
life = int(sys.argv.pop())
fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
if select.select([life], [], [], 0)[0]:
    os._exit(1)
"""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Program(NamedTuple):
    """A source file that a process runs."""

    path: Path
    argument: str = ""
    """The command line argument."""
    parts: tuple[Path, ...] = ()
    """Further source files. Their texts are sent to standard input first, each after its 32-bit little-endian length."""


class Worker:
    """One process that answers one request at a time."""

    def __init__(self, interpreter: Interpreter, program: Program, bounds: ProcessBounds) -> None:
        """Start the process. Raises `BytecodeError` if the interpreter does not start."""
        import subprocess

        self._path = interpreter.path
        # Option -I would also ignore the hash seed. Without a fixed seed, set constants have no fixed order before Python 3.11.
        text = program.path.read_text(encoding="utf-8")
        self._seconds = bounds.seconds
        arguments = [program.argument, str(bounds.memory_bytes)]
        try:
            life, self._life = os.pipe()
        except OSError as error:
            raise exhausted(error) or self.failure(error.strerror or str(error)) from error
        inherited = [life] if sys.platform == "linux" else []
        if inherited:
            text = OWN_MODULES_ONLY + _ENDS_WITH_LAMINA + text
            arguments.append(str(life))
        try:
            self._process = subprocess.Popen(
                [str(interpreter.path), "-s", "-S", "-B", "-W", "ignore", "-c", text, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**bare_environment(os.environ), "PYTHONHASHSEED": "0"},
                pass_fds=inherited,
                # Its own group of processes, which also contains the children that it forks.
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._life)
            raise exhausted(error) or self.failure(error.strerror or str(error)) from error
        finally:
            os.close(life)
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        if can_wait():
            os.set_blocking(self._requests.fileno(), False)
        deadline = monotonic() + self._seconds
        try:
            for part in program.parts:
                content = part.read_bytes()
                self._send(len(content).to_bytes(4, "little") + content, deadline)
        except BaseException:
            self.close()
            raise

    def ask(self, request: bytes, source: str) -> tuple[int, bytes]:
        """
        Return the first byte and the content of the answer to *request*, which is about the file *source*.

        Raises `BytecodeError` if the process ends, or does not answer in the time that it has.
        """
        deadline = monotonic() + self._seconds
        self._send(request, deadline, source)
        head = self._receive(5, deadline, source)
        length = int.from_bytes(head[1:], "little")
        answer = self._receive(length, deadline, source)
        if len(head) != 5 or len(answer) != length:
            raise self.failure(f"it exited without an answer about `{source}`")
        return head[0], answer

    def close(self) -> None:
        """End the process by closing its input, or else by killing it. The process also ends when lamina ends, and at once."""
        import subprocess

        with suppress(BrokenPipeError):
            self._requests.close()
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
        os.close(self._life)

    def _send(self, content: bytes, deadline: float, source: str = "") -> None:
        try:
            write(self._requests.fileno(), content, deadline)
        except BrokenPipeError as error:
            raise self.failure(
                f"it exited without an answer about `{source}`" if source else "it exited at its start"
            ) from error
        except TimeoutError as error:
            raise self._late(source) from error

    def _receive(self, length: int, deadline: float, source: str) -> bytes:
        try:
            return read(self._answers.fileno(), length, deadline)
        except TimeoutError as error:
            raise self._late(source) from error

    def _late(self, source: str) -> BytecodeError:
        self._process.kill()
        if not source:
            return self.failure(f"it did not start within {self._seconds} s")
        return self._unable(f"`{source}` was not compiled within {self._seconds} s by the interpreter `{self._path}`")

    def exhausted(self, source: str) -> BytecodeError:
        """Return the error that there was too little memory for the file *source*."""
        return self._unable(f"there is too little memory to compile `{source}` with the interpreter `{self._path}`")

    def _unable(self, fact: str) -> BytecodeError:
        return BytecodeError(fact, hint='leave the file out with `exclude`, or set `bytecode = "none"`')

    def failure(self, reason: str) -> BytecodeError:
        """Return the error that the interpreter does not work, for *reason*."""
        return BytecodeError(
            f"the interpreter `{self._path}` failed: {reason}",
            hint=f'run `{self._path} --version` to check the interpreter, or set `bytecode = "none"`',
        )


class Workers:
    """A pool of threads, each with its own process of each program; started when first needed. A context manager."""

    def __init__(
        self, interpreter: Interpreter, *, jobs: int | None = None, bounds: ProcessBounds | None = None
    ) -> None:
        """
        Process up to *jobs* items at once (default: one per processor, and one more while this process handles answers).

        *bounds* are those of each process.
        """
        self._bounds = bounds or ProcessBounds.default()
        self.interpreter = interpreter
        self._jobs = jobs or _processors() + 1
        self._guard = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False
        self._local = threading.local()
        self._started: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop waiting items, finish running ones, and end all processes."""
        with self._guard:
            self._closed, pool, self._pool = True, self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)
        while self._started:
            self._started.pop().close()

    def submit(self, function: Callable[[_Item], _Result], item: _Item) -> Future[_Result]:
        """
        Call *function* with *item* in one of the threads, and return its future result.

        Raises `StoppedError` after `close`, for example in a thread that has not noticed yet that the command was interrupted.
        """
        with self._guard:
            if self._closed:
                raise StoppedError("interrupted")
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="worker")
            return self._pool.submit(function, item)

    def map(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """
        Call *function* with each of *items*, and yield the results in order.

        The calls run in threads, and *items* is consumed as needed. Raises the first error of *function*.
        """
        pending: deque[Future[_Result]] = deque()
        for item in items:
            pending.append(self.submit(function, item))
            if len(pending) > self._jobs * _WINDOW:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def mine(self, program: Program) -> Worker:
        """Return the process of *program* that belongs to the calling thread, and start it if there is none."""
        own: dict[Program, Worker] = vars(self._local).setdefault("workers", {})
        if program not in own:
            own[program] = Worker(self.interpreter, program, self._bounds)
            self._started.append(own[program])
        return own[program]

    def once(self, request: bytes, program: Program, source: str) -> tuple[int, bytes]:
        """Start a process of *program*, return its answer to *request* about the file *source*, and end the process."""
        worker = Worker(self.interpreter, program, self._bounds)
        try:
            return worker.ask(request, source)
        finally:
            worker.close()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
