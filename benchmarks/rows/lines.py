"""
Measure a first build over a slow line, compared with downloading the same files over it.

The line is simulated: it limits the bandwidth and adds no latency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.rows.fetching import downloading, first, serve
from benchmarks.throttle import Throttle
from benchmarks.values import Row, Unavailable, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench

__all__ = ["BUDGETS", "rows"]

_MEGABITS = (20, 200)
_MODES = ("none", "reachable")

# At 200 Mbit/s, compiling takes longer than downloading, so the build with bytecode is compared with a build without a line. The aims
# are the design's. A build needs 0.4 s beside the download: it starts, asks the index for each project, and verifies and splices the
# last wheel. With bytecode, the modules of the wheel that arrives last must also be compiled.
BUDGETS = tuple(
    budget
    for mode, megabits, against, at_most, aim in (
        ("none", 20, "downloading-20", 1.1, None),
        ("reachable", 20, "downloading-20", 1.25, 1.1),
        ("none", 200, "downloading-200", 1.6, 1.1),
        ("reachable", 200, "build-reachable-near", 1.25, None),
    )
    for budget in times(f"build, empty store, {mode}", f"build-{mode}-{megabits}", against, at_most, aim=aim)
)


def rows(bench: Bench) -> Sequence[Row | Unavailable]:
    """Return the rows for each line, and for none. They take minutes, so a quick run skips them."""
    if bench.quick:
        return [
            Unavailable(name=name, title=name, reason="a quick run skips slow lines")
            for name in dict.fromkeys(budget.row for budget in BUDGETS)
        ]
    url = serve(bench.wheels)
    found = [first(bench, "build-reachable-near", "lamina build, reachable, no slow line", url, bytecode="reachable")]
    for megabits in _MEGABITS:
        line = bench.closing.enter_context(Throttle(urlsplit(url).port or 0, bits_per_second=megabits * 1e6))
        near = f"http://127.0.0.1:{line.port}"
        found.append(
            downloading(bench, f"downloading-{megabits}", f"downloading at {megabits} Mbit/s", near, slow=True)
        )
        found += [
            first(bench, f"build-{mode}-{megabits}", f"lamina build, {mode}, {megabits} Mbit/s", near, bytecode=mode)
            for mode in _MODES
        ]
    return found
