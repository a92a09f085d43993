"""
Create Linux namespaces and a function's root directory, with system calls for which Python has no functions.

The new root is an empty tmpfs in a mount namespace. The function's and the host's directories are bind-mounted into it.
Mount points that the host lacks, such as ``/var/task``, are therefore created without changes to the host's own directories.

Runs only in the supervisor, a process with one thread. Each failure raises `OSError` with the name of the system call.
The constants are from ``linux/mount.h``, ``linux/sched.h``, ``linux/prctl.h`` (6.1, read 2026-11-23), identical on x86_64 and aarch64.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lamina.core.supervised.request import RootPlan

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY = 1
_SYS_MOUNT_SETATTR = 442
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 36, 24, 38

# The host's directories that programs require to run. Home directories and the project stay hidden.
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "dev", "sys", "nix", "gnu")
# Common targets of the symbolic link /etc/resolv.conf.
_RESOLVERS = ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager")
# Lambda's only writable directory.
_EPHEMERAL = "/tmp"  # noqa: S108

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, action: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{action}: {os.strerror(number)}")


def _prctl(option: int, argument: int) -> int:
    result: int = _libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0)
    return result


def die_with_parent(signal: int) -> None:
    """Make the kernel send *signal* to this process when its parent process ends."""
    _checked(_prctl(_PR_SET_PDEATHSIG, signal), "prctl")


def adopt_orphans() -> None:
    """Make this process the parent of each descendant whose own parent has ended."""
    _checked(_prctl(_PR_SET_CHILD_SUBREAPER, 1), "prctl")


def drop_privileges() -> None:
    """Give up all capabilities permanently, so that the program that this process executes next has none, even as root."""
    _checked(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "prctl")
    capability = 0
    # The loop ends at the first number that the kernel does not define. It also ends if the process may not drop capabilities;
    # such a process has none.
    while _prctl(_PR_CAPBSET_DROP, capability) == 0:
        capability += 1


def unshare(flags: int) -> None:
    """Create new namespaces of the kinds in *flags*, and move this process into them."""
    _checked(_libc.unshare(flags), "unshare")


def own_user_namespace(flags: int) -> None:
    """Create new namespaces of the kinds in *flags* inside a new user namespace, without root privileges. User and group ids stay the same."""
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | flags)
    # Since Linux 3.19, `gid_map` is writable only after this (user_namespaces(7), read 2026-11-23).
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
    """Mount *source* at *target*. The arguments are those of the system call ``mount``. Raises `OSError` if the call fails."""
    arguments = [text.encode() if text is not None else None for text in (source, target, kind, options)]
    result = _libc.mount(arguments[0], arguments[1], arguments[2], ctypes.c_ulong(flags), arguments[3])
    _checked(result, f"mount {target}")


def make_readonly(target: str) -> None:
    """Make *target* and all mounts below it read-only. Requires Linux 5.12."""
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
    """Make *root* the root directory of this mount namespace, and unmount the old root."""
    os.chdir(root)
    # With the same directory for both arguments, the old root is mounted on top of the new one (pivot_root(2), read 2026-11-23).
    _checked(_libc.pivot_root(b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", _MNT_DETACH), "umount")
    os.chdir("/")


def build_root(plan: RootPlan) -> None:
    """Build the root directory that *plan* describes, and make it the root of this process. Raises `OSError` if the kernel refuses a step."""
    root = plan["root"]
    unshare(CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("lamina", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=16m")
    nothing = f"{root}/.empty"
    os.mkdir(nothing)
    targets = [target for _, target in plan["binds"]]
    for name in sorted(os.listdir("/")) if plan["host"] else _SYSTEM:
        if name != "proc":
            _reflect(f"/{name}", root, targets)
    if not plan["host"]:
        for path in _RESOLVERS:
            _reflect(path, root, targets)
        os.makedirs(root + _EPHEMERAL, exist_ok=True)
    for source, target in plan["binds"]:
        _bind(source, root + target)
    _mount_proc(root)
    for target in plan["empty"]:
        if os.path.isdir(root + target):
            _bind(nothing, root + target)
    if plan["host"]:
        for target in targets:
            make_readonly(root + target)
    else:
        make_readonly(root)
        size = plan["ephemeral_bytes"]
        mount("lamina", root + _EPHEMERAL, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,size={size}")
    change_root(root)


def _reflect(path: str, root: str, targets: list[str]) -> None:
    """
    Make the host's *path* visible in the new root, unless it is one of *targets*, where the function's directories are mounted.

    If *path* is a parent directory of one of *targets*, create a new directory and add the entries of *path* one by one.
    """
    if path in targets or not os.path.lexists(path):
        return
    if os.path.islink(path):
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.symlink(os.readlink(path), root + path)
    elif any(target.startswith(f"{path}/") for target in targets):
        os.makedirs(root + path, exist_ok=True)
        for name in sorted(os.listdir(path)):
            _reflect(f"{path}/{name}", root, targets)
    elif os.path.isdir(path):
        _bind(path, root + path)
    elif os.path.isfile(path):
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.close(os.open(root + path, os.O_CREAT | os.O_WRONLY))
        mount(path, root + path, None, MS_BIND)


def _bind(source: str, target: str) -> None:
    os.makedirs(target, exist_ok=True)
    mount(source, target, None, MS_BIND | MS_REC)


def _mount_proc(root: str) -> None:
    """Mount ``/proc`` of the new namespace, or bind-mount the host's if the kernel refuses, as in some containers."""
    target = f"{root}/proc"
    os.makedirs(target, exist_ok=True)
    try:
        mount("proc", target, "proc", MS_NOSUID | MS_NODEV)
    except OSError:
        _bind("/proc", target)
