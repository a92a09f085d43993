"""
Start one program in a function's environment, watch its memory, and end all its processes.

The supervisor is a separate process between lamina and the program. It has only one thread, because namespaces and ``fork`` require that.
If lamina or the program ends, it ends all other processes. lamina and the supervisor exchange lines of JSON over one socket:

- lamina first sends the `StartRequest`, and later an empty object to query the memory. If lamina closes the socket or ends, the supervisor
  ends all processes.
- The supervisor sends ``refused`` (the kernel does not allow the environment) or ``failed`` (the program did not start) with the ``errno``, and then exits.
  Otherwise it sends ``started`` (nanoseconds of the monotonic clock) with the ``pid``, then ``memory`` (bytes) for each query,
  and finally ``ended`` (the wait status) with ``memory`` and ``killed_for_memory``.

Lambda limits the memory that a function's processes use, not their address space. The supervisor therefore reads resident sizes
from ``/proc``. Without ``/proc``, all sizes are zero, and child processes are not found.
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
    from lamina.core.supervised import kernel

# Importing `typing` needs a third of this process's start time, and nothing here requires it at run time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

    from lamina.core.supervised.request import RootPlan, StartRequest

_TICK_MILLISECONDS = 20
_SWEEP_SECONDS = 0.002
_CHUNK = 1 << 16
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Refused(Exception):  # noqa: N818  # an answer rather than an error
    """The kernel does not allow this user to create the environment."""


class Failed(Exception):  # noqa: N818
    """The program did not start, for example because its file does not exist. The text is the error number, a space and the reason."""


class Channel:
    """The socket to lamina, which carries one JSON object per line."""

    def __init__(self, descriptor: int) -> None:
        """Use the socket *descriptor*, and make sure that the program does not inherit it."""
        os.set_inheritable(descriptor, False)
        self.descriptor = descriptor
        self._data = b""

    def tell(self, **message: float | str | bool | None) -> None:
        """Send *message* as one line of JSON. Errors are ignored, because lamina may have ended."""
        with contextlib.suppress(OSError):
            os.write(self.descriptor, json.dumps(message).encode() + b"\n")

    def lines(self) -> list[bytes] | None:
        """Wait for data, and return the complete lines received; return ``None`` if lamina has closed the socket."""
        try:
            piece = os.read(self.descriptor, _CHUNK)
        except OSError:
            return None
        if not piece:
            return None
        *complete, self._data = (self._data + piece).split(b"\n")
        return complete


def main() -> None:
    """Read a `StartRequest` from the socket whose file descriptor is the first argument, and run its program until it ends."""
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
        # Ctrl-C also reaches the program, which decides whether to end; the supervisor ignores it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    contained = request.get("plan") is not None
    try:
        child, started, statuses = _start(request)
    except Refused as error:
        channel.tell(refused=str(error))
        return
    except Failed as error:
        number, _, reason = str(error).partition(" ")
        channel.tell(failed=reason, errno=int(number))
        return
    watch = Watch(channel, child, contained=contained, limit=request.get("memory_bytes"))
    channel.tell(started=started, pid=watch.program)
    status = watch.until_end()
    if told := _drain(statuses):
        status = int(told)
    _sweep(child)
    channel.tell(ended=status, memory=watch.peak, killed_for_memory=watch.killed_for_memory)


class Watch:
    """Monitors one running program, and kills it if it exceeds its memory limit or if lamina closes the socket."""

    def __init__(self, channel: Channel, child: int, *, contained: bool, limit: int | None) -> None:
        """Watch *child*: the first process of the namespace if *contained*, otherwise the program itself."""
        self.channel = channel
        self.child = child
        self.limit = limit
        self.peak = 0
        self.killed_for_memory = False
        self.program = _program_of(child) if contained else child

    def measure(self) -> None:
        """Measure the program's memory, update the peak, and kill the program if the peak exceeds the limit."""
        if self.program is None:
            return
        self.peak = max(self.peak, _used(self.program))
        if self.limit is not None and self.peak > self.limit and not self.killed_for_memory:
            self.killed_for_memory = True
            # Only this process can wait for its child, so the id cannot belong to another process yet.
            _kill(self.child)

    def until_end(self) -> int:
        """Wait until the child ends, and return its wait status. Kill the child if lamina closes the socket."""
        poll = select.poll()
        poll.register(self.channel.descriptor, select.POLLIN)
        if sys.platform == "linux":
            # A pidfd wakes the loop as soon as the child ends. Without it (Linux before 5.3, other systems) the loop polls every tick.
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
        """Answer lamina's query for the memory; return ``False`` if lamina has closed the socket."""
        received = self.channel.lines()
        if received:
            self.measure()
            self.channel.tell(memory=self.peak)
        return received is not None


def _start(request: StartRequest) -> tuple[int, int, int]:
    """
    Start the program that *request* describes.

    Return the id of the process to wait for, the program's start time in nanoseconds of the monotonic clock, and the reading end of a pipe.
    In a namespace, the process to wait for is the namespace's first process, which writes the program's wait status to that pipe.

    Raises `Refused` if the kernel does not allow the environment, and `Failed` if the program does not start.
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
    # "T" and the time on success; executing the program closes the pipe. "F", the error number and a reason, or "R" and a reason, on failure.
    began, _, failed = _drain(news).decode(errors="replace").partition("F")
    if began.startswith("T") and not failed:
        return child, int(began[1:]), statuses
    os.waitpid(child, 0)
    os.close(statuses)
    if failed:
        raise Failed(failed)
    raise Refused(began[1:] or "the first process of the namespace ended")


def _separate() -> None:
    """Create a new process namespace for the children of this process. Users other than root also require a new user namespace."""
    flags = kernel.CLONE_NEWPID
    try:
        if os.geteuid() == 0:
            try:
                kernel.unshare(flags)
            except PermissionError:
                # Root in a container often lacks this permission, but may have it in a new user namespace.
                kernel.own_user_namespace(flags)
        else:
            kernel.own_user_namespace(flags)
    except OSError as error:
        raise Refused(str(error.strerror or error)) from error


def _contain(request: StartRequest, plan: RootPlan, telling: int, telling_status: int) -> NoReturn:
    """
    Run as the first process of the namespace: build the root, start the program and wait for it.

    When this process exits, the kernel kills all other processes of the namespace.
    """
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
    """Apply the limits of *request* to this process, and execute the program in it. Write the reason of a failure to the pipe *telling*."""
    try:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        if sys.platform == "linux":
            kernel.die_with_parent(signal.SIGKILL)
        if request["detached"]:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if sys.platform == "linux" and not request.get("privileged"):
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
        os.write(telling, f"F{error.errno} {error.strerror}".encode())
    os._exit(127)


def _drain(descriptor: int) -> bytes:
    """Read the pipe *descriptor* until all of its writing ends are closed. Return the data, and close *descriptor*."""
    pieces = []
    while piece := os.read(descriptor, _CHUNK):
        pieces.append(piece)
    os.close(descriptor)
    return b"".join(pieces)


def _kill(pid: int) -> bool:
    """Kill the process *pid*. Return false if this user may not, because the process has become another user's."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True


def _sweep(child: int) -> None:
    """
    Kill the processes that the program has left running.

    On Linux, this process has adopted all of them. On other systems, only those of the program's process group are found. Processes that
    have become another user's, such as those of ``sudo``, cannot be killed.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform != "linux":
            os.killpg(child, signal.SIGKILL)
    while True:
        left = children(os.getpid())
        killed = [_kill(pid) for pid in left]
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            if left and not any(killed):
                return
            # The kernel's list may lack a child while another one ends (proc_pid_task(5), "children"), so read it again
            # instead of waiting for a child that was never killed.
            time.sleep(_SWEEP_SECONDS)


def children(pid: int) -> list[int]:
    """Return the ids of the child processes of *pid*, including adopted ones and those that have ended but are not yet waited for."""
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
            # The kernel may be built without this file, or the thread may have just ended.
            if not os.path.exists("/proc/self/task/self/children") and os.path.exists(f"/proc/{pid}"):
                return _children_by_parent(pid)
        except OSError:
            continue
    return found


def _children_by_parent(parent: int) -> list[int]:
    return [pid for pid, fields in _processes() if int(fields[1]) == parent]


def _processes() -> Iterator[tuple[int, list[bytes]]]:
    """Yield the id of each process, and its fields in ``/proc``: the state, the parent, the group, the session, and others."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stream:
                    # The command's name is in parentheses and may contain any character.
                    fields = stream.read().rpartition(b")")[2].split()
            except OSError:
                continue
            yield int(name), fields


def end_session(session: int, group: int | None) -> None:
    """
    Kill the processes of *session*, whose leader, a supervisor, was killed before it could.

    Without ``/proc``, kill the processes of the program's *group*. Daemons, which have a session of their own, are not found: only the
    supervisor knew them.
    """
    if sys.platform != "linux":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if group is not None:
                os.killpg(group, signal.SIGKILL)
        return
    # A process that was just started is in the next list.
    while left := [pid for pid, fields in _processes() if int(fields[3]) == session and fields[0] not in {b"Z", b"X"}]:
        killed = [_kill(pid) for pid in left]
        if not any(killed):
            return
        time.sleep(_SWEEP_SECONDS)


def _program_of(first: int) -> int | None:
    """Return the process id, on the host, of the program that the namespace's first process started; ``None`` if it has ended."""
    started = children(first)
    # Adopted orphans come after the program in the list.
    return started[0] if started else None


def _used(pid: int) -> int:
    """
    Return the larger of two memory sizes in bytes.

    The first is the peak resident size of *pid*. The second is its current resident size plus the private memory of its descendants.
    """
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
    """Return the current and the peak resident size of *pid*, in bytes; zero if unknown."""
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
    """Return the private memory of *pid* in bytes: its resident size without memory that is mapped from files or shared."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as stream:
            _, resident, shared, *_ = map(int, stream.read().split())
    except (OSError, ValueError):
        return 0
    return max(0, resident - shared) * _PAGE_BYTES
