"""Several targets of one configuration: each target is built, and shared layers are built once."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import InvalidConfigError, NoCompatibleWheelError
from lamina.core.store import Store
from lamina.core.target import Target
from lamina.pipeline import state
from lamina.pipeline.build import build
from lamina.project.config import load
from lamina.project.options import BuildOptions
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

    from services import Service

X86, ARM = "cp313-cp313-manylinux_2_17_x86_64", "cp313-cp313-manylinux_2_17_aarch64"
BOTH = "py3-none-manylinux_2_17_x86_64.manylinux_2_17_aarch64"


@pytest.fixture
def service(tmp_path: Path) -> Service:
    service = make_service(tmp_path)
    service.settings = {
        "targets": '["python3.13-arm64", "python3.13-x86_64", "python3.12-x86_64"]',
        "source": '["service"]',
        "bytecode": '"none"',
    }
    return service


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def test_places(service: Service, store: Store) -> None:
    """The first target's outputs have the same paths as those of a single target; each other target has its own directory."""
    result = build(service.write(), BuildOptions(), store=store)

    made = sorted(path.relative_to(service.root).as_posix() for path in (service.root / ".lamina").rglob("*.zip"))
    assert [
        ".lamina/functions/hello.zip",
        ".lamina/layers/common.zip",
        ".lamina/python3.12-x86_64/functions/hello.zip",
        ".lamina/python3.12-x86_64/layers/common.zip",
        ".lamina/python3.13-x86_64/functions/hello.zip",
        ".lamina/python3.13-x86_64/layers/common.zip",
    ] == made
    assert ["python3.13 on arm64", "python3.13 on x86_64", "python3.12 on x86_64"] == [
        str(each.build.target) for each in (result, *result.others)
    ]


def test_record_holds_all(service: Service, store: Store) -> None:
    """The first target's report contains the others, and each other target also has a report in its directory."""
    build(service.write(), BuildOptions(), store=store)

    document = json.loads((service.root / ".lamina/build.json").read_bytes())
    other = json.loads((service.root / ".lamina/python3.12-x86_64/build.json").read_bytes())

    assert {"runtime": "python3.13", "architecture": "arm64"} == document["target"]
    assert other.pop("crc32")
    assert other == document["other_targets"][1]
    assert ".lamina/python3.12-x86_64/layers/common.zip" == other["layers"][0]["path"]


def test_pure_layer_is_one_file(service: Service, store: Store) -> None:
    """A layer without native code is one file for all architectures of a runtime, but differs between runtimes."""
    result = build(service.write(), BuildOptions(), store=store)

    (arm,), (x86,), (older,) = (each.build.layers for each in (result, *result.others))
    assert arm.digest == x86.digest
    assert arm.path.samefile(x86.path)
    assert arm.digest != older.digest
    assert not arm.is_native


def test_native_layer_is_another(service: Service, store: Store) -> None:
    """A layer with a native distribution differs between architectures."""
    service.add("native", "1.0", tag=BOTH)

    result = build(service.write(), BuildOptions(), store=store)

    (arm,), (x86,) = result.build.layers, result.others[0].build.layers
    assert arm.digest != x86.digest
    assert arm.is_native


def test_nothing_changed(service: Service, store: Store) -> None:
    """A second build finds nothing to do from stats alone, unless an output of a target is missing."""
    project = service.write()
    build(project, BuildOptions(), store=store)
    _age(project)
    second = build(project, BuildOptions(), store=store)

    assert all(each.build.reused for each in (second, *second.others))
    asked = BuildOptions().asked()
    assert state.recall(str(project), asked) is not None
    (project / ".lamina/python3.12-x86_64/layers/common.zip").unlink()
    assert state.recall(str(project), asked) is None


def test_one_of_them(service: Service, store: Store) -> None:
    """A target given on the command line is built alone, into the usual directory; other targets' directories are deleted."""
    project = service.write()
    build(project, BuildOptions(), store=store)

    result = build(project, BuildOptions(runtime="python3.12"), store=store)

    assert ("python3.12 on x86_64", ()) == (str(result.build.target), result.others)
    assert not list((project / ".lamina").glob("python*"))


def test_removed_target(service: Service, store: Store) -> None:
    """The outputs of a target that is no longer configured are deleted."""
    build(service.write(), BuildOptions(), store=store)
    service.settings["targets"] = '["python3.13-arm64", "python3.12-x86_64"]'

    build(service.write(), BuildOptions(), store=store)

    assert ["python3.12-x86_64"] == [path.name for path in (service.root / ".lamina").glob("python*")]


def test_one_fails(service: Service, store: Store) -> None:
    """If one target fails, the build fails and records no state."""
    service.add("native", "1.0", tag=ARM)

    with pytest.raises(NoCompatibleWheelError) as caught:
        build(service.write(), BuildOptions(), store=store)

    assert "no compatible wheel in the lock for python3.13 on x86_64: `native` 1.0" == str(caught.value)
    assert not (service.root / state.STATE_FILE).exists()


def test_removing_one(service: Service, store: Store, tmp_path: Path) -> None:
    """Deleting one target's outputs does not affect those of another."""
    result = build(service.write(), BuildOptions(), store=store)
    (layer,) = result.others[0].build.layers
    shutil.copyfile(layer.path, tmp_path / "before.zip")

    result.build.layers[0].path.unlink()

    assert (tmp_path / "before.zip").read_bytes() == layer.path.read_bytes()


@pytest.mark.parametrize(
    ("line", "key", "fact"),
    [
        ("targets = []", "targets", 'the list is empty; example: ["python3.13-arm64", "python3.13-x86_64"]'),
        (
            'targets = ["python3.13"]',
            "targets",
            '`python3.13` does not have the form "runtime-architecture"; example: "python3.13-arm64"',
        ),
        (
            'targets = ["python3.13-arm"]',
            "targets",
            "Lambda has no architecture `arm`; use `arm64`",
        ),
        (
            'targets = ["python3.13-arm64"]\nruntime = "python3.13"',
            "runtime",
            "conflicts with `targets`; remove one of the two",
        ),
        ("targets = 3", "targets", "expected a list of strings, found an integer"),
    ],
)
def test_mistakes(tmp_path: Path, line: str, key: str, fact: str) -> None:
    """An invalid target is reported with its key."""
    (tmp_path / "pyproject.toml").write_text(f"[tool.lamina]\n{line}\n")

    with pytest.raises(InvalidConfigError) as caught:
        load(tmp_path)

    assert ((f"tool.lamina.{key}", fact),) == caught.value.mistakes


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (BuildOptions(architecture="arm64"), ["python3.13 on arm64", "python3.12 on arm64"]),
        (BuildOptions(runtime="python3.11"), ["python3.11 on arm64"]),
        (BuildOptions(), ["python3.13 on arm64", "python3.12 on arm64", "python3.13 on x86_64"]),
    ],
)
def test_overrides(tmp_path: Path, overrides: BuildOptions, expected: list[str]) -> None:
    """The command line selects among the configured targets, or replaces them with a target that is not configured."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.lamina]\ntargets = ["python3.13-arm64", "python3.12-arm64", "python3.13-x86_64"]\n'
    )

    service = load(tmp_path, overrides)

    assert expected == [str(target) for target in (service.target, *service.others)]
    assert isinstance(service.target, Target)


def _age(project: Path) -> None:
    """Set all modification times back, so that no file looks recently edited."""
    for path in project.rglob("*"):
        if ".lamina" not in path.parts:
            os.utime(path, (1_700_000_000, 1_700_000_000))
