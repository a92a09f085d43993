"""
Initialise every function of the built services in the given directories, each in a new process, and print the times.

``initialise.py time DIRECTORY…`` prints for each directory the total wall time and processor time of its functions, in seconds. Each
function is started ``ROUNDS`` times, alternating with the same function of the other directories. The minimum counts, because other
processes on the machine only add time. ``initialise.py observe DIRECTORY…`` prints for each directory how many modules of the layers
were compiled, and which files of the layers the functions opened.
"""

import json
import random
import sys
from pathlib import Path

from lamina.coldstart.measure import Run, Subject, start
from lamina.coldstart.trace import ModuleOrigin
from lamina.coldstart.variants import subjects
from lamina.local.artifacts import read

ROUNDS = 2


def initialised(subject: Subject, *, traced: bool = False) -> Run:
    run = start(subject.environment, traced=traced)
    if run.failure is not None:
        sys.exit(f"{subject.function} failed to start: {run.failure}\n{run.logs}")
    return run


def times(directories: list[Path]) -> list[tuple[float, float]]:
    every = [subjects(read(directory), ()) for directory in directories]
    totals = [(0.0, 0.0) for _ in every]
    for together in zip(*every, strict=True):
        sides = list(enumerate(together))
        runs: list[list[Run]] = [[] for _ in sides]
        for _ in range(ROUNDS):
            random.shuffle(sides)
            for index, subject in sides:
                runs[index].append(initialised(subject))
        for index, found in enumerate(runs):
            wall = min(run.milliseconds or 0 for run in found)
            cpu = min(run.cpu_ms or 0 for run in found)
            totals[index] = (totals[index][0] + wall / 1000, totals[index][1] + cpu / 1000)
    return totals


def observed(directory: Path) -> tuple[int, list[str]]:
    runs = [initialised(subject, traced=True) for subject in subjects(read(directory), ())]
    traces = [run.trace for run in runs if run.trace is not None]
    compiled = sum(file.place is ModuleOrigin.LAYER for trace in traces for file in trace.compiled)
    opened = {file.path for trace in traces for file, _ in trace.files if file.place is ModuleOrigin.LAYER}
    return compiled, sorted(opened)


what, *given = sys.argv[1:]
paths = [Path(each) for each in given]
print(json.dumps(times(paths) if what == "time" else [observed(path) for path in paths]))
