"""
Ask ``/proc`` what a program and its descendants use. Where there is no ``/proc``, everything is zero and nothing has children.

Lambda limits what a function's processes hold in memory, not their address space, so resident sizes are what counts here.
"""

from __future__ import annotations

import os

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


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


def program_of(first: int) -> int | None:
    """Return the program that the namespace's first process started, as the host numbers it."""
    started = children(first)
    # Orphans are adopted later and therefore come after it.
    return started[0] if started else None


def used(pid: int) -> int:
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
