"""
Limit processes to a share of one CPU, because Lambda gives a function a CPU share in proportion to its memory.

Linux only; requires permission to create control groups (cgroups), of version 1 or 2. lamina creates a group, and removes it at the end.
A process runs without the limit for its first one or two milliseconds, until its id is known and it is moved into the group.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from lamina.core.errors import InvokeError
from lamina.core.temporary import temporary_directory

_PERIOD_US = 100_000
_ROOT = Path("/sys/fs/cgroup")
_PATIENCE_SECONDS = 2.0


class Limit:
    """A control group whose processes together receive at most *share* of one CPU. Use it as a context manager: the group is removed on exit."""

    def __init__(self, group: Path, share: float, stack: ExitStack) -> None:
        """Use the control group in the directory *group*, whose limit is already set. Closing *stack* removes the group."""
        self.group = group
        self.share = share
        self._stack = stack

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        # The kernel allows removing a group only a moment after its last process has ended.
        while time.monotonic() < end:
            try:
                self.group.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.02)
        self._stack.close()

    def hold(self, pid: int | None) -> None:
        """Move the process *pid* into the group. Raises `InvokeError` on failure, because times without the limit would be misleading."""
        try:
            if pid is None:
                raise ProcessLookupError("the process id is unknown")
            (self.group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise InvokeError(
                f"failed to limit the CPU share of the function's process: {error.strerror or error}",
                hint="measure without `--cpu`",
            ) from error


def limited(share: float, *, root: Path = _ROOT, own: Path = Path("/proc/self/cgroup")) -> Limit | str:
    """
    Create a control group that is limited to *share* of one CPU. Return it, or the reason why the system does not allow it.

    *root* is the mount point of control groups. *own* is the file that lists the groups of this process.
    """
    reasons: list[str] = []
    quota = max(1_000, round(share * _PERIOD_US))
    unified = {"cpu.max": f"{quota} {_PERIOD_US}"}
    version_1 = {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota)}
    for parent, is_unified in _parents(root, own):
        if is_unified and (reason := _unusable(parent)):
            reasons.append(reason)
            continue
        try:
            with ExitStack() as stack:
                group = stack.enter_context(temporary_directory("cpu", parent=parent))
                for name, value in (unified if is_unified else version_1).items():
                    (group / name).write_text(value)
                return Limit(group, share, stack.pop_all())
        except OSError as error:
            reasons.append(f"`{parent}`: {error.strerror}")
    return "; ".join(reasons) or "the system has no control groups"


def _parents(root: Path, own: Path) -> list[tuple[Path, bool]]:
    """
    Return the directories in which to try to create a group. The second value is whether the directory belongs to version 2.

    In version 2, these are the parent of this process's group, then *root*. In version 1, it is the process's own group.
    """
    found: list[tuple[Path, bool]] = []
    try:
        rows = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return found
    for number, controllers, path in rows:
        relative = path.lstrip("/")
        if number == "0":
            # A group with processes cannot enable controllers for child groups, so lamina creates a sibling of its own group.
            parents = dict.fromkeys(((root / relative).parent if relative else root, root))
            found += [(parent, True) for parent in parents]
        elif "cpu" in controllers.split(","):
            for name in (controllers, "cpu"):
                if (root / name).is_dir():
                    found.append((root / name / relative, False))
                    break
    return found


def _unusable(parent: Path) -> str | None:
    """Return why *parent* does not allow child groups with a CPU limit in version 2, or ``None`` if it does."""
    try:
        shared = (parent / "cgroup.subtree_control").read_text().split()
    except OSError as error:
        return f"`{parent}`: {error.strerror}"
    if "cpu" not in shared:
        return f"`{parent}` does not enable the `cpu` controller for child groups"
    return None if os.access(parent, os.W_OK) else f"`{parent}` is not writable"
