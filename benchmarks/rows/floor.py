"""Measure the lower bounds for a build: starting Python, and copying the result."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from benchmarks.bench import remove
from benchmarks.values import Row, Unavailable, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench

__all__ = ["BUDGETS", "rows"]

BUDGETS = times("lamina --help", "help", "python", 3, aim=2)


def rows(bench: Bench) -> Sequence[Row | Unavailable]:
    """Return the lower bounds and the start-up of lamina."""
    python = bench.command(sys.executable, "-c", "pass")
    usage = bench.lamina("--help")
    [layer] = (bench.work / "fetching" / ".lamina" / "layers").glob("*.zip")
    copied = bench.work / "copied.zip"
    found: list[Row | Unavailable] = [
        Row(name="python", title="python -c pass", run=lambda run: run(python).sample),
        Row(name="help", title="lamina --help", run=lambda run: run(usage).sample),
    ]
    if shutil.which("cp") is None:
        return [*found, Unavailable(name="cp", title="cp of the layer", reason="`cp` is not installed")]
    copy = bench.command("cp", str(layer), str(copied))
    copying = Row(name="cp", title="cp of the layer", run=lambda run: run(copy).sample, prepare=lambda: remove(copied))
    return [*found, copying]
