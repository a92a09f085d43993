"""
Initialising every function of the example from its built artifacts, with no bytecode, that of what is reachable, and all of it.

Only the functions' own processes are timed, up to the request for their first event. The three modes of one interpreter are measured
together, start by start in turn, by whichever of their rows comes first: whole rows would lie too far apart to be compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import ROOT
from benchmarks.values import Budget, Measure, Row, Sample, Unavailable
from lamina.errors import LaminaError
from lamina.interpreters import search

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.bench import Bench
    from benchmarks.values import Runner

__all__ = ["BUDGETS", "rows"]

_PROGRAM = Path(__file__).parent.parent / "programs" / "initialise.py"
_MODES = ("none", "reachable", "all")
_MINORS = ((3, 13), (3, 12))


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
            at_most=1 / 4,
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
        return [Unavailable(name=_name(mode, python), title=_title(mode, python), reason=reason) for mode in _MODES]
    together = _Together(bench, projects)
    return [
        Row(
            name=_name(mode, python),
            title=_title(mode, python),
            run=partial(together.sample, mode),
            verify=partial(together.verify, mode),
            slow=True,
        )
        for mode in _MODES
    ]


def _title(mode: str, python: tuple[int, int]) -> str:
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


class _Together:
    """The modes of one interpreter, measured at once."""

    def __init__(self, bench: Bench, projects: Mapping[str, Path]) -> None:
        """Measure the *projects*, by mode."""
        self._projects = projects
        directories = [str(project) for project in projects.values()]
        self._timing, self._counting = (
            bench.command(sys.executable, str(_PROGRAM), what, *directories, directory=ROOT)
            for what in ("time", "count")
        )
        least = _zipped(projects["none"])
        self._growth = {mode: _zipped(project) - least for mode, project in projects.items()}
        self._waiting: dict[str, list[Sample]] = {mode: [] for mode in projects}
        self._compiled: dict[str, int] = {}

    def sample(self, mode: str, runner: Runner) -> Sample:
        """Return the next sample of *mode*, measured now unless it was already, together with another's."""
        if not self._compiled:
            self._compiled = dict(zip(self._projects, json.loads(runner(self._counting).output), strict=True))
        if not self._waiting[mode]:
            finished = runner(self._timing)
            for each, (wall, cpu) in zip(self._projects, json.loads(finished.output), strict=True):
                sample = replace(finished.sample, seconds=wall, cpu_seconds=cpu, result_bytes=self._growth[each])
                self._waiting[each].append(sample)
        return self._waiting[mode].pop(0)

    def verify(self, mode: str) -> None:
        """Raise RuntimeError unless exactly the layers without bytecode had modules compiled."""
        if (mode == "none") != (self._compiled[mode] > 0):
            raise RuntimeError(f"{self._compiled[mode]} modules of the layer were compiled with bytecode `{mode}`")
