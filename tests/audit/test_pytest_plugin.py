"""Tests of `pytest --lamina-venv`."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from services import Service

PLUGIN = "lamina.audit.pytest_plugin"
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


class Session(NamedTuple):
    """The result of a session of pytest."""

    code: int
    output: str


class World:
    """A project with a test, and a virtual environment in which pytest runs."""

    def __init__(self, directory: Path) -> None:
        self.service = Service(root=directory / "project", wheels=directory / "wheels", requires_python=">=3.9")
        self.service.settings |= {"runtime": f'"python{MINOR}"', "architecture": '"x86_64"'}
        self.alpha = self.service.add("alpha", "1.0")
        self.service.write()
        (self.service.root / "test_it.py").write_text("import os\n\ndef test_it():\n    assert os.environ\n")
        self.venv = directory / "venv"
        venv.create(self.venv)
        [self.site] = self.venv.glob("lib/python3*/site-packages")
        # pytest and lamina are those of the tests, so only the distributions of the project are in the environment.
        (self.site / "__editable__.pth").write_text(
            "\n".join(path for path in sys.path if path and Path(path).is_dir())
        )
        with zipfile.ZipFile(self.alpha) as wheel:
            wheel.extractall(self.site)

    def pytest(self, *arguments: str, directory: Path | None = None) -> Session:
        """Run pytest with *arguments* in the project."""
        command = [str(self.venv / "bin/python"), "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", *arguments]
        environment = os.environ | {
            "LAMINA_CACHE_DIR": str(self.venv.parent / "store"),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        done = subprocess.run(
            command,
            cwd=directory or self.service.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Session(done.returncode, done.stdout)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_sessions(world: World) -> None:
    """A session runs in an equal environment, and stops in another one before the first test."""
    (world.site / "alpha/__init__.py").write_text("")
    different = world.pytest("--lamina-venv", "test_it.py")
    with zipfile.ZipFile(world.alpha) as wheel:
        wheel.extractall(world.site)
    equal = world.pytest("--lamina-venv", "--lamina-project", "project", "project", directory=world.service.root.parent)

    assert 1 == different.code
    assert "lamina: error: 1 file of `alpha` 1.0 in `" in different.output
    assert "the environment differs from the layers of lamina (--lamina-venv)" in different.output
    assert "passed" not in different.output
    assert (0, True) == (equal.code, "1 passed" in equal.output)


def test_workers(world: World) -> None:
    """A worker of pytest-xdist does not compare, because its controller has done so."""
    (world.site / "alpha/__init__.py").write_text("")
    (world.service.root / "conftest.py").write_text("def pytest_configure(config):\n    config.workerinput = {}\n")
    done = world.pytest("--lamina-venv", "test_it.py")

    assert (0, True) == (done.code, "1 passed" in done.output)


def test_no_project(world: World) -> None:
    """A directory without a configuration is an error of the command line, with lamina's hint."""
    done = world.pytest("--lamina-venv", "--lamina-project", "..")

    assert pytest.ExitCode.USAGE_ERROR == done.code
    assert "ERROR: lamina: " in done.output
    assert "hint: " in done.output

    done = world.pytest("--lamina-venv", "--lamina-project", "nope")

    assert pytest.ExitCode.USAGE_ERROR == done.code
    assert "ERROR: lamina: the directory `nope` of `--lamina-project` does not exist" in done.output


def test_import() -> None:
    """Loading the plugin, as each session of pytest does, loads nothing else of lamina."""
    code = f"import sys, {PLUGIN}\nprint(*sorted(name for name in sys.modules if name.startswith('lamina')))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert ["lamina", "lamina.audit", PLUGIN] == done.stdout.split()
