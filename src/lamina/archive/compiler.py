"""
Compile Python sources by an interpreter of the target's minor version, to the same bytes whatever else is compiled.

The bytes depend on the source, the name it is compiled under and the interpreter's version; not on directory, hash seed,
order or number of processes.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, cast

from lamina.errors import BytecodeError
from lamina.interpreters import magic_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lamina.interpreters import Interpreter

__all__ = ["Compiled", "Compiler", "Invalidation", "bytecode_path"]

_WORKER = Path(__file__).with_name("compile_worker.py")
_REFUSED, _COMPILED, _NEEDS_FRESH_PROCESS = range(3)
# Sources waiting for each process: enough to keep it busy, few enough to keep memory small.
_WINDOW = 4


class Invalidation(Enum):
    """What the import system does before it trusts a hash-based bytecode file (PEP 552); the value is its flags."""

    UNCHECKED = 0b01
    """Nothing: for sources that never change, such as a layer's."""
    CHECKED = 0b11
    """Hash the source: for sources that may be edited where they run, such as a function's in the console."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """What became of one source."""

    path: str
    """The source's path, relative to the root it is compiled for."""
    bytecode: bytes | None
    """The bytecode file, or ``None`` where the interpreter refuses the source."""
    reason: str | None = None
    """Why it was refused, in the interpreter's words."""


def bytecode_path(source: str, python: tuple[int, int]) -> str:
    """Return where the minor *python* looks for the bytecode of the file *source* (PEP 3147)."""
    directory, slash, name = source.rpartition("/")
    return f"{directory}{slash}__pycache__/{name.removesuffix('.py')}.cpython-{python[0]}{python[1]}.pyc"


class Compiler:
    """
    Processes of one interpreter that compile, started when the first source comes; a context manager.

    Raises `BytecodeError` for an interpreter whose bytecode the target would not read.
    """

    def __init__(self, interpreter: Interpreter, *, jobs: int | None = None, forks: bool = hasattr(os, "fork")) -> None:
        """Use *jobs* processes (default: one for each processor); without *forks* some sources cost a process each."""
        wanted = magic_number(interpreter.version[:2])
        if interpreter.magic != wanted:
            version = ".".join(map(str, interpreter.version))
            raise BytecodeError(
                f"`{interpreter.path}` (CPython {version}) writes bytecode with magic number {interpreter.magic}, "
                f"and the target reads {wanted}",
                hint='it is not a release: install one, or build without bytecode: bytecode = "none"',
            )
        self.interpreter = interpreter
        self._jobs = jobs or _processors()
        self._forks = forks
        self._pool: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._processes: list[_Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        while self._processes:
            self._processes.pop().close()

    def compile(
        self, sources: Iterable[tuple[str, bytes]], *, root: str, invalidation: Invalidation = Invalidation.UNCHECKED
    ) -> Iterator[Compiled]:
        """
        Compile *sources*, pairs of path and content, as the files they will be below *root*; yield in the same order.

        *root* is absolute and ends with a slash (``/opt/python/``): tracebacks name it. Sources are drawn as they are needed.
        Raises `BytecodeError` if the interpreter cannot be run.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="compile")
        pending: deque[Future[Compiled]] = deque()
        for path, source in sources:
            pending.append(self._pool.submit(self._compile, path, source, root, invalidation))
            if len(pending) > self._jobs * _WINDOW:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _compile(self, path: str, source: bytes, root: str, invalidation: Invalidation) -> Compiled:
        request = _request(root + path, source, invalidation)
        state, answer = self._process("quick").ask(request)
        if state == _NEEDS_FRESH_PROCESS:
            state, answer = self._process("fork").ask(request) if self._forks else self._once(request)
        if state == _COMPILED:
            return Compiled(path=path, bytecode=answer)
        return Compiled(path=path, bytecode=None, reason=answer.decode("utf-8", "replace"))

    def _once(self, request: bytes) -> tuple[int, bytes]:
        process = _Process(self.interpreter, "once")
        try:
            return process.ask(request)
        finally:
            process.close()

    def _process(self, mode: str) -> _Process:
        """Return this thread's process for *mode*."""
        existing: _Process | None = getattr(self._local, mode, None)
        if existing is None:
            existing = _Process(self.interpreter, mode)
            setattr(self._local, mode, existing)
            self._processes.append(existing)
        return existing


class _Process:
    """One process of the interpreter that answers requests one after the other."""

    def __init__(self, interpreter: Interpreter, mode: str) -> None:
        # -I would have it ignore the seed, without which set constants have no fixed order before 3.11.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        program = _WORKER.read_text(encoding="utf-8")
        self._path = interpreter.path
        try:
            self._process = subprocess.Popen(
                [str(interpreter.path), "-s", "-S", "-B", "-W", "ignore", "-c", program, mode],
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
        """Return the state and the bytes that answer *request*."""
        try:
            self._requests.write(request)
            self._requests.flush()
        except BrokenPipeError as error:
            raise self._failure("it ended") from error
        head = self._answers.read(5)
        length = int.from_bytes(head[1:], "little")
        answer = self._answers.read(length)
        if len(head) != 5 or len(answer) != length:
            raise self._failure("it ended")
        return head[0], answer

    def close(self) -> None:
        """End the process; it does so itself when nobody can ask any more."""
        with self._process, suppress(BrokenPipeError):
            self._requests.close()

    def _failure(self, reason: str) -> BytecodeError:
        return BytecodeError(
            f"`{self._path}` could not compile: {reason}",
            hint='check that it runs, or build without bytecode: bytecode = "none"',
        )


def _request(filename: str, source: bytes, invalidation: Invalidation) -> bytes:
    name = filename.encode("utf-8")
    lengths = len(name).to_bytes(4, "little") + len(source).to_bytes(4, "little")
    return bytes((invalidation.value,)) + lengths + name + source


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
