"""
The groups of rows, one module for each group.

A group defines ``rows(bench) -> list[Row | Unavailable]`` and ``BUDGETS``, and is listed in `GROUPS`. A budget may refer to rows of
other groups. If a row is missing, the report shows its budget as not measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from benchmarks.rows import (
    build,
    checking,
    composing,
    deploying,
    fetching,
    floor,
    importing,
    initializing,
    lines,
    locking,
    peers,
    pruning,
    synthesizing,
    workspace,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench
    from benchmarks.values import Budget, Row, Unavailable

__all__ = ["GROUPS", "Group"]


class Group(Protocol):
    """The interface of a module in this package."""

    @property
    def BUDGETS(self) -> Sequence[Budget]:  # noqa: N802 - the name of a module constant
        """The budgets for the group's rows."""

    def rows(self, bench: Bench) -> Sequence[Row | Unavailable]:
        """Prepare the group outside of the measurement, and return its rows."""


GROUPS: dict[str, Group] = {
    "floor": floor,
    "build": build,
    "checking": checking,
    "locking": locking,
    "fetching": fetching,
    "lines": lines,
    "composing": composing,
    "importing": importing,
    "initializing": initializing,
    "peers": peers,
    "workspace": workspace,
    "deploying": deploying,
    "pruning": pruning,
    "synthesizing": synthesizing,
}
