"""
Measure the command ``lamina check`` for the example: when nothing was examined yet, and when nothing has changed.

The aims of an ordinary machine are 2 seconds for the first check of a build and 0.3 seconds for the next. Starting Python takes about a
fiftieth of a second there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.bench import remove
from benchmarks.values import Row, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench
    from benchmarks.values import Unavailable

__all__ = ["BUDGETS", "rows"]

_EXAMINED = ("examined", "findings")
"""The areas of the store that a check fills."""

BUDGETS = (
    *times("check, nothing examined yet", "check-first", "python", 100),
    *times("check, nothing changed", "check-nothing", "python", 15),
)


def rows(bench: Bench) -> Sequence[Row | Unavailable]:
    """Return the two checks of a finished build."""
    project = bench.project("checked", bytecode="none")
    command = bench.lamina("check", "--project", str(project))
    bench.run(command)

    def forget() -> None:
        for area in _EXAMINED:
            remove(bench.store / area)

    return [
        Row(
            name="check-first",
            title="lamina check, nothing examined yet",
            run=lambda run: run(command).sample,
            prepare=forget,
        ),
        Row(
            name="check-nothing",
            title="lamina check, nothing changed",
            run=lambda run: run(command).sample,
        ),
    ]
