"""Tests of measuring initialisations: times, shares of distributions, and compiled modules."""

from __future__ import annotations

import random
import re
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from built import MINOR
from coldstart_layers import HANDLER, distribution
from lamina.coldstart.attribution import modules, shares
from lamina.coldstart.measure import conduct, start
from lamina.coldstart.trace import ModuleOrigin
from lamina.coldstart.variants import EnvironmentOptions, subjects
from lamina.core.store import Store
from lamina.local.artifacts import read
from lamina.local.environment import Mode
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

    from coldstart_layers import MakeSubjects
    from lamina.coldstart.measure import Measurement, Subject

_SLEEPING = (
    distribution("slow", {"slow/__init__.py": "import time\ntime.sleep(0.4)\n"})
    | distribution("leaning-on", {"leaning.py": "import time\ntime.sleep(0.1)\nimport slow\n"})
    | distribution("quick", {"quick.py": ""})
)


def _measure(subject: Subject, *, repeat: int = 1, traced: int = 1) -> Measurement:
    [found] = conduct([subject], repeat=repeat, traced=traced, chance=random.Random(0))  # noqa: S311 - an order
    return found


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.PATH])
def test_own_and_cumulative_time(make_subjects: MakeSubjects, mode: Mode) -> None:
    """A distribution's own time excludes imports of other distributions, and its cumulative time includes them."""
    [subject] = make_subjects(f"import leaning, quick\n{HANDLER}", _SLEEPING, mode=mode)
    found = _measure(subject)
    rows = {row.owner.label: row for row in shares(found.traces, subject.owners)}

    assert found.failure is None
    assert found.times[0] > 500
    assert 400 <= rows["slow"].own_ms.median < found.traced_times[0] - 100
    assert rows["slow"].own_ms.median == pytest.approx(rows["slow"].cumulative_ms.median)
    assert 100 <= rows["leaning-on"].own_ms.median < rows["slow"].own_ms.median
    assert rows["leaning-on"].cumulative_ms.median >= 500
    assert rows["(your code)"].cumulative_ms.median >= rows["leaning-on"].cumulative_ms.median
    # The sleeps of the other distributions are not included, even on a busy machine.
    assert rows["quick"].own_ms.median < 400
    assert ("1.0", 1, 1) == (rows["slow"].owner.version, rows["slow"].modules, rows["slow"].compiled)


def test_dearest_first(make_subjects: MakeSubjects) -> None:
    """Distributions and modules are sorted by own time in descending order, and own times add up to the total."""
    [subject] = make_subjects(f"import leaning, quick\n{HANDLER}", _SLEEPING)
    found = _measure(subject)
    rows = shares(found.traces, subject.owners)

    assert "slow" == rows[0].owner.name
    assert ["slow", "leaning"] == [row.module for row in modules(found.traces, subject.owners)][:2]
    total = sum(row.own_ms.median for row in rows)
    assert total == pytest.approx(found.traces[0].outermost_ns / 1e6)


def test_what_is_dear_to_compile(make_subjects: MakeSubjects) -> None:
    """The time to compile a module is part of its own time, and the module is listed as compiled."""
    long = "".join(f"def f{number}(a, b={number}): return [a + b for _ in range({number})]\n" for number in range(2500))
    layer = distribution("long", {"long.py": long}) | distribution("short", {"short.py": "A = 1\n"})
    [subject] = make_subjects(f"import long, short\n{HANDLER}", layer)
    found = _measure(subject)
    rows = {row.owner.label: row for row in shares(found.traces, subject.owners)}

    assert rows["long"].own_ms.median > 5 * rows["short"].own_ms.median
    assert ["app.py", "python/long.py", "python/short.py"] == sorted(file.path for file in found.traces[0].compiled)
    assert len(long) == rows["long"].read_bytes


def test_failed_imports_are_their_importers_time(make_subjects: MakeSubjects) -> None:
    """The time of a failed import counts for the importing module's distribution."""
    layer = distribution("hopeful", {"hopeful.py": "try:\n import absent_accelerator\nexcept ImportError:\n pass\n"})
    [subject] = make_subjects(f"import hopeful\n{HANDLER}", layer)
    run = start(subject.environment, traced=True)

    assert run.trace is not None
    chains = [chain for module, chain in run.trace.missing if module == "absent_accelerator"]
    assert [("app", "hopeful", "absent_accelerator")] == chains
    assert "hopeful" in {row.owner.name for row in shares([run.trace], subject.owners)}


def test_imports_of_threads(make_subjects: MakeSubjects) -> None:
    """An import in another thread is not nested in an import of the main thread."""
    code = "import threading, time\ndef work():\n  import slow\nthread = threading.Thread(target=work)\nthread.start()\nthread.join()\n"
    [subject] = make_subjects(f"{code}{HANDLER}", _SLEEPING)
    run = start(subject.environment, traced=True)

    assert run.trace is not None
    [slow] = [each for each in run.trace.imports if each.module == "slow"]
    assert slow.parent is None


def test_interleaving(make_subjects: MakeSubjects) -> None:
    """Each subject is measured the requested number of times, in any order."""
    sides = make_subjects(HANDLER, {"python/x.py": ""}, handlers={"one": "app.handler", "two": "app.handler"})
    found = conduct(sides, repeat=3, traced=1, chance=random.Random(0))  # noqa: S311 - an order

    assert [("one", 3, 1), ("two", 3, 1)] == [
        (each.subject.function, len(each.times), len(each.traces)) for each in found
    ]
    assert all(each.total_ms is not None and each.memory_bytes > 0 for each in found)


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("import missing", "Runtime.ImportModuleError: Unable to import module 'app': No module named 'missing'"),
        ("raise LookupError('kein Schlüssel')", "LookupError: kein Schlüssel"),
        ("import os\nos._exit(3)", "Runtime exited with error: exit status 3"),
    ],
)
def test_failure(make_subjects: MakeSubjects, code: str, failure: str) -> None:
    """A function that cannot start is run once, and its measurement has a failure and no times."""
    [subject] = make_subjects(f"{code}\n{HANDLER}", {"python/x.py": ""})
    found = _measure(subject)

    assert (failure, [], None) == (found.failure, found.times, found.total_ms)


def _built(tmp_path: Path, bytecode: str) -> Subject:
    """Build a service with the real pipeline, and return a function that imports all modules of its layer."""
    service = make_service(tmp_path)
    service.settings |= {"runtime": f'"python{MINOR}"', "bytecode": f'"{bytecode}"'}
    project = service.write()
    (project / "service" / "handlers" / "hello.py").write_text("import beta\ndef lambda_handler(event, context): ...\n")
    configuration = project / "pyproject.toml"
    configuration.write_text(configuration.read_text().replace(">=3.12", ">=3.9"))
    build(project, BuildOptions(), store=Store.open(tmp_path / "store"))
    [subject] = subjects(read(project), (), options=EnvironmentOptions())
    return subject


@pytest.mark.parametrize("bytecode", ["all", "reachable"])
def test_built_layers_are_never_compiled(tmp_path: Path, bytecode: str) -> None:
    """No module of a layer with bytecode is compiled at start, although its sources are dated 1980 and read-only."""
    subject = _built(tmp_path, bytecode)
    run = start(subject.environment, traced=True)

    assert run.trace is not None
    layers = {
        each.module for each in run.trace.imports if each.file is not None and each.file.place is ModuleOrigin.LAYER
    }
    assert {"alpha", "beta"} == layers
    assert () == run.trace.compiled
    assert 1980 == _year(subject.environment.layer / "python" / "beta.py")


@pytest.mark.parametrize("bytecode", ["none", "all"])
def test_the_interpreter_agrees_on_what_is_compiled(tmp_path: Path, bytecode: str) -> None:
    """The tracer counts exactly the modules that the interpreter reports as compiled in verbose mode."""
    subject = _built(tmp_path, bytecode)
    run = start(subject.environment, traced=True)
    logs = start(replace(subject.environment, additional=(("PYTHONVERBOSE", "1"),))).logs
    directories = subject.environment.directories(run.mode)
    said = re.findall(r"^# code object from '?([^'\n]+?\.py)'?$", logs, flags=re.MULTILINE)

    assert run.trace is not None
    prefixes = {ModuleOrigin.LAYER: directories.opt, ModuleOrigin.PACKAGE: directories.task}
    counted = {f"{prefixes[file.place]}/{file.path}" for file in run.trace.compiled}
    assert counted == {path for path in said if path.startswith(tuple(prefixes.values()))}
    assert (bytecode == "none") == bool(counted)


def _year(path: Path) -> int:

    return time.gmtime(path.stat().st_mtime).tm_year


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports the CPU time of each thread")
def test_processor_time(make_subjects: MakeSubjects) -> None:
    """Sleeping adds to the time but not to the CPU time; computing adds to both."""
    code = "import time\n{}\ndef handler(event, context): ..."
    busy = "end = time.thread_time() + 0.3\nwhile time.thread_time() < end: pass"
    files = {"asleep.py": code.format("time.sleep(0.3)"), "busy.py": code.format(busy)}
    asleep, awake = make_subjects(files, {}, handlers={"asleep": "asleep.handler", "busy": "busy.handler"})
    first, second = start(asleep.environment), start(awake.environment)

    assert first.milliseconds is not None
    assert first.cpu_ms is not None
    assert second.cpu_ms is not None
    assert first.cpu_ms < first.milliseconds - 250
    assert second.cpu_ms > max(300, first.cpu_ms)


def test_imports_of_several_threads(make_subjects: MakeSubjects) -> None:
    """Imports of concurrent threads are all recorded, even if a report exceeds the capacity of a pipe."""
    many = {f"python/{'long' * 20}{number}.py": "" for number in range(400)}
    few = {f"python/few{number}.py": "" for number in range(200)}
    code = (
        "import threading, importlib\n"
        "def load():\n    for number in range(200):\n        importlib.import_module(f'few{number}')\n"
        "other = threading.Thread(target=load)\nother.start()\n"
        "for number in range(400):\n    importlib.import_module(f\"{'long' * 20}{number}\")\n"
        "def handler(event, context): other.join()\n"
    )
    [subject] = make_subjects(code, many | few)
    trace = start(subject.environment, traced=True, events=[b"{}"]).trace

    assert trace is not None
    assert 600 == len([each for each in trace.imports if each.module.startswith(("few", "long"))])
