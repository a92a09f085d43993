"""Tests of recording the imports of functions for the next build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from built import MINOR
from coldstart_layers import HANDLER, distribution
from lamina.coldstart.measure import start
from lamina.coldstart.variants import subjects
from lamina.core.store import Store
from lamina.local.artifacts import read
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from lamina.project.profile import record
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

    from coldstart_layers import MakeSubjects


def test_only_layer_modules(make_subjects: MakeSubjects) -> None:
    """Only modules of the layer are recorded, without the function's own, the standard library's and namespace packages."""
    layer = distribution("dep", {"dep/__init__.py": "", "dep/part.py": "", "space/inner.py": ""})
    [subject] = make_subjects(
        {"app.py": f"import json, helper, dep.part, space.inner\n{HANDLER}", "helper.py": ""}, layer
    )
    run = start(subject.environment, traced=True)

    assert run.trace is not None
    assert {"dep", "dep.part", "space.inner"} == run.trace.layer_modules


def test_events(make_subjects: MakeSubjects) -> None:
    """Imports while an event is handled are recorded too."""
    [subject] = make_subjects("def handler(event, context):\n    __import__(event['name'])\n", {"python/dep.py": ""})
    run = start(subject.environment, traced=True, events=[b'{"name": "missing"}', b'{"name": "dep"}'])

    assert run.trace is not None
    assert {"dep"} == run.trace.layer_modules


def test_round_trip(tmp_path: Path) -> None:
    """Modules that only a run finds have no bytecode in the first build, and have it in the build after recording."""
    service = make_service(tmp_path)
    service.settings |= {"runtime": f'"python{MINOR}"', "bytecode": '"reachable"'}
    project = service.write()
    (project / "pyproject.toml").write_text((project / "pyproject.toml").read_text().replace(">=3.12", ">=3.9"))
    hidden = "NAME = ''.join(reversed('ateb'))\nmodule = __import__(NAME)\ndef lambda_handler(event, context): ...\n"
    (project / "service" / "handlers" / "hello.py").write_text(hidden)
    store = Store.open(tmp_path / "store")

    def compiled() -> list[str]:
        build(project, BuildOptions(), store=store)
        [subject] = subjects(read(project), ())
        run = start(subject.environment, traced=True)
        assert run.trace is not None
        record(project, {"hello": run.trace.layer_modules})
        return sorted(file.path for file in run.trace.compiled)

    assert ["python/alpha/__init__.py", "python/beta.py"] == compiled()
    assert [] == compiled()
