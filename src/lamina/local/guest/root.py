"""
Build the root directory that a function sees, in a mount namespace; the host's own directories stay as they are.

The new root is an empty tmpfs. Everything else is bound into it, so mount points that the host lacks, such as ``/var/task``,
come to be without touching the host.
"""

from __future__ import annotations

import os

from lamina.local.guest import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lamina.local.guest.request import RootPlan

# What a program needs from the host to run at all. Home directories are not among it, nor is the project.
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "dev", "sys", "nix", "gnu")
# Where /etc/resolv.conf often points.
_RESOLVERS = ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager")
# Lambda's only writable directory.
_EPHEMERAL = "/tmp"  # noqa: S108


def build(plan: RootPlan) -> None:
    """Build the root and enter it; raises OSError where the kernel refuses."""
    root = plan["root"]
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("lamina", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755,size=16m")
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
            kernel.make_readonly(root + target)
    else:
        kernel.make_readonly(root)
        size = plan["ephemeral_bytes"]
        kernel.mount("lamina", root + _EPHEMERAL, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, f"mode=1777,size={size}")
    kernel.change_root(root)


def _reflect(path: str, root: str, targets: list[str]) -> None:
    """Show the host's *path* in the new root; a directory on the way to one of *targets* is made anew, entry by entry."""
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
        kernel.mount(path, root + path, None, kernel.MS_BIND)


def _bind(source: str, target: str) -> None:
    os.makedirs(target, exist_ok=True)
    kernel.mount(source, target, None, kernel.MS_BIND | kernel.MS_REC)


def _mount_proc(root: str) -> None:
    """Mount the process list of the new namespace, or the host's where the kernel keeps that from us (some containers do)."""
    target = f"{root}/proc"
    os.makedirs(target, exist_ok=True)
    try:
        kernel.mount("proc", target, "proc", kernel.MS_NOSUID | kernel.MS_NODEV)
    except OSError:
        _bind("/proc", target)
