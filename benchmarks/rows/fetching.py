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
from benchmarks.values import Budget, Measure, Row, Unavailable, times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.bench import Bench

__all__ = ["BUDGETS", "downloading", "first", "rows", "serve"]

_PROGRAMS = Path(__file__).parent.parent / "programs"

BUDGETS = (
    # The download takes 0.16 s. A build also starts Python (0.1 s), asks the index for 39 projects (0.15 s), and inflates and hashes
    # 131 MB to verify every file against RECORD (0.5 s of processor time). Measured: 7 to 8.4 (2026-11-28).
    *times("build, empty store, index on loopback", "build-fetching", "downloading", 10),
    # The aims are the design's. The other limits are a little above the ratios measured on two busy cores (2026-11-28). For bytecode, the
    # limit is processor time: parsing and compiling the reached 20 MB of sources takes half as long as the other tool takes altogether.
    *times("build, empty store, no bytecode", "build-fetching", "uv-empty", 2, aim=1 / 2),
    *times("build, empty store, bytecode", "build-first", "uv-compile-zip", 1, aim=1 / 3),
    *times("build, store with imported bytecode", "build-imported", "uv-compile-zip", 1 / 4),
    Budget(what="peak memory", row="build-first", measure=Measure.BYTES, at_most=100_000_000),
)


def rows(bench: Bench) -> Sequence[Row | Unavailable]:
    """Start the index in a separate process, which ends with this one, and return the rows."""
    url = serve(bench.wheels)
    return [
        first(bench, "build-fetching", "lamina build, empty store, no bytecode", url, bytecode="none", slow=False),
        *_compared(bench, url),
        downloading(bench, "downloading", "downloading the same wheels in parallel", url),
    ]


def downloading(bench: Bench, name: str, title: str, url: str, *, slow: bool = False) -> Row:
    """Return the row *name* that downloads the example's wheels from the index at *url* over several connections."""
    downloads = bench.work / name
    urls = [f"{url}/files/{wheel.pin.filename}" for wheel in bench.stored]
    command = bench.command(sys.executable, "-I", "-S", str(_PROGRAMS / "download.py"), str(downloads), *urls)

    def no_downloads() -> None:
        remove(downloads)
        downloads.mkdir()

    return Row(name=name, title=title, run=lambda run: run(command).sample, prepare=no_downloads, slow=slow)


def first(bench: Bench, name: str, title: str, url: str, *, bytecode: str, slow: bool = True) -> Row:
    """Return the row *name* that builds the example with an empty store and the index at *url*."""
    project, store = bench.project(name, bytecode=bytecode), bench.work / f"{name}-store"
    command = bench.lamina("build", "--project", str(project), store=store, more=_index(url))

    def prepare() -> None:
        remove(store)
        remove(project / ".lamina")

    def verify() -> None:
        if len(list(store.glob("wheels/*/*/*"))) != len(bench.pins):
            raise RuntimeError("a wheel is missing from the store")

    return Row(name=name, title=title, run=lambda run: run(command).sample, prepare=prepare, verify=verify, slow=slow)


def _index(url: str) -> Mapping[str, str]:
    """Return the environment variables that make uv, pip and lamina use only the index at *url*."""
    empty = dict.fromkeys(("UV_NO_INDEX", "UV_FIND_LINKS", "PIP_NO_INDEX", "PIP_FIND_LINKS"), "")
    return {"UV_DEFAULT_INDEX": f"{url}/simple", **empty}


def _complete(bench: Bench, url: str) -> tuple[Path, Path]:
    """Build the example with bytecode, and return its layer and an archive of the bytecode."""
    project, store, archive = (
        bench.project("complete", bytecode="reachable"),
        bench.work / "complete-store",
        bench.work / "bytecode.zip",
    )
    bench.run(bench.lamina("build", "--project", str(project), store=store, more=_index(url)))
    bench.run(bench.lamina("cache", "export", "--bytecode", str(archive), store=store))
    [layer] = project.glob(".lamina/layers/*.zip")
    return layer, archive


def _imported(bench: Bench, url: str, archive: Path, title: str) -> Row:
    """Return the row of a build whose store has only the bytecode in *archive*."""
    name = "build-imported"
    project, store = bench.project(name, bytecode="reachable"), bench.work / f"{name}-store"
    command = bench.lamina("build", "--project", str(project), store=store, more=_index(url))
    imported: dict[Path, int] = {}

    def prepare() -> None:
        remove(store)
        remove(project / ".lamina")
        bench.run(bench.lamina("cache", "import", str(archive), store=store))
        imported.clear()
        imported.update((path, path.stat().st_mtime_ns) for path in store.glob("bytecode/*/*.pack"))

    def verify() -> None:
        if {path: path.stat().st_mtime_ns for path in store.glob("bytecode/*/*.pack")} != imported:
            raise RuntimeError("a build with imported bytecode compiled modules of its layer")

    return Row(name=name, title=title, run=lambda run: run(command).sample, prepare=prepare, verify=verify, slow=True)


def _floor(bench: Bench, interpreter: Path, layer: Path, title: str) -> Row:
    """Return the row of compiling in one process; half of its processor time is the floor of a build with two processors."""
    command = bench.command(str(interpreter), "-I", "-S", str(_PROGRAMS / "compile.py"), str(layer))
    return Row(name="compiling", title=title, run=lambda run: run(command).sample, slow=True)


def _compared(bench: Bench, url: str) -> Sequence[Row | Unavailable]:
    """Return the first build with bytecode, and the commands of uv that do the same."""
    titles = {
        "uv-empty": "uv pip install --target alone, empty cache",
        "uv-empty-zip": "uv pip install --target, empty cache, then",
        "build-first": "lamina build, empty store, bytecode",
        "build-imported": "lamina build, store with imported bytecode only",
        "compiling": "compiling the reached modules, one process",
        "uv-compile-zip": "uv pip install --target, empty cache, then compileall -j2",
    }
    install, (zip_command, words) = peers.uv_install(bench), peers.zipping()
    if install is None or bench.interpreter is None:
        reason = f"`uv` or {bench.target.runtime} is not installed"
        return [Unavailable(name=name, title=title, reason=reason) for name, title in titles.items()]
    layer, archive = _complete(bench, url)
    compiling = f"'{bench.interpreter}' -m compileall -q -j2 python"

    def uv(name: str, title: str, script: str) -> Row:
        tree, cache = bench.work / name, bench.work / f"{name}-cache"
        command = bench.command("sh", "-c", script, directory=tree, more={**_index(url), "UV_CACHE_DIR": str(cache)})

        def prepare() -> None:
            remove(cache)
            remove(tree)
            tree.mkdir()

        return Row(name=name, title=title, run=lambda run: run(command).sample, prepare=prepare, slow=True)

    return [
        uv("uv-empty", titles["uv-empty"], install),
        uv("uv-empty-zip", f"{titles['uv-empty-zip']} {words}", f"{install} && {zip_command}"),
        first(bench, "build-first", titles["build-first"], url, bytecode="reachable"),
        _imported(bench, url, archive, titles["build-imported"]),
        _floor(bench, bench.interpreter, layer, titles["compiling"]),
        uv("uv-compile-zip", f"{titles['uv-compile-zip']} + {words}", f"{install} && {compiling} && {zip_command}"),
    ]


def serve(directory: Path) -> str:
    """Start an index of the wheels in *directory*, which ends with this process, and return its URL."""
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
