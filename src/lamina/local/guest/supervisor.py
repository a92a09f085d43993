"""
Start one program in its environment, watch its memory, and leave nothing of it behind.

Runs as a process of its own between lamina and the program, so that namespaces, limits and the death of either side are
handled where there is one thread. The two talk over one socket, in lines of JSON:

- lamina first sends the `StartRequest`, and later an empty object to ask for the memory. Its closing the socket, or dying, ends everything.
- the supervisor sends ``refused`` (no such environment for this user) or ``failed`` (the program cannot be started), and nothing more;
  or ``started`` (nanoseconds of the monotonic clock) with the ``pid``, then ``memory`` (bytes) whenever asked,
  and at last ``ended`` (the wait status) with ``memory`` and ``killed_for_memory``.

Lambda limits what a function's processes hold in memory, not their address space, so resident sizes are what counts. They come from
``/proc``. Where there is none, everything is zero and nothing has children.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time

if sys.platform == "linux":
    from lamina.local.guest import kernel

# The module `typing` costs a third of this process's start, and nothing here needs it at run time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from lamina.local.guest.request import RootPlan, StartRequest

_TICK_MILLISECONDS = 20
_CHUNK = 1 << 16
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Refused(Exception):  # noqa: N818  # an answer rather than an error
    """The kernel does not let this user build the environment."""


class Failed(Exception):  # noqa: N818
    """The program could not be started."""


class Channel:
    """The socket to lamina."""

    def __init__(self, descriptor: int) -> None:
        """Take over *descriptor*; the program must not inherit it."""
        os.set_inheritable(descriptor, False)
        self.descriptor = descriptor
        self._data = b""

    def tell(self, **message: float | str | bool | None) -> None:
        """Send one line; lamina may be gone already."""
        with contextlib.suppress(OSError):
            os.write(self.descriptor, json.dumps(message).encode() + b"\n")

    def lines(self) -> list[bytes] | None:
        """Return the lines that have arrived, waiting for some bytes; ``None`` once lamina has closed the socket."""
        try:
            piece = os.read(self.descriptor, _CHUNK)
        except OSError:
            return None
        if not piece:
            return None
        *complete, self._data = (self._data + piece).split(b"\n")
        return complete


def main() -> None:
    """Carry out the one request that comes over the descriptor in the first argument."""
    channel = Channel(int(sys.argv[1]))
    received: list[bytes] | None = []
    while not received:
        received = channel.lines()
        if received is None:
            return
    request: StartRequest = json.loads(received[0])
    if request["detached"]:
        os.setsid()
    else:
        # The terminal's interrupt goes to the program, and how that ends decides.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    contained = request.get("plan") is not None
    try:
        child, started, statuses = _start(request)
    except Refused as error:
        channel.tell(refused=str(error))
        return
    except Failed as error:
        channel.tell(failed=str(error))
        return
    watch = Watch(channel, child, contained=contained, limit=request.get("memory_bytes"))
    channel.tell(started=started, pid=watch.program)
    status = watch.until_end()
    if told := _drain(statuses):
        status = int(told)
    _sweep(child)
    channel.tell(ended=status, memory=watch.peak, killed_for_memory=watch.killed_for_memory)


class Watch:
    """One running program: how much memory it uses, whether it has ended, whether lamina still wants it."""

    def __init__(self, channel: Channel, child: int, *, contained: bool, limit: int | None) -> None:
        """Watch *child*, which is the program itself, or if *contained* the first process of its namespace."""
        self.channel = channel
        self.child = child
        self.limit = limit
        self.peak = 0
        self.killed_for_memory = False
        self.program = _program_of(child) if contained else child

    def measure(self) -> None:
        """Raise the peak to what is used now, and kill the program when that is more than it may use."""
        if self.program is None:
            return
        self.peak = max(self.peak, _used(self.program))
        if self.limit is not None and self.peak > self.limit and not self.killed_for_memory:
            self.killed_for_memory = True
            _kill(self.program)

    def until_end(self) -> int:
        """Return the child's wait status; lamina's going away kills it first."""
        poll = select.poll()
        poll.register(self.channel.descriptor, select.POLLIN)
        if sys.platform == "linux":
            # Only to wake up at once; kernels before 5.3 cannot, and are asked every tick like every other system.
            with contextlib.suppress(OSError):
                poll.register(os.pidfd_open(self.child), select.POLLIN)
        while True:
            for descriptor, _ in poll.poll(_TICK_MILLISECONDS):
                if descriptor == self.channel.descriptor and not self._answer():
                    poll.unregister(descriptor)
                    _kill(self.child)
            pid, status = os.waitpid(self.child, os.WNOHANG)
            if pid:
                return status
            self.measure()

    def _answer(self) -> bool:
        """Answer what lamina asked, unless it is gone."""
        received = self.channel.lines()
        if received:
            self.measure()
            self.channel.tell(memory=self.peak)
        return received is not None


def _start(request: StartRequest) -> tuple[int, int, int]:
    """
    Start the program: the process to wait for, the time it began, and a pipe on which a wait status may come.

    Raises Refused or Failed.
    """
    if sys.platform == "linux":
        kernel.adopt_orphans()
    news, telling = os.pipe()
    statuses, telling_status = os.pipe()
    plan = request.get("plan")
    if plan is not None:
        _separate()
    child = os.fork()
    if child == 0:
        os.close(news)
        os.close(statuses)
        if plan is None:
            _become(request, telling)
        _contain(request, plan, telling, telling_status)
    os.close(telling)
    os.close(telling_status)
    # "T" and the time, then nothing: the descriptor closed itself when the program began. "F" or "R" and a reason otherwise.
    began, _, failed = _drain(news).decode(errors="replace").partition("F")
    if began.startswith("T") and not failed:
        return child, int(began[1:]), statuses
    os.waitpid(child, 0)
    os.close(statuses)
    if failed:
        raise Failed(failed)
    raise Refused(began[1:] or "the first process of the namespace ended")


def _separate() -> None:
    """Put the children into a process namespace of their own; root can, everybody else first becomes root of nothing."""
    flags = kernel.CLONE_NEWPID
    try:
        if os.geteuid() == 0:
            try:
                kernel.unshare(flags)
            except PermissionError:
                # Root of a container often lacks this, and may have it in a user namespace.
                kernel.own_user_namespace(flags)
        else:
            kernel.own_user_namespace(flags)
    except OSError as error:
        raise Refused(str(error.strerror or error)) from error


def _contain(request: StartRequest, plan: RootPlan, telling: int, telling_status: int) -> NoReturn:
    """Be the first process of the namespace: build the environment, start the program, wait for it; with it goes everything else."""
    try:
        kernel.die_with_parent(signal.SIGKILL)
        kernel.build_root(plan)
    except OSError as error:
        os.write(telling, b"R" + str(error.strerror or error).encode())
        os._exit(1)
    program = os.fork()
    if program == 0:
        os.close(telling_status)
        _become(request, telling)
    os.close(telling)
    while True:
        pid, status = os.wait()
        if pid == program:
            os.write(telling_status, str(status).encode())
            os._exit(0)


def _become(request: StartRequest, telling: int) -> NoReturn:
    """Turn this process into the program."""
    try:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        if sys.platform == "linux":
            kernel.die_with_parent(signal.SIGKILL)
        if request["detached"]:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if sys.platform == "linux":
                kernel.drop_privileges()
        if (descriptors := request.get("file_descriptors")) is not None:
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            descriptors = descriptors if most == resource.RLIM_INFINITY else min(descriptors, most)
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        os.umask(0o022)
        os.chdir(request["directory"])
        os.write(telling, f"T{time.monotonic_ns()}".encode())
        os.execvpe(request["arguments"][0], request["arguments"], request["environment"])  # noqa: S606
    except OSError as error:
        os.write(telling, f"F{error.strerror or error}".encode())
    os._exit(127)


def _drain(descriptor: int) -> bytes:
    """Read what is said on *descriptor* until nobody can say more."""
    pieces = []
    while piece := os.read(descriptor, _CHUNK):
        pieces.append(piece)
    os.close(descriptor)
    return b"".join(pieces)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _sweep(child: int) -> None:
    """Kill what the program left: all of it was adopted by this process, or where that cannot be, is of the program's group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform != "linux":
            os.killpg(child, signal.SIGKILL)
    while True:
        for pid in children(os.getpid()):
            _kill(pid)
        try:
            os.wait()
        except ChildProcessError:
            return


def children(pid: int) -> list[int]:
    """Return the processes that *pid* started, or adopted, and that have not been waited for."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as stream:
                found += map(int, stream.read().split())
        except FileNotFoundError:
            # Kernels may be built without that list; the thread may also just have ended.
            if not os.path.exists("/proc/self/task/self/children") and os.path.exists(f"/proc/{pid}"):
                return _children_by_parent(pid)
        except OSError:
            continue
    return found


def _children_by_parent(parent: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stream:
                    # The command's name stands in brackets and may hold anything; state and parent follow it.
                    after = stream.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(after[1]) == parent:
                found.append(int(name))
    return found


def _program_of(first: int) -> int | None:
    """Return the program that the namespace's first process started, as the host numbers it."""
    started = children(first)
    # Orphans are adopted later and therefore come after it.
    return started[0] if started else None


def _used(pid: int) -> int:
    """Return bytes: the most that *pid* itself ever held, or what it and its descendants hold now, if that is more."""
    resident, most = _resident(pid)
    for descendant in _descendants(pid):
        resident += _unshared(descendant)
    return max(resident, most)


def _descendants(pid: int) -> list[int]:
    found = []
    waiting = children(pid)
    while waiting:
        current = waiting.pop()
        found.append(current)
        waiting += children(current)
    return found


def _resident(pid: int) -> tuple[int, int]:
    """Return the current and the highest resident size of *pid*."""
    current = most = 0
    try:
        with open(f"/proc/{pid}/status", "rb") as stream:
            for line in stream:
                if line.startswith(b"VmHWM:"):
                    most = int(line.split()[1]) * 1024
                elif line.startswith(b"VmRSS:"):
                    current = int(line.split()[1]) * 1024
    except OSError:
        return 0, 0
    return current, most


def _unshared(pid: int) -> int:
    """Return the resident size of *pid* without what it shares through files and shared memory."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as stream:
            _, resident, shared, *_ = map(int, stream.read().split())
    except (OSError, ValueError):
        return 0
    return max(0, resident - shared) * _PAGE_BYTES
