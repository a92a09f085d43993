"""Services whose best packaging is known: it is recommended and written, and then every function works."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from built import MINOR
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from lamina.project.config import load
from services import make_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

KB = 1000


def _project(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    sizes: Mapping[str, int],
    functions: Mapping[str, str],
    *,
    limit: int | None = None,
) -> Path:
    """Return a service whose functions import the modules in a string of names, of *sizes* in kB. *limit* is Lambda's, in kB."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(directory / "cache"))
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    service = make_service(directory)
    service.locked.clear()
    for name, size in sizes.items():
        service.add(name, "1.0", {f"{name}.py": "VALUE = 1\n", f"{name}.data/filler": bytes(size * KB)})
    service.requires_python = f">={MINOR}"
    service.settings["runtime"] = f'"python{MINOR}"'
    service.settings["advise"] = (
        '{ layer-cost = "20 kB", split-saving = "50 kB", small-function = "2 kB" }  # of this test'
    )
    service.functions = {name: f"service.handlers.{name}.handler" for name in functions}
    if limit is not None:
        service.settings["facts"] = '"facts.toml"'
    root = service.write()
    if limit is not None:
        (root / "facts.toml").write_text(
            f'[[quota]]\nname = "unzipped_bytes"\nvalue = {limit * KB}\nsource = "a test"\nread = 2030-01-01\n'
        )
    (root / "service" / "handlers" / "hello.py").unlink()
    for name, needed in functions.items():
        imports = "".join(f"import {each}\n" for each in needed.split())
        values = " + ".join(f"{each}.VALUE" for each in needed.split()) or "0"
        (root / "service" / "handlers" / f"{name}.py").write_text(
            f"{imports}\n\ndef handler(event, context):\n    return {values}\n"
        )
    monkeypatch.chdir(root)
    return root


FAMILIES = {"a": 40, "b": 50, "c": 60, "d": 70, "e": 80, "f": 90}
HEAVY = {"core": 20, "numpy": 60, "pandas": 90}
ONE_HEAVY = {"create": "core", "report": "core numpy pandas", "show": "core"}


@dataclass(frozen=True, kw_only=True)
class Known:
    """A service with a known best layout."""

    sizes: Mapping[str, int]
    functions: Mapping[str, str]
    limit: int | None = None
    starts: Mapping[str, float] = field(default_factory=dict)
    """The measured initialisation of functions, in milliseconds."""
    invoked: int | None = None
    """The number of functions to invoke; ``None`` for all."""
    layers: Mapping[str, str] | None = None
    """The names of layers and what they have; ``None`` for zips without layers."""


SERVICES = {
    "one heavy function": Known(
        sizes=HEAVY, functions=ONE_HEAVY, starts={"create": 1500}, layers={"common": "core", "pandas": "numpy pandas"}
    ),
    "two families": Known(
        sizes={"core": 10, "pandas": 150, "torch": 160},
        functions={"table": "core pandas", "learn": "core torch"},
        starts={"learn": 4000},
        layers={"common": "core", "pandas": "pandas", "torch": "torch"},
    ),
    "none": Known(
        sizes={"core": 90, "extra": 4},
        functions={"first": "core", "second": "core extra"},
        starts={"first": 9000},
        layers={"common": "core extra"},
    ),
    "over the limit as one layer": Known(
        sizes={"pandas": 150, "torch": 160},
        functions={"table": "pandas", "learn": "torch"},
        limit=200,
        layers={"common": "pandas", "torch": "torch"},
    ),
    "six families": Known(
        sizes=FAMILIES,
        functions={f"use_{name}": name for name in FAMILIES},
        limit=200,
        layers={"common": "a b", "c": "c", "d": "d", "e": "e", "f": "f"},
    ),
    "more than five layers have room for": Known(
        sizes=dict.fromkeys(FAMILIES, 120), functions={f"use_{name}": name for name in FAMILIES}, limit=200, invoked=1
    ),
    "one small function": Known(sizes={"core": 1}, functions={"only": "core"}),
}


@pytest.mark.parametrize("name", SERVICES)
def test_the_known_layout_is_recommended_and_works(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    have_runtime_client: Callable[[Path], None],
    name: str,
) -> None:
    """It is written once, and then it is what the service has: in the build, and when each function is invoked."""
    known = SERVICES[name]
    project = _project(tmp_path, monkeypatch, known.sizes, known.functions, limit=known.limit)
    if known.starts:
        _write_baseline(project, known.starts, known.sizes)

    assert 0 == main(["advise", "--write", "--yes"]), capsys.readouterr()
    text = (project / "pyproject.toml").read_text()
    assert 0 == main(["advise", "--write", "--yes"]), capsys.readouterr()
    assert text == (project / "pyproject.toml").read_text()
    assert "# of this test" in text
    assert 0 == main(["build"]), capsys.readouterr()
    built = json.loads((project / ".lamina" / "build.json").read_bytes())
    assert (known.layers or {}) == {
        each["name"]: " ".join(sorted(row["name"] for row in each["distributions"])) for each in built["layers"]
    }
    assert {not known.layers} == {bool(each.bundled) for each in load(project).functions}
    have_runtime_client(project)
    for function, needed in list(known.functions.items())[: known.invoked]:
        capsys.readouterr()
        assert 0 == main(["invoke", function, "-q"]), capsys.readouterr()
        assert len(needed.split()) == json.loads(capsys.readouterr().out)


def _write_baseline(project: Path, starts: Mapping[str, float], sizes: Iterable[str]) -> None:
    """Write measured times with one layer that has all distributions."""
    document = {
        "version": "1",
        "circumstances": {
            "system": "Linux",
            "machine": "x86_64",
            "processors": 2,
            "runtime": f"python{MINOR}",
            "cpu_share": None,
        },
        "functions": {name: {"median_ms": time} for name, time in starts.items()},
        "packagings": [{"functions": list(starts), "layers": [sorted(sizes)], "zip": []}],
    }
    (project / "coldstart.json").write_text(json.dumps(document))


def test_nothing_is_written_if_no_one_can_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = _project(tmp_path, monkeypatch, {"core": 1}, {"only": "core"})
    text = (project / "pyproject.toml").read_text()

    assert 2 == main(["advise", "--write"])
    assert text == (project / "pyproject.toml").read_text()
    shown = capsys.readouterr().err
    assert '+packaging = "zip"' in shown
    assert "agree in advance: `lamina advise --write --yes`" in shown


def test_an_image_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _project(tmp_path, monkeypatch, {"core": 10, "torch": 240}, {"small": "core", "large": "core torch"}, limit=200)

    assert 1 == main(["advise", "--write", "--yes"])
    assert "lamina does not build container images" in capsys.readouterr().err


def test_the_parts_of_the_aws_sdk_stay_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that imports one of them has all that are locked, and not those of the runtime, which need other versions."""
    sizes = {"boto3": 60, "botocore": 90, "core": 10}
    project = _project(tmp_path, monkeypatch, sizes, {"trace": "botocore", "send": "boto3 botocore", "show": "core"})
    _write_baseline(project, {"show": 2000.0}, sizes)

    assert 0 == main(["advise", "--write", "zip-needed", "--yes"])
    assert 0 == main(["build"])
    built = json.loads((project / ".lamina" / "build.json").read_bytes())
    assert {"trace": ["boto3", "botocore"], "send": ["boto3", "botocore"], "show": ["core"]} == {
        each["name"]: sorted(row["name"] for row in each["distributions"]) for each in built["functions"]
    }
