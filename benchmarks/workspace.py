"""
Generate a repository of many services, like that of a platform team. The same numbers always generate the same repository.

Every service has its own lock file with a dozen wheels from a common pool, five functions, and about twenty source files.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

# Import the tests' functions for generating wheels, which are small, valid and reproducible.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from wheels import make_wheel, sha256

__all__ = ["make_workspace"]

_POOL = 40
_LOCKED = 12
_MODULES = 12
_HANDLER = '''\
"""Answer {name}."""

from service.logic import module_{number}


def lambda_handler(event, context):
    return module_{number}.answer(event)
'''
_MODULE = '''\
"""Decide something about {name}."""


def answer(event):
    return {{"from": "{name}", "event": event}}
'''
_CONFIGURATION = """\
[project]
name = "{name}"
version = "1.0.0"
requires-python = ">=3.13"

[tool.lamina]
runtime = "python3.13"
architecture = "x86_64"
source = ["service"]
bytecode = "none"

[tool.lamina.functions]
"""


def make_workspace(directory: Path, wheels: Path, *, services: int = 200, functions: int = 5) -> tuple[Path, ...]:
    """
    Write a root ``pyproject.toml`` and *services* services of *functions* functions below *directory*.

    The services' wheels are written to *wheels*. Returns the services' directories.
    """
    chance = random.Random(services * 1_000 + functions)
    pool = [_made_up_wheel(wheels, number) for number in range(_POOL)]
    directory.mkdir(parents=True)
    members = "[tool.uv.workspace]\nmembers = ['services/*']\n"
    (directory / "pyproject.toml").write_text(f'[project]\nname = "workspace"\nversion = "0"\n\n{members}', "utf-8")
    made = []
    for number in range(services):
        place = directory / "services" / f"service-{number:03}"
        _make_service(place, functions=functions)
        locked = sorted(chance.sample(pool, _LOCKED))
        lines = [f"{name}=={version} \\\n    --hash=sha256:{digest}\n" for name, version, digest in locked]
        (place / "requirements.txt").write_text("".join(lines), "utf-8")
        made.append(place)
    return tuple(made)


def _made_up_wheel(wheels: Path, number: int) -> tuple[str, str, str]:
    name, version = f"dependency-{number:02}", f"1.{number}"
    package = name.replace("-", "_")
    files = {f"{package}/module_{each}.py": _MODULE.format(name=f"{name} {each}") * 20 for each in range(_MODULES)}
    path = make_wheel(wheels, name, version, {f"{package}/__init__.py": "", **files})
    return name, version, sha256(path)


def _make_service(place: Path, *, functions: int) -> None:
    name = place.name
    handlers, logic = place / "service" / "handlers", place / "service" / "logic"
    for package in (handlers.parent, handlers, logic):
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
    configuration = _CONFIGURATION.format(name=name)
    for number in range(functions):
        (handlers / f"function_{number}.py").write_text(_HANDLER.format(name=name, number=number), "utf-8")
        configuration += f'function-{number} = "service.handlers.function_{number}.lambda_handler"\n'
    for number in range(max(_MODULES, functions)):
        (logic / f"module_{number}.py").write_text(_MODULE.format(name=f"{name} {number}"), "utf-8")
    (place / "pyproject.toml").write_text(configuration, "utf-8")
