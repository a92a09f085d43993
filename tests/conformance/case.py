"""Lock a real set, build its layer, and install the same lock file with uv for comparison."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conformance.sets import RealSet

__all__ = ["Case", "Variation", "build", "install_reference", "lock", "uv", "write_project"]

_HANDLER = "def lambda_handler(event, context):\n    return event\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A real set that was locked and built."""

    real: RealSet
    project: Path
    store: Path
    layer: Path
    sha256: str
    distributions: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Variation:
    """An environment of a build that must not affect its result."""

    name: str
    python: Path
    umask: int
    environment: Mapping[str, str]
    below: str
    """The project's directory, relative to the temporary directory."""


def uv(*arguments: str | Path, cwd: Path) -> None:
    """Run uv. If it fails, show its error output."""
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    command = [sys.executable, "-m", "uv", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"


def write_project(real: RealSet, project: Path, *, bytecode: str = "none") -> None:
    """Write a service with one function that depends on the requirements of *real*."""
    (project / "service").mkdir(parents=True)
    (project / "service" / "handler.py").write_text(_HANDLER, encoding="utf-8")
    (project / "pyproject.toml").write_text(
        f"""\
[project]
name = "conformance-{real.name}"
version = "1"
requires-python = ">={real.python}"
dependencies = {json.dumps(real.requirements)}

[tool.lamina]
runtime = "{real.runtime}"
architecture = "{real.architecture}"
source = ["service"]
bytecode = "{bytecode}"

[tool.lamina.functions]
echo = "service.handler.lambda_handler"
""",
        encoding="utf-8",
    )


def lock(real: RealSet, project: Path) -> None:
    """Write the hashed ``requirements.txt`` of *project*."""
    if real.lock:
        shutil.copy(real.lock, project / "requirements.txt")
        return
    uv(
        *("pip", "compile", "pyproject.toml", "-o", "requirements.txt", "--generate-hashes", "--only-binary", ":all:"),
        *("--no-header", "--no-annotate", "--no-emit-index-url", "--python", sys.executable),
        *("--python-version", real.python, "--python-platform", real.platform),
        cwd=project,
    )


def install_reference(real: RealSet, project: Path, target: Path) -> None:
    """Install the lock file of *project* into *target* with uv, for the same runtime and architecture."""
    uv(
        *("pip", "install", "-r", "requirements.txt", "--target", target, "--require-hashes", "--no-deps"),
        *("--only-binary", ":all:", "--no-compile-bytecode", "--link-mode", "copy", "--python", sys.executable),
        *("--python-version", real.python, "--python-platform", real.platform),
        # A cache of its own, because files may be hard-linked to uv's shared cache, and editing them would change that cache.
        *("--cache-dir", target.with_name(f"{target.name}-cache")),
        cwd=project,
    )


def build(
    real: RealSet,
    project: Path,
    store: Path,
    *,
    python: Path = Path(sys.executable),
    umask: int = 0o022,
    environment: Mapping[str, str] | None = None,
) -> Case:
    """Run ``lamina build`` on *project*, and return the case with the values from its report."""
    done = subprocess.run(
        [str(python), "-m", "lamina", "build", "--project", str(project), "--json"],
        env=os.environ | {"LAMINA_CACHE_DIR": str(store)} | dict(environment or {}),
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (layer,) = json.loads(done.stdout)["layers"]
    return Case(
        real=real,
        project=project,
        store=store,
        layer=project / layer["path"],
        sha256=layer["sha256"],
        distributions=len(layer["distributions"]),
    )
