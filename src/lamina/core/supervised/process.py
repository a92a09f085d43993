"""
Start a program through the supervisor process, read the program's output, and find out how it ended.

Closing the socket to the supervisor ends the program. The kernel closes that socket when lamina is killed, so no program is left running.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, overload

from lamina.core.environment import bare_environment
from lamina.core.errors import InvokeError, StartError
from lamina.core.faults import exhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lamina.core.errors import MachineError
    from lamina.core.supervised.request import StartRequest

_SOURCES = Path(__file__).parents[3]
_SUPERVISOR = """
import sys
sys.path.insert(0, sys.argv.pop())
from lamina.core.supervised.supervisor import main
main()
"""
_CHUNK = 1 << 16
# The capacity of a pipe is 64 KiB, or at most 1 MiB if its writer raises it (pipe(7), read 2026-11-23).
_MOST_POURED = 1 << 20
_MOST_REPORTED = 64 << 20
_PATIENCE_SECONDS = 30
_MOST_KEPT_BYTES = 1 << 20
_TICK_SECONDS = 0.5
_AGAIN = "another program may have ended it: run the command again"


class RefusedError(InvokeError):
    """Namespace mode is not available: the kernel does not allow it, or the interpreter is outside its prefix. No program was started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a program ended, and how much memory it used."""

    status: int
    """The wait status, for `os.waitstatus_to_exitcode`."""
    memory_bytes: int
    """The highest memory, in bytes, that was measured for the program and its descendants."""
    killed_for_memory: bool


class Process:
    """
    A running program and its descendants.

    Use it as a context manager. On exit, the program and all its descendants are ended.
    """

    def __init__(
        self,
        request: StartRequest,
        *,
        on_log: Callable[[bytes], None] | None = None,
        on_error: Callable[[bytes], None] | None = None,
        on_end: Callable[[Ended], None] | None = None,
        report: bool = False,
    ) -> None:
        """
        Start the program that *request* describes.

        *on_log* receives the program's output; without it, the output goes to lamina's stdout and stderr. *on_error*, if passed, receives
        stderr instead of *on_log*. *on_end* is called once the program has ended. All three are called in a separate thread. With *report*,
        the variable ``LAMINA_REPORT_FD`` is set to the number of a file descriptor. Data that the program writes there is collected in
        `reported`.

        Raises `RefusedError` if the kernel does not allow the namespaces, `StartError` if the program does not start, and `LimitError` if a
        limit of the machine is the reason.
        """
        self.ended: Ended | None = None
        self._reported = bytearray()
        self._memory = 0
        self._on_end = on_end
        self._detached = request["detached"]
        self._changed = threading.Condition()
        self._lines = b""
        self._early: list[dict[str, Any]] = []
        self._outputs: dict[IO[bytes], Callable[[bytes], None]] = {}
        with ExitStack() as stack:
            self._channel, theirs = socket.socketpair()
            stack.callback(theirs.close)
            failed = stack.enter_context(ExitStack())
            failed.callback(self._channel.close)
            log = self._pipe(on_log, stack, failed) if on_log else None
            errors = self._pipe(on_error, stack, failed) if on_error else log
            reporting = self._pipe(self._collect, stack, failed) if report else None
            if reporting is not None:
                request["environment"]["LAMINA_REPORT_FD"] = str(reporting)
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _SUPERVISOR, str(theirs.fileno()), str(_SOURCES)],
                stdin=subprocess.DEVNULL if request["detached"] else None,
                stdout=log,
                stderr=errors,
                env=bare_environment(os.environ),
                pass_fds=[theirs.fileno()] + ([reporting] if reporting is not None else []),
            )
            theirs.close()
            try:
                self.started_at, self.pid = self._begin(request)
            except BaseException:
                self._channel.close()
                self._supervisor.wait()
                raise
            failed.pop_all()
        self._thread = threading.Thread(target=self._follow, name="lamina-process", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def reported(self) -> bytes:
        """What the program has written to the descriptor ``LAMINA_REPORT_FD``; at most about 64 MiB are kept."""
        return bytes(self._reported)

    def stop(self) -> None:
        """End the program and its descendants, and wait until all of them have ended."""
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
        self._supervisor.wait()
        self._thread.join()

    def wait(self, timeout: float | None = None) -> Ended | None:
        """Wait until the program ends and return how; return ``None`` if it is still running after *timeout* seconds."""
        with self._changed:
            wait_for(self._changed, lambda: self.ended is not None, timeout)
            return self.ended

    def memory(self) -> int:
        """
        Return the highest memory, in bytes, that the program and its descendants have used so far.

        All output that the program has written by now is passed to ``on_log`` before this returns.
        """
        with self._changed:
            self.catch_up()
            return self.ended.memory_bytes if self.ended is not None else max(0, self._memory)

    def catch_up(self) -> None:
        """Wait until all output that the program has written by now is passed to ``on_log``."""
        # The thread that reads the log also reads the supervisor's answer, and reads the log first.
        with self._changed:
            self._memory = -1
            with suppress(OSError):
                self._channel.sendall(b"{}\n")
            self._changed.wait_for(lambda: self._memory >= 0 or self.ended is not None, _PATIENCE_SECONDS)

    def _pipe(self, take: Callable[[bytes], None], stack: ExitStack, failed: ExitStack) -> int:
        """
        Create a pipe whose data is passed to *take*, and return the descriptor of its writing end.

        *stack* closes this process's copy of the writing end. *failed* closes the reading end if the program does not start.
        """
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        stream = os.fdopen(reading, "rb", buffering=0)
        self._outputs[stream] = take
        failed.callback(stream.close)
        stack.callback(os.close, writing)
        return writing

    def _begin(self, request: StartRequest) -> tuple[int, int | None]:
        self._channel.sendall(json.dumps(request).encode() + b"\n")
        while True:
            piece = self._channel.recv(_CHUNK)
            if not piece:
                raise StartError("lamina's supervisor process exited before it started the program", hint=_AGAIN)
            messages = self._messages(piece)
            if not messages:
                continue
            # A short program may have ended already, so this read may also contain the message about its end.
            message, *self._early = messages
            if "refused" in message:
                raise RefusedError(
                    f"this system does not allow mount namespaces: {message['refused']}", hint="pass `--mode path`"
                )
            if "failed" in message:
                raise not_started(request["arguments"][0], OSError(message["errno"], message["failed"]))
            return message["started"], message["pid"]

    def _messages(self, piece: bytes) -> list[dict[str, Any]]:
        *complete, self._lines = (self._lines + piece).split(b"\n")
        return [json.loads(line) for line in complete]

    def _follow(self) -> None:
        """Read messages and output until the supervisor ends."""
        try:
            self._listen()
        finally:
            # This also runs if a callback raises: closing the socket ends the program, and all waiting threads are released.
            for stream in self._outputs:
                stream.close()
            self._channel.close()
            if self.ended is None:
                self._supervisor.wait()
                self._end_leftovers()
                self._conclude(Ended(status=9, memory_bytes=max(0, self._memory), killed_for_memory=False))

    def _end_leftovers(self) -> None:
        """End what a killed supervisor has left. In a terminal, where it has no session of its own, the kernel ends the program alone."""
        from lamina.core.supervised.supervisor import end_session

        if self._detached:
            end_session(self._supervisor.pid, self.pid)

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            for stream in self._outputs:
                selector.register(stream, selectors.EVENT_READ, data=stream)
            for message in self._early:
                self._understand(message)
            going = True
            while going:
                for key, _ in selector.select():
                    if key.data is None:
                        going = self._hear()
                    elif not self._pour(key.data):
                        selector.unregister(key.data)
        self._pour_all()

    def _hear(self) -> bool:
        """Read messages from the supervisor. Return whether more may follow."""
        try:
            piece = self._channel.recv(_CHUNK)
        except OSError:
            return False
        for message in self._messages(piece):
            self._understand(message)
        return bool(piece)

    def _understand(self, message: dict[str, Any]) -> None:
        # Output that was written before the message must be logged before other threads see the message.
        self._pour_all()
        if "ended" in message:
            memory, killed = message["memory"], message["killed_for_memory"]
            self._conclude(Ended(status=message["ended"], memory_bytes=memory, killed_for_memory=killed))
        else:
            with self._changed:
                self._memory = message["memory"]
                self._changed.notify_all()

    def _conclude(self, ended: Ended) -> None:
        with self._changed:
            self.ended = ended
            self._changed.notify_all()
        if self._on_end is not None:
            self._on_end(ended)

    def _collect(self, piece: bytes) -> None:
        # A function can write to the descriptor, too. A report that is cut off is invalid.
        if len(self._reported) <= _MOST_REPORTED:
            self._reported += piece

    def _pour_all(self) -> None:
        for stream in self._outputs:
            self._pour(stream)

    def _pour(self, stream: IO[bytes]) -> bool:
        """Pass the data that is available in *stream* to its callback. Return whether more may follow."""
        poured = 0
        # The limit keeps a program that writes endlessly from blocking messages of the supervisor. It covers a full pipe, so all data
        # that was written before this call is read.
        while poured <= _MOST_POURED:
            try:
                piece = os.read(stream.fileno(), _CHUNK)
            except BlockingIOError:
                return True
            if not piece:
                return False
            poured += len(piece)
            self._outputs[stream](piece)
        return True


def wait_for(condition: threading.Condition, reached: Callable[[], bool], seconds: float | None) -> bool:
    """
    Wait until *reached* returns true, or for *seconds*; return whether it does. The caller holds *condition*.

    The main thread would never notice a signal that arrives just before it starts to wait, so it waits for short times.
    """
    end = None if seconds is None else time.monotonic() + seconds
    while not reached():
        left = _TICK_SECONDS if end is None else min(_TICK_SECONDS, end - time.monotonic())
        if left <= 0:
            return False
        condition.wait_for(reached, left)
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """How a command ended, and the end of its output."""

    code: int
    """The exit code; negative if a signal ended the command."""
    output: bytes
    """The end of stdout, with stderr unless it was asked for separately."""
    errors: bytes
    """The end of stderr, if it was asked for separately."""


@overload
def run(
    arguments: Sequence[str], *, environment: Mapping[str, str], directory: Path, separate_errors: bool = False
) -> Finished: ...


@overload
def run(
    arguments: Sequence[str], *, environment: Mapping[str, str], directory: Path, seconds: float
) -> Finished | None: ...


def run(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    separate_errors: bool = False,
    seconds: float | None = None,
) -> Finished | None:
    """
    Run a command without a terminal in *directory*, and wait until it ends. It and all its descendants end with lamina.

    The last megabyte of its output is kept. With *seconds*, a command that takes longer is ended, and ``None`` is returned. Raises `StartError` if the command does not start, and `LimitError` if a limit of the machine
    is the reason.
    """
    if sys.platform == "win32":
        return _run_unsupervised(
            arguments,
            environment=environment,
            directory=directory,
            separate_errors=separate_errors,
            seconds=seconds,
        )
    output, errors = bytearray(), bytearray()
    request: StartRequest = {
        "arguments": list(arguments),
        "environment": dict(environment),
        "directory": str(directory),
        "detached": True,
        "privileged": True,
    }
    with Process(
        request, on_log=partial(_keep_end, output), on_error=partial(_keep_end, errors) if separate_errors else None
    ) as process:
        ended = process.wait(seconds)
    if ended is None and seconds is not None:
        return None
    if ended is None:
        raise StartError(f"lamina's supervisor process did not report how `{arguments[0]}` ended", hint=_AGAIN)
    return Finished(code=os.waitstatus_to_exitcode(ended.status), output=bytes(output), errors=bytes(errors))


if sys.platform == "win32":

    def _run_unsupervised(
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        separate_errors: bool,
        seconds: float | None,
    ) -> Finished | None:
        """Run a command where the supervisor does not work: the command goes on if lamina is killed."""
        try:
            done = subprocess.run(
                arguments,
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if separate_errors else subprocess.STDOUT,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            return None
        except OSError as error:
            raise not_started(arguments[0], error) from error
        return Finished(code=done.returncode, output=done.stdout, errors=done.stderr or b"")


def not_started(program: str, error: OSError) -> MachineError:
    """Return the error to report if the system refuses to start *program* with *error*."""
    import shlex

    return exhausted(error) or StartError(
        f"failed to start `{program}`: {error.strerror}",
        hint=f"check that the program and its interpreter exist and can be run: `{shlex.quote(program)} --version`",
    )


def _keep_end(kept: bytearray, piece: bytes) -> None:
    kept += piece
    del kept[:-_MOST_KEPT_BYTES]
