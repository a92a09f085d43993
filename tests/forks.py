"""
Run lamina's entry point many times in processes of their own, with real limits, file descriptors and permissions.

A server process imports lamina once, and forks for each `Case`, which takes milliseconds instead of the start of an interpreter. The
child changes only itself: tests need no patches to run a command with eight file descriptors or without standard streams.

Run as a program, this module is the server: it reads one case as JSON in each line of stdin, and answers each with one line.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

import lamina

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BANNER = "error: bug in lamina"
MOST_SECONDS = 10.0
"""How long a command may take, whatever it is given."""

# From linux/capability.h and linux/prctl.h: these let root ignore permissions.
_OVERRIDING = (1, 2, 3)
_CAPBSET_DROP = 24
_CAPABILITY_VERSION = 0x20080522
_LOOK_SECONDS = 0.002
_MOST_OUTPUT = 10_000_000
_PIECES = 64


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run of lamina. The environment has exactly the variables *environment*."""

    arguments: Sequence[str]
    directory: str
    environment: Mapping[str, str]
    limits: Mapping[str, int] = field(default_factory=dict)
    """By the name of a constant in `resource`, such as ``RLIMIT_NOFILE``."""
    streams: Mapping[int, str] = field(default_factory=dict)
    """By the number of a standard stream: the path that it is opened with, or nothing if it is closed."""
    obeys_permissions: bool = False
    """Whether the process may do only what the permissions of files allow, even if it is root."""
    deleted: bool = False
    """Whether *directory* is deleted after the process has changed to it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended: the exit code, negative after a signal; ``None`` if it was stopped because it took too long."""

    code: int | None
    out: str
    err: str
    seconds: float
    memory_bytes: int
    """The highest resident size of the process, which includes what it shares with the server."""


class Forks:
    """A client of the server. Use it as a context manager."""

    def __init__(self) -> None:
        """Start the server, which imports lamina."""
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._server as server:
            if server.stdin is not None:
                server.stdin.close()

    def run(self, case: Case) -> Outcome:
        """Run *case* and return its outcome."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asdict(case)) + "\n")
        self._server.stdin.flush()
        return Outcome(**json.loads(self._server.stdout.readline()))


def import_lamina() -> None:
    """Import all modules that commands import, so that a forked process need not. The AWS CDK needs Node.js and seconds."""
    root = Path(lamina.__file__).parent
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        if not {"cdk", "guest", "__init__", "__main__"} & set(parts):
            importlib.import_module(".".join(parts))
    for name in ("boto3", "botocore.session", "hcl2", "rich.console", "yaml"):
        importlib.import_module(name)


def run(case: Case) -> Outcome:
    """Run *case* in a fork of this process, which must have no other threads."""
    return forked(lambda: _lamina(case), prepare=lambda: _prepare(case))


def forked(call: Callable[[], int], *, prepare: Callable[[], None] = lambda: None) -> Outcome:
    """Return the outcome of *call*, after *prepare*, in a forked process. The process and all that it started are killed after `MOST_SECONDS`."""
    # Pipes, because a limit for the size of files would also apply to output in files.
    out, err = _Pipe(), _Pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(out.writing, 1)
        os.dup2(err.writing, 2)
        os.closerange(3, max(err.writing, out.writing) + 1)
        _child(call, prepare)
    done, status, usage = 0, 0, None
    while done == 0 and time.monotonic() - began < MOST_SECONDS:
        time.sleep(_LOOK_SECONDS)
        out.read()
        err.read()
        done, status, usage = os.wait4(pid, os.WNOHANG)
    seconds = time.monotonic() - began
    _kill(pid)
    if done == 0:
        _, status, usage = os.wait4(pid, 0)
    assert usage is not None
    return Outcome(
        code=os.waitstatus_to_exitcode(status) if done else None,
        out=out.end(),
        err=err.end(),
        seconds=seconds,
        memory_bytes=usage.ru_maxrss * 1024,
    )


class _Pipe:
    """A pipe whose content is kept up to `_MOST_OUTPUT` bytes."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._content = bytearray()

    def read(self) -> None:
        """Read what is there, but not for ever from a process that never stops writing."""
        with suppress(BlockingIOError):
            for _ in range(_PIECES):
                self._content += os.read(self._reading, 1 << 16)[: _MOST_OUTPUT - len(self._content)]

    def end(self) -> str:
        """Read what is left, close the pipe and return all of it."""
        self.read()
        os.close(self._reading)
        os.close(self.writing)
        return self._content.decode(errors="backslashreplace")


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _child(call: Callable[[], int], prepare: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        prepare()
        code = call()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter does
        # Not through `sys.stderr`, which may be what is broken.
        os.write(2, traceback.format_exc().encode(errors="backslashreplace"))
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                code = 120
        os._exit(code)


def _prepare(case: Case) -> None:
    """Make this process what *case* says. Paths are opened and modules imported before the limits apply."""
    os.environ.clear()
    os.environ.update(case.environment)
    time.tzset()
    tempfile.tempdir = None
    os.chdir(case.directory)
    if case.deleted:
        Path(case.directory).rmdir()
    for number in range(3):
        path = case.streams.get(number, os.devnull if number == 0 else None)
        if path is not None:
            os.close(number)
        if path:
            # The lowest free number is that of the stream.
            os.open(path, os.O_RDWR)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, None if case.streams.get(number) == "" else _stream(number))
    if case.obeys_permissions:
        _give_up_privileges()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for limit, value in case.limits.items():
        resource.setrlimit(getattr(resource, limit), (value, value))


def _stream(number: int) -> io.TextIOWrapper:
    raw = open(number, "rb" if number == 0 else "wb", closefd=False)  # noqa: SIM115 - stays open, like a standard stream
    errors = "backslashreplace" if number == 2 else "strict"
    return io.TextIOWrapper(raw, encoding="utf-8", errors=errors, line_buffering=number == 2)


def _give_up_privileges() -> None:
    """Make permissions apply to root. Another user has nothing to give up."""
    if os.geteuid() != 0:
        return
    library = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert library.capget(header, sets) == 0
    for capability in _OVERRIDING:
        # Without this, a program that root starts would have them again.
        library.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
        for index in range(3):
            sets[index] &= ~(1 << capability)
    assert library.capset(header, sets) == 0


def _lamina(case: Case) -> int:
    from lamina.cli.main import entry_point

    sys.argv = ["lamina", *case.arguments]
    entry_point()
    return 0


def _serve() -> None:
    import_lamina()
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    for line in sys.stdin:
        told = json.loads(line)
        told["streams"] = {int(number): path for number, path in told["streams"].items()}
        answers.write(json.dumps(asdict(run(Case(**told)))) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
