"""
Generate the locks in ``fixtures`` with the real lock tools, against an index on the loopback interface.

Run it from the repository's root. It needs network access to a package index, to install the lock tools::

    PYTHONPATH=tests .venv/bin/python -m lock.make_fixtures [NAME …]

Each lock tool is installed in its own temporary environment. The tools use the index URL ``index.example`` through an HTTP
proxy, which is the loopback server. The locks and the hashes in them therefore do not depend on this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

import lockers
from loopback import IndexServer

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """A project, locked by one version of a lock tool."""

    name: str
    locker: str
    """The requirements that install the lock tool, separated by spaces."""
    manifest: str
    commands: tuple[tuple[str, ...], ...]
    """The command that locks the project: the program and its arguments."""
    outputs: tuple[str, ...]
    filename: str = "pyproject.toml"
    python: str = "3.12"


_POETRY = (("poetry", "lock", "--no-interaction"),)
_PDM = (("pdm", "lock", "-G", ":all"),)

ALL = (
    Fixture(
        name="poetry-1.1",
        locker="poetry==1.2.2",
        manifest=lockers.POETRY + "default = true\n",
        commands=_POETRY,
        outputs=("poetry.lock",),
        python="3.11",
    ),
    Fixture(
        name="poetry-1.1-forked",
        locker="poetry==1.2.2",
        manifest=lockers.POETRY_FORKED + "default = true\n",
        commands=_POETRY,
        outputs=("poetry.lock",),
        python="3.11",
    ),
    Fixture(
        name="poetry-2.0", locker="poetry==1.8.5", manifest=lockers.POETRY, commands=_POETRY, outputs=("poetry.lock",)
    ),
    Fixture(
        name="poetry-2.0-forked",
        locker="poetry==1.8.5",
        manifest=lockers.POETRY_FORKED,
        commands=_POETRY,
        outputs=("poetry.lock",),
    ),
    Fixture(
        name="poetry-2.1",
        locker="poetry>=2.4",
        manifest=lockers.PEP_621 + lockers.POETRY_SOURCE,
        commands=_POETRY,
        outputs=("poetry.lock",),
    ),
    Fixture(
        name="poetry-2.1-forked",
        locker="poetry>=2.4",
        manifest=lockers.FORKED + lockers.POETRY_SOURCE,
        commands=_POETRY,
        outputs=("poetry.lock",),
    ),
    Fixture(
        name="poetry-2.1-classic",
        locker="poetry==2.1.4",
        manifest=lockers.POETRY_FORKED,
        commands=_POETRY,
        outputs=("poetry.lock",),
    ),
    Fixture(
        name="pdm",
        locker="pdm[locked]>=2.26",
        manifest=lockers.PEP_621 + lockers.PDM_SOURCE,
        commands=_PDM,
        outputs=("pdm.lock",),
    ),
    Fixture(
        name="pdm-forked",
        locker="pdm[locked]>=2.26",
        manifest=lockers.FORKED + lockers.PDM_SOURCE,
        commands=tuple(
            ("pdm", "lock", "-G", ":all", "--python", python, "--platform", platform, *append)
            for python, platform, append in (
                ("==3.12.*", "linux", ()),
                ("==3.13.*", "linux", ("--append",)),
                ("==3.12.*", "manylinux_2_28_aarch64", ("--append",)),
                ("==3.13.*", "manylinux_2_28_aarch64", ("--append",)),
            )
        ),
        outputs=("pdm.lock",),
    ),
    Fixture(
        name="pdm-static-urls",
        locker="pdm[locked]>=2.26",
        manifest=lockers.PEP_621 + lockers.PDM_SOURCE,
        commands=(("pdm", "lock", "-G", ":all", "--strategy", "static_urls"),),
        outputs=("pdm.lock",),
    ),
    Fixture(
        name="pdm-graph",
        locker="pdm==2.12.4",
        manifest=lockers.PEP_621.split("[dependency-groups]")[0]
        + '[tool.pdm.dev-dependencies]\ndev = ["tester", "linter"]\nbatch = ["batcher~=1.0"]\n'
        + lockers.PDM_SOURCE,
        commands=(("pdm", "lock", "-G", ":all", "--strategy", "no_inherit_metadata", "--strategy", "cross_platform"),),
        outputs=("pdm.lock",),
    ),
    Fixture(
        name="pipenv",
        locker="pipenv",
        manifest=lockers.PIPFILE,
        commands=(("pipenv", "lock"), ("pipenv", "lock", "--categories", "packages,dev-packages,batch")),
        outputs=("Pipfile.lock",),
        filename="Pipfile",
    ),
)


def main(names: list[str]) -> None:
    """Create the fixtures called *names*, or all of them."""
    with tempfile.TemporaryDirectory() as directory:
        temporary = Path(os.environ.get("FIXTURES_WORKDIR", directory))
        wheels = temporary / "wheels"
        shutil.rmtree(wheels, ignore_errors=True)
        lockers.make_world(wheels)
        with IndexServer(wheels) as server:
            for fixture in ALL:
                if not names or fixture.name in names:
                    sys.stderr.write(f"{fixture.name}\n")
                    _make(fixture, temporary, server.url)


def _make(fixture: Fixture, temporary: Path, server_url: str) -> None:
    programs = _install(fixture, temporary)
    project = temporary / "projects" / fixture.name
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir(parents=True)
    (project / fixture.filename).write_text(fixture.manifest, encoding="utf-8")
    home = temporary / "homes" / fixture.name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    variables = lockers.environment(server_url, home)
    variables |= {"PATH": f"{programs}{os.pathsep}{variables['PATH']}", "PIPENV_PYTHON": str(programs / "python")}
    for program, *arguments in fixture.commands:
        lockers.run([str(programs / program), *arguments], project=project, variables=variables)
    destination = FIXTURES / fixture.name
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir(parents=True)
    for name in (fixture.filename, *fixture.outputs):
        text = (project / name).read_text(encoding="utf-8")
        if str(temporary) in text or "127.0.0.1" in text:
            raise AssertionError(f"{fixture.name}: `{name}` names this machine")
        (destination / name).write_text(text, encoding="utf-8")


def _install(fixture: Fixture, temporary: Path) -> Path:
    """Create an environment with the fixture's lock tool, and return its directory of programs."""
    place = temporary / "environments" / fixture.locker
    if not place.exists():
        variables = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
        subprocess.run(
            [find_uv_bin(), "venv", "--quiet", "--python", fixture.python, str(place)], check=True, env=variables
        )
        # Old lock tools need setuptools, but do not declare it as a dependency.
        requirements = [*fixture.locker.split(), "setuptools<70"]
        python = str(place / "bin" / "python")
        install = [find_uv_bin(), "pip", "install", "--quiet", "--python", python, *requirements]
        subprocess.run(install, check=True, env=variables)
    return place / "bin"


if __name__ == "__main__":
    main(sys.argv[1:])
