"""
Initialising every function of the example from its built artifacts, with no bytecode, that of what is reachable, and all of it.

Only the functions' own processes are timed, up to the request for their first event. The three modes of one interpreter are measured
together, start by start in turn, by whichever of their rows comes first: whole rows would lie too far apart to be compared.

How much bytecode a layer should have at least is observed too: that of the modules which initialisation opens when all of it is there.
What handlers import only later comes on top of that, and is reachable as well.
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
    """Return the three modes for each minor of which this machine has an interpreter."""
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
    """Return the example, built for *python*; its wheels come from where the user's own settings say, as the first ones did."""
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
    """Return what the bytecode among the *opened* files of the layers adds to their zips, with its headers."""
    document = json.loads((project / ".lamina" / "build.json").read_text("utf-8"))
    found = 0
    for layer in document["layers"]:
        with zipfile.ZipFile(project / layer["path"]) as archive:
            names = archive.NameToInfo.keys() & {name for name in opened if name.endswith(".pyc")}
            # A local header of 30 bytes, a row of 46 in the directory, and the name in both.
            found += sum(archive.NameToInfo[name].compress_size + 76 + 2 * len(name.encode()) for name in names)
    return found


class _Together:
    """The modes of one interpreter, measured at once."""

    def __init__(self, bench: Bench, projects: Mapping[str, Path]) -> None:
        """Measure the *projects*, by mode."""
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
        """Return the next sample of *mode*, measured now unless it was already, together with another's."""
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
        """Look once at what is compiled and opened, which takes too long to be repeated."""
        finished = runner(self._observing)
        observed = dict(zip(self._projects, json.loads(finished.output), strict=True))
        self._compiled = {mode: compiled for mode, (compiled, _) in observed.items()}
        _, opened = observed["all"]
        self._observed = replace(finished.sample, result_bytes=_bytecode(self._projects["all"], opened))
        return self._observed

    def verify(self, mode: str) -> None:
        """Raise RuntimeError unless exactly the layers without bytecode had modules compiled."""
        if mode == _OPENED:
            return
        if (mode == "none") != (self._compiled[mode] > 0):
            raise RuntimeError(f"{self._compiled[mode]} modules of the layer were compiled with bytecode `{mode}`")
