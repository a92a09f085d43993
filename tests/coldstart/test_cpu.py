"""Holding processes back, on trees that look like those of a kernel."""

from __future__ import annotations

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
    """In version 2 the group stands beside our own, and has a quota of a tenth of a second."""
    found = limited(0.3, root=_unified(tmp_path, "cpu memory"), own=_own(tmp_path, "0::/user/shell\n"))

    assert isinstance(found, Limit)
    assert (tmp_path / "cgroup" / "user", 0.3) == (found.group.parent, found.share)
    assert "30000 100000" == (found.group / "cpu.max").read_text()


def test_first_version(tmp_path: Path) -> None:
    """In version 1 the group lies in the hierarchy of the `cpu` controller, below our own."""
    root = tmp_path / "cgroup"
    (root / "cpu" / "shell").mkdir(parents=True)
    found = limited(1.5, root=root, own=_own(tmp_path, "5:memory:/shell\n1:cpu:/shell\n0::/\n"))

    assert isinstance(found, Limit)
    assert root / "cpu" / "shell" == found.group.parent
    assert ("100000", "150000") == tuple(
        (found.group / f"cpu.cfs_{name}_us").read_text() for name in ("period", "quota")
    )


def test_not_shared_out(tmp_path: Path) -> None:
    """Where the controller is not given to groups, that is the reason."""
    root = _unified(tmp_path, "memory")
    found = limited(0.3, root=root, own=_own(tmp_path, "0::/\n"))

    assert f"`{root}` does not share out the `cpu` controller" == found


def test_no_groups(tmp_path: Path) -> None:
    """A system without control groups has no limit, and says so."""
    assert "there are no control groups" == limited(0.3, root=tmp_path, own=tmp_path / "none")


def test_hold(tmp_path: Path) -> None:
    """A process that cannot be held is an error, because its time would mean something else."""
    (tmp_path / "group").mkdir()
    limit = Limit(tmp_path / "group", 0.3)
    limit.hold(123)

    assert "123" == (tmp_path / "group" / "cgroup.procs").read_text()
    with pytest.raises(InvokeError) as raised:
        limit.hold(None)
    assert "The process cannot be held to a share of the processor: its number is not known" == str(raised.value)


def test_group_is_removed(tmp_path: Path) -> None:
    """With the limit goes its group."""
    (tmp_path / "group").mkdir()
    with Limit(tmp_path / "group", 0.3):
        pass

    assert [] == list(tmp_path.iterdir())
