"""A spliced layer has the same files as an installation from the same lock file, on every machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.case import Case, Variation, build, install_reference, lock, uv, write_project
from conformance.compare import compare, machines
from conformance.sets import SETS, RealSet
from lamina.bytecode.interpreter import search

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
OTHER_MINORS = ((3, 12), (3, 13))
SURROUNDINGS = (
    (0o077, {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "1", "LC_ALL": "C"}, "a directory/with spaces"),
    (0o000, {"TZ": "America/St_Johns", "PYTHONHASHSEED": "4242", "LC_ALL": "C.UTF-8"}, "ü/deep/er"),
)


@pytest.fixture(scope="session", params=SETS, ids=lambda real: real.name)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Lock one real set and build its layer."""
    real: RealSet = request.param
    directory = tmp_path_factory.mktemp(real.name)
    write_project(real, directory / "project")
    lock(real, directory / "project")
    return build(real, directory / "project", directory / "store")


@pytest.fixture(scope="session")
def variations(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Variation]:
    """Install lamina for every other Python minor version on this machine, each with another environment."""
    directory = tmp_path_factory.mktemp("interpreters")
    found = []
    for (umask, environment, below), minor in zip(SURROUNDINGS, OTHER_MINORS, strict=True):
        python = Path(sys.executable)
        if sys.version_info[:2] != minor and (interpreter := search(minor)):
            place = directory / ".".join(map(str, minor))
            uv("venv", "--python", interpreter.path, place, cwd=directory)
            python = place / "bin" / "python"
            uv("pip", "install", "--python", python, ROOT, cwd=directory)
        found.append(Variation(name=below, python=python, umask=umask, environment=environment, below=below))
    return found


def test_every_file_is_what_uv_installs(case: Case, tmp_path: Path) -> None:
    """The layer has exactly the files that uv installs, except installer metadata, scripts and headers."""
    install_reference(case.real, case.project, tmp_path / "reference")
    comparison = compare(case.layer, tmp_path / "reference")

    assert comparison, comparison
    assert comparison.files > 0


def test_other_readers_accept_the_archive(case: Case) -> None:
    """Python's zipfile and Info-ZIP can read every member, and all checksums are right."""
    with zipfile.ZipFile(case.layer) as archive:
        assert archive.testzip() is None
    if unzip := shutil.which("unzip"):
        done = subprocess.run([unzip, "-tq", case.layer], capture_output=True, text=True, check=False)

        assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_every_library_is_of_the_targets_machine(case: Case) -> None:
    """Every extension module and shared library is for the target's architecture, not the build machine's."""
    foreign = {path for path, machine in machines(case.layer).items() if machine != case.real.architecture}

    assert foreign == set()


def test_the_same_bytes_come_from_other_circumstances(
    case: Case, variations: Sequence[Variation], tmp_path: Path
) -> None:
    """The result does not depend on directory, umask, time zone, locale, hash seed, Python minor version or earlier builds."""
    assert _built_again(case, variations, tmp_path) == {variation.name: case.sha256 for variation in variations}


def test_the_same_bytecode_comes_from_other_circumstances(variations: Sequence[Variation], tmp_path: Path) -> None:
    """The bytecode does not depend on the interpreter that runs lamina, because the target's interpreter compiles it."""
    (real, *_) = SETS
    if search((3, int(real.python.split(".")[1]))) is None:
        pytest.skip(f"no CPython {real.python} on this machine")
    write_project(real, tmp_path / "project", bytecode="all")
    lock(real, tmp_path / "project")
    case = build(real, tmp_path / "project", tmp_path / "store")
    with zipfile.ZipFile(case.layer) as archive:
        assert any(name.endswith(".pyc") for name in archive.namelist())

    assert _built_again(case, variations, tmp_path) == {variation.name: case.sha256 for variation in variations}


def _built_again(case: Case, variations: Sequence[Variation], directory: Path) -> dict[str, str]:
    built = {}
    for variation in variations:
        project, store = directory / variation.below / "project", directory / variation.below / "store"
        shutil.copytree(case.project, project, ignore=shutil.ignore_patterns(".lamina"))
        shutil.copytree(case.store / "wheels", store / "wheels", copy_function=os.link)
        again = build(
            case.real,
            project,
            store,
            python=variation.python,
            umask=variation.umask,
            environment=variation.environment,
        )
        built[variation.name] = again.sha256
    return built


def test_the_layer_imports(case: Case, tmp_path: Path) -> None:
    """The target's interpreter can import the requested modules from the layer alone."""
    interpreter = search((3, int(case.real.python.split(".")[1])))
    if case.real.architecture != platform.machine() or interpreter is None:
        pytest.skip(f"this machine cannot run {case.real.runtime} on {case.real.architecture}")
    with zipfile.ZipFile(case.layer) as archive:
        archive.extractall(tmp_path)
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'python')!r}); import {', '.join(case.real.imports)}"
    done = subprocess.run([interpreter.path, "-I", "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
