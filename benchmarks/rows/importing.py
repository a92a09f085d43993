"""
Measure initialising every function of the example from its built artifacts, with no, reachable, and all bytecode.

A function's time is that of its own process, up to the request for its first event. The three modes of one interpreter are measured
together in alternating starts, when the first of their rows runs. Rows measured separately would be too far apart in time to compare.

The bytecode that initialisation opens in a layer with all bytecode is also measured. A layer needs at least that much. Modules that
handlers import later are reachable, too, and need more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import ROOT
from benchmarks.values import Budget, Measure, Row, Sample, Unavailable
from lamina.bytecode.interpreter import search
from lamina.core.errors import LaminaError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.bench import Bench
    from benchmarks.values import Runner

__all__ = ["BUDGETS", "rows"]

_PROGRAM = Path(__file__).parent.parent / "programs" / "initialise.py"
_MODES = ("none", "reachable", "all")
_MINORS = ((3, 13), (3, 12))
_OPENED = "opened"


def _name(mode: str, python: tuple[int, int]) -> str:
    return f"importing-{mode}-{python[0]}{python[1]}"


BUDGETS = tuple(
    budget
    for python in _MINORS
    for budget in (
        Budget(
            what="initialisation",
            row=_name("reachable", python),
            against=_name("none", python),
            measure=Measure.TIMES,
            at_most=1 / 2,
        ),
        Budget(
            what="initialisation",
            row=_name("reachable", python),
            against=_name("all", python),
            measure=Measure.TIMES,
            at_most=1.1,
        ),
        *(
            Budget(
                what="processor time of initialisation",
                row=_name("reachable", python),
                against=_name(other, python),
                measure=Measure.CPU,
                at_most=most,
            )
            for other, most in (("none", 1 / 2), ("all", 1.1))
        ),
        Budget(
            what="growth of the zip",
            row=_name("reachable", python),
            against=_name("all", python),
            measure=Measure.SIZE,
            at_most=0.65,
        ),
        Budget(
            what="growth of the zip",
            row=_name("reachable", python),
            against=_name("all", python),
            measure=Measure.SIZE,
            at_most=1 / 4,
            aim=True,
        ),
        Budget(
            what="growth of the zip",
            row=_name("reachable", python),
            against=_name(_OPENED, python),
            measure=Measure.SIZE,
            at_most=2.6,
        ),
    )
)


def rows(bench: Bench) -> Sequence[Row | Unavailable]:
    """Return the rows of all modes, for each Python minor version."""
    return [row for python in _MINORS for row in _of(bench, python)]


def _of(bench: Bench, python: tuple[int, int]) -> Sequence[Row | Unavailable]:
    try:
        found = search(python)
        reason = None if found else f"no CPython {python[0]}.{python[1]} on this machine"
        projects = {} if reason else {mode: _built(bench, mode, python) for mode in _MODES}
    except (LaminaError, subprocess.CalledProcessError) as error:
        reason, projects = str(error), {}
    if reason is not None:
        return [
            Unavailable(name=_name(mode, python), title=_title(mode, python), reason=reason)
            for mode in (*_MODES, _OPENED)
        ]
    together = _Together(bench, projects)
    return [
        Row(
            name=_name(mode, python),
            title=_title(mode, python),
            run=partial(together.sample, mode),
            verify=partial(together.verify, mode),
            slow=True,
        )
        for mode in (*_MODES, _OPENED)
    ]


def _title(mode: str, python: tuple[int, int]) -> str:
    if mode == _OPENED:
        return f"observe what these compile and open, {python[0]}.{python[1]}"
    return f"initialise ten functions, {python[0]}.{python[1]}, bytecode: {mode}"


def _built(bench: Bench, mode: str, python: tuple[int, int]) -> Path:
    """Build a copy of the example for *python*, and return its directory. The user's own settings select the index."""
    project = bench.project(_name(mode, python), bytecode=mode)
    runtime = f"python{python[0]}.{python[1]}"
    configuration = project / "pyproject.toml"
    text = configuration.read_text("utf-8").replace(
        'requires-python = ">=3.13"', f'requires-python = ">={python[0]}.{python[1]}"'
    )
    configuration.write_text(text, "utf-8")
    environment = os.environ | {"LAMINA_CACHE_DIR": str(bench.store)}
    command = [sys.executable, "-m", "lamina", "build", "--quiet", "--runtime", runtime, "--project", str(project)]
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
    return project


def _zipped(project: Path) -> int:
    document = json.loads((project / ".lamina" / "build.json").read_text("utf-8"))
    return sum(layer["zipped_bytes"] for layer in document["layers"])


def _bytecode(project: Path, opened: Sequence[str]) -> int:
    """Return how many bytes the bytecode among the *opened* files adds to the zips of the layers, headers included."""
    document = json.loads((project / ".lamina" / "build.json").read_text("utf-8"))
    found = 0
    for layer in document["layers"]:
        with zipfile.ZipFile(project / layer["path"]) as archive:
            names = archive.NameToInfo.keys() & {name for name in opened if name.endswith(".pyc")}
            # Each member has a local header of 30 bytes, a central directory entry of 46 bytes, and its name in both.
            found += sum(archive.NameToInfo[name].compress_size + 76 + 2 * len(name.encode()) for name in names)
    return found


class _Together:
    """Measures all modes of one interpreter together."""

    def __init__(self, bench: Bench, projects: Mapping[str, Path]) -> None:
        """Prepare to measure *projects*, the built copies of the example by mode."""
        self._projects = projects
        directories = [str(project) for project in projects.values()]
        self._timing, self._observing = (
            bench.command(sys.executable, str(_PROGRAM), what, *directories, directory=ROOT)
            for what in ("time", "observe")
        )
        least = _zipped(projects["none"])
        self._growth = {mode: _zipped(project) - least for mode, project in projects.items()}
        self._waiting: dict[str, list[Sample]] = {mode: [] for mode in projects}
        self._compiled: dict[str, int] = {}
        self._observed: Sample | None = None

    def sample(self, mode: str, runner: Runner) -> Sample:
        """Return the next sample of *mode*. One measurement produces a sample for every mode, and the others are kept for later calls."""
        observed = self._observed or self._observe(runner)
        if mode == _OPENED:
            return observed
        if not self._waiting[mode]:
            finished = runner(self._timing)
            for each, (wall, cpu) in zip(self._projects, json.loads(finished.output), strict=True):
                sample = replace(finished.sample, seconds=wall, cpu_seconds=cpu, result_bytes=self._growth[each])
                self._waiting[each].append(sample)
        return self._waiting[mode].pop(0)

    def _observe(self, runner: Runner) -> Sample:
        """Find the compiled modules and the opened files, once only, because this is too slow to repeat."""
        finished = runner(self._observing)
        observed = dict(zip(self._projects, json.loads(finished.output), strict=True))
        self._compiled = {mode: compiled for mode, (compiled, _) in observed.items()}
        _, opened = observed["all"]
        self._observed = replace(finished.sample, result_bytes=_bytecode(self._projects["all"], opened))
        return self._observed

    def verify(self, mode: str) -> None:
        """Raise `RuntimeError` if a layer with bytecode had a module compiled, or a layer without bytecode had none."""
        if mode == _OPENED:
            return
        if (mode == "none") != (self._compiled[mode] > 0):
            raise RuntimeError(f"{self._compiled[mode]} modules of the layer were compiled with bytecode `{mode}`")
