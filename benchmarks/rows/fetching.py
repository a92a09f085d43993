"""Measure a first build from an index on loopback, compared with only downloading the same files in parallel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import ROOT, remove
from benchmarks.values import Budget, Measure, Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench

__all__ = ["BUDGETS", "rows"]

_PROGRAMS = Path(__file__).parent.parent / "programs"

BUDGETS = (
    Budget(
        what="build, empty store, index on loopback",
        row="build-fetching",
        against="downloading",
        measure=Measure.TIMES,
        at_most=2,
    ),
)


def rows(bench: Bench) -> Sequence[Row]:
    """Start the index in a separate process, which ends with this one, and return the rows."""
    url = _serve(bench.wheels)
    project = bench.project("fetched", bytecode="none")
    store, downloads = bench.work / "empty-store", bench.work / "downloads"
    index = {
        "UV_DEFAULT_INDEX": f"{url}/simple",
        "UV_NO_INDEX": "",
        "UV_FIND_LINKS": "",
        "PIP_NO_INDEX": "",
        "PIP_FIND_LINKS": "",
    }
    build = bench.lamina("build", "--project", str(project), store=store, more=index)
    urls = [f"{url}/files/{wheel.pin.filename}" for wheel in bench.stored]
    download = bench.command(sys.executable, "-I", "-S", str(_PROGRAMS / "download.py"), str(downloads), *urls)

    def nothing_there() -> None:
        remove(store)
        remove(project / ".lamina")

    def no_downloads() -> None:
        remove(downloads)
        downloads.mkdir()

    def fetched() -> None:
        if len(list(store.glob("wheels/*/*/*"))) != len(urls):
            raise RuntimeError("a wheel is missing from the store")

    return [
        Row(
            name="build-fetching",
            title="lamina build, empty store, index on loopback",
            run=lambda run: run(build).sample,
            prepare=nothing_there,
            verify=fetched,
        ),
        Row(
            name="downloading",
            title="downloading the same wheels in parallel",
            run=lambda run: run(download).sample,
            prepare=no_downloads,
        ),
    ]


def _serve(directory: Path) -> str:
    server = subprocess.Popen(
        [sys.executable, str(_PROGRAMS / "serve.py"), str(directory)],
        cwd=ROOT,
        # The index serves until this pipe closes, so it also ends if the benchmark is killed.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if server.stdout is None or not (url := server.stdout.readline().strip()):
        raise RuntimeError("the index did not start")
    return url
