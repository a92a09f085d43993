"""
Ask the Linux kernel for an environment of one's own, by the calls that Python has no function for.

Runs in the supervisor only, a process with one thread. Every failure is an OSError that says what was being done.
Numbers are those of ``linux/mount.h``, ``linux/sched.h``, ``linux/prctl.h`` (6.1, read 2026-11-23); they are the same on x86_64 and aarch64.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY = 1
_SYS_MOUNT_SETATTR = 442
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 36, 24, 38

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, action: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{action}: {os.strerror(number)}")


def _prctl(option: int, argument: int) -> int:
    result: int = _libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0)
    return result


def die_with_parent(signal: int) -> None:
    """Let the kernel send *signal* to this process when the one that started it is gone."""
    _checked(_prctl(_PR_SET_PDEATHSIG, signal), "prctl")


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _checked(_prctl(_PR_SET_CHILD_SUBREAPER, 1), "prctl")


def drop_privileges() -> None:
    """Give up all capabilities with the next program, root's included, for good."""
    _checked(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "prctl")
    capability = 0
    # The first number that the kernel does not know ends the list; one that may not be dropped is not held either.
    while _prctl(_PR_CAPBSET_DROP, capability) == 0:
        capability += 1


def unshare(flags: int) -> None:
    """Leave the parent's namespaces that *flags* name."""
    _checked(_libc.unshare(flags), "unshare")


def own_user_namespace(flags: int) -> None:
    """Leave the parent's namespaces as an ordinary user, who stays the same user inside."""
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | flags)
    # Kernels from 3.19 on refuse a group map before this (user_namespaces(7), read 2026-11-23).
    with suppress(FileNotFoundError):
        _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Attach a file system; the arguments are those of the system call."""
    arguments = [text.encode() if text is not None else None for text in (source, target, kind, options)]
    result = _libc.mount(arguments[0], arguments[1], arguments[2], ctypes.c_ulong(flags), arguments[3])
    _checked(result, f"mount {target}")


def make_readonly(target: str) -> None:
    """Make *target* and every mount below it read-only; needs Linux 5.12."""
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(target.encode()),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _checked(result, f"mount_setattr {target}")


def change_root(root: str) -> None:
    """Make *root* this namespace's root, and let go of the old one."""
    os.chdir(root)
    # Both arguments may be the same directory; then the old root is stacked on the new one (pivot_root(2), read 2026-11-23).
    _checked(_libc.pivot_root(b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", _MNT_DETACH), "umount")
    os.chdir("/")
