"""Tests of limiting processes to a CPU share, on directories that imitate the kernel's control groups."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from lamina.coldstart.cpu import Limit, limited
from lamina.core.errors import InvokeError

if TYPE_CHECKING:
    from pathlib import Path


def _own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own"
    path.write_text(text)
    return path


def _unified(tmp_path: Path, controllers: str) -> Path:
    root = tmp_path / "cgroup"
    (root / "user" / "shell").mkdir(parents=True)
    for directory in (root, root / "user"):
        (directory / "cgroup.subtree_control").write_text(controllers)
    return root


def test_unified(tmp_path: Path) -> None:
    """In version 2, the new group is a sibling of the process's group, with a quota per 100 ms."""
    found = limited(0.3, root=_unified(tmp_path, "cpu memory"), own=_own(tmp_path, "0::/user/shell\n"))

    assert isinstance(found, Limit)
    assert (tmp_path / "cgroup" / "user", 0.3) == (found.group.parent, found.share)
    assert "30000 100000" == (found.group / "cpu.max").read_text()


def test_first_version(tmp_path: Path) -> None:
    """In version 1, the new group is below the process's group in the hierarchy of the `cpu` controller."""
    root = tmp_path / "cgroup"
    (root / "cpu" / "shell").mkdir(parents=True)
    found = limited(1.5, root=root, own=_own(tmp_path, "5:memory:/shell\n1:cpu:/shell\n0::/\n"))

    assert isinstance(found, Limit)
    assert root / "cpu" / "shell" == found.group.parent
    assert ("100000", "150000") == tuple(
        (found.group / f"cpu.cfs_{name}_us").read_text() for name in ("period", "quota")
    )


def test_not_shared_out(tmp_path: Path) -> None:
    """The reason names the directory that does not enable the `cpu` controller."""
    root = _unified(tmp_path, "memory")
    found = limited(0.3, root=root, own=_own(tmp_path, "0::/\n"))

    assert f"`{root}` does not enable the `cpu` controller for child groups" == found


def test_no_groups(tmp_path: Path) -> None:
    """On a system without control groups, the reason is returned in place of a limit."""
    assert "the system has no control groups" == limited(0.3, root=tmp_path, own=tmp_path / "none")


def test_hold(tmp_path: Path) -> None:
    """Failing to limit a process is an error, because its time would be misleading."""
    (tmp_path / "group").mkdir()
    limit = Limit(tmp_path / "group", 0.3, ExitStack())
    limit.hold(123)

    assert "123" == (tmp_path / "group" / "cgroup.procs").read_text()
    with pytest.raises(InvokeError) as raised:
        limit.hold(None)
    assert "failed to limit the CPU share of the function's process: the process id is unknown" == str(raised.value)


def test_group_is_removed(tmp_path: Path) -> None:
    """The control group is removed on exit."""
    (tmp_path / "group").mkdir()
    with Limit(tmp_path / "group", 0.3, ExitStack()):
        pass

    assert [] == list(tmp_path.iterdir())
