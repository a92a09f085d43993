"""
The rows, one module per group.

A group provides ``rows(bench) -> list[Row | Unavailable]`` and the ``BUDGETS`` that are about its rows, and is listed in
`GROUPS`; nothing else has to know of it.
Budgets may name rows of other groups; one whose rows are missing is shown as not measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from benchmarks.rows import (
    build,
    composing,
    deploying,
    fetching,
    floor,
    importing,
    locking,
    peers,
    synthesizing,
    workspace,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench
    from benchmarks.values import Budget, Row, Unavailable

__all__ = ["GROUPS", "Group"]


class Group(Protocol):
    """What a module of this package provides."""

    @property
    def BUDGETS(self) -> Sequence[Budget]:  # noqa: N802 - it is a constant of a module
        """The promises about its rows."""

    def rows(self, bench: Bench) -> Sequence[Row | Unavailable]:
        """Return the rows, prepared as far as it need not be measured."""


GROUPS: dict[str, Group] = {
    "floor": floor,
    "build": build,
    "locking": locking,
    "fetching": fetching,
    "composing": composing,
    "importing": importing,
    "peers": peers,
    "workspace": workspace,
    "deploying": deploying,
    "synthesizing": synthesizing,
}
