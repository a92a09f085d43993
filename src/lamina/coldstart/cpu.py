"""
Hold processes back to a share of a processor, as Lambda does by a function's memory. Linux only, and only where it is allowed.

A group of our own is made, in version 2 of control groups or in version 1's ``cpu`` hierarchy, and removed in the end.
A process is put into it as soon as it is known, which is a millisecond or two after it began.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from lamina.core.errors import InvokeError

_PERIOD_US = 100_000
_ROOT = Path("/sys/fs/cgroup")
_PATIENCE_SECONDS = 2.0


class Limit:
    """A group of processes that together get *share* of one processor. A context manager: on exit the group is gone."""

    def __init__(self, group: Path, share: float) -> None:
        """Take over the *group*, whose limit is set."""
        self.group = group
        self.share = share

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        # The kernel lets go of a group a moment after its last process.
        while time.monotonic() < end:
            try:
                self.group.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)
            else:
                return

    def hold(self, pid: int | None) -> None:
        """Put the process *pid* into the group; raises InvokeError if that cannot be, because its time would mean something else."""
        try:
            if pid is None:
                raise ProcessLookupError("its number is not known")
            (self.group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise InvokeError(
                f"The process cannot be held to a share of the processor: {error.strerror or error}"
            ) from error


def limited(share: float, *, root: Path = _ROOT, own: Path = Path("/proc/self/cgroup")) -> Limit | str:
    """
    Return a new group that gets *share* of one processor, or why there can be none.

    *root* is where control groups are mounted, and *own* says which ones this process is in.
    """
    reasons: list[str] = []
    quota = max(1_000, round(share * _PERIOD_US))
    unified = {"cpu.max": f"{quota} {_PERIOD_US}"}
    version_1 = {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota)}
    for parent, is_unified in _parents(root, own):
        if is_unified and (reason := _unusable(parent)):
            reasons.append(reason)
            continue
        group = None
        try:
            group = Path(tempfile.mkdtemp(prefix="lamina-", dir=parent))
            for name, value in (unified if is_unified else version_1).items():
                (group / name).write_text(value)
        except OSError as error:
            reasons.append(f"`{parent}`: {error.strerror}")
            if group is not None:
                with suppress(OSError):
                    group.rmdir()
            continue
        return Limit(group, share)
    return "; ".join(reasons) or "there are no control groups"


def _parents(root: Path, own: Path) -> list[tuple[Path, bool]]:
    """List where a group could be made, next to this process's own group or at the root, and whether version 2 rules there."""
    found: list[tuple[Path, bool]] = []
    try:
        rows = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return found
    for number, controllers, path in rows:
        relative = path.lstrip("/")
        if number == "0":
            # A group that has processes cannot share out controllers to groups below it, so ours is a sibling.
            parents = dict.fromkeys(((root / relative).parent if relative else root, root))
            found += [(parent, True) for parent in parents]
        elif "cpu" in controllers.split(","):
            for name in (controllers, "cpu"):
                if (root / name).is_dir():
                    found.append((root / name / relative, False))
                    break
    return found


def _unusable(parent: Path) -> str | None:
    """Return why version 2 gives no share of a processor to groups below *parent*, if so."""
    try:
        shared = (parent / "cgroup.subtree_control").read_text().split()
    except OSError as error:
        return f"`{parent}`: {error.strerror}"
    if "cpu" not in shared:
        return f"`{parent}` does not share out the `cpu` controller"
    return None if os.access(parent, os.W_OK) else f"`{parent}` may not be written"
