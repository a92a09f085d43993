"""
Measure a first build, with an empty store and an index on loopback.

It is compared with downloading the same files in parallel, and with uv, which starts with an empty cache and uses the same index.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import ROOT, remove
from benchmarks.rows import peers
from benchmarks.values import Budget, Measure, Row, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    # The aims are the design's. The other limits are a little above the ratios measured on two busy cores (2026-11-28).
    *(
        Budget(what=what, row=row, against=peer, measure=Measure.TIMES, at_most=at_most, aim=aim)
        for what, row, peer, limits in (
            ("build, empty store, no bytecode", "build-fetching", "uv-empty", (2, 1 / 2)),
            ("build, empty store, bytecode", "build-first", "uv-compile-zip", (1, 1 / 3)),
        )
        for at_most, aim in zip(limits, (False, True), strict=True)
    ),
)


def rows(bench: Bench) -> Sequence[Row | Unavailable]:
    """Start the index in a separate process, which ends with this one, and return the rows."""
    url = _serve(bench.wheels)
    downloads = bench.work / "downloads"
    index = {
        "UV_DEFAULT_INDEX": f"{url}/simple",
        "UV_NO_INDEX": "",
        "UV_FIND_LINKS": "",
        "PIP_NO_INDEX": "",
        "PIP_FIND_LINKS": "",
    }
    urls = [f"{url}/files/{wheel.pin.filename}" for wheel in bench.stored]
    download = bench.command(sys.executable, "-I", "-S", str(_PROGRAMS / "download.py"), str(downloads), *urls)

    def no_downloads() -> None:
        remove(downloads)
        downloads.mkdir()

    return [
        _first(bench, "build-fetching", "lamina build, empty store, no bytecode", index, bytecode="none"),
        *_compared(bench, index),
        Row(
            name="downloading",
            title="downloading the same wheels in parallel",
            run=lambda run: run(download).sample,
            prepare=no_downloads,
        ),
    ]


def _first(bench: Bench, name: str, title: str, index: Mapping[str, str], *, bytecode: str, slow: bool = False) -> Row:
    project, store = bench.project(name, bytecode=bytecode), bench.work / f"{name}-store"
    command = bench.lamina("build", "--project", str(project), store=store, more=index)

    def prepare() -> None:
        remove(store)
        remove(project / ".lamina")

    def verify() -> None:
        if len(list(store.glob("wheels/*/*/*"))) != len(bench.pins):
            raise RuntimeError("a wheel is missing from the store")

    return Row(name=name, title=title, run=lambda run: run(command).sample, prepare=prepare, verify=verify, slow=slow)


def _compared(bench: Bench, index: Mapping[str, str]) -> Sequence[Row | Unavailable]:
    """Return the first build with bytecode, and the commands of uv that do the same."""
    titles = {
        "uv-empty": "uv pip install --target alone, empty cache",
        "uv-empty-zip": "uv pip install --target, empty cache, then",
        "build-first": "lamina build, empty store, bytecode",
        "uv-compile-zip": "uv pip install --target, empty cache, then compileall -j2",
    }
    install, (zip_command, words) = peers.uv_install(bench), peers.zipping()
    if install is None or bench.interpreter is None:
        reason = f"`uv` or {bench.target.runtime} is not installed"
        return [Unavailable(name=name, title=title, reason=reason) for name, title in titles.items()]
    compiling = f"'{bench.interpreter}' -m compileall -q -j2 python"

    def uv(name: str, title: str, script: str) -> Row:
        tree, cache = bench.work / name, bench.work / f"{name}-cache"
        command = bench.command("sh", "-c", script, directory=tree, more={**index, "UV_CACHE_DIR": str(cache)})

        def prepare() -> None:
            remove(cache)
            remove(tree)
            tree.mkdir()

        return Row(name=name, title=title, run=lambda run: run(command).sample, prepare=prepare, slow=True)

    return [
        uv("uv-empty", titles["uv-empty"], install),
        uv("uv-empty-zip", f"{titles['uv-empty-zip']} {words}", f"{install} && {zip_command}"),
        _first(bench, "build-first", titles["build-first"], index, bytecode="reachable", slow=True),
        uv("uv-compile-zip", f"{titles['uv-compile-zip']} + {words}", f"{install} && {compiling} && {zip_command}"),
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
