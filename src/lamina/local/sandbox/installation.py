"""
Install the sandbox server once for each interpreter: an empty virtual environment, and the server's packages in a separate directory.

`data/sandbox.txt` pins the server and its dependencies with hashes, so that a new release of a package does not change the installation.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.bytecode.interpreter import find_uv
from lamina.core.errors import MissingExtraError, SandboxError
from lamina.core.supervised.process import run
from lamina.core.temporary import temporary_directory
from lamina.core.toml import data_path, read_data
from lamina.core.urls import without_userinfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.bytecode.interpreter import Interpreter
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store

_AREA = "sandbox"
_SHOWN_LINES = 20
# Variables that would point the installer or the server at another Python environment.
_FOREIGN = frozenset({"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"})


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerFacts:
    """How to install, start and check the server: the content of ``data/sandbox.toml``."""

    requirement: str
    """The requirement to install, such as ``name>=1,<2``."""
    module: str
    """Name of the server's module; its function ``main`` starts the server."""
    health: str
    """URL path that answers with status 200 once the server is ready."""
    services: tuple[str, ...]
    """The AWS services to load, by the server's names for them."""


@cache
def facts() -> ServerFacts:
    """Return the content of ``data/sandbox.toml``; the file is read once."""
    table = read_data("sandbox.toml")["server"]
    return ServerFacts(
        requirement=table["requirement"],
        module=table["module"],
        health=table["health"],
        services=tuple(table["services"]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """An interpreter and packages that can start the sandbox server."""

    python: Path
    """The interpreter that runs the server and the functions."""
    packages: Path | None
    """Directory of the server's own packages, hidden from functions; ``None`` if *python* has them installed."""
    root: Path | None = None
    """Directory to delete if the installation is damaged; ``None`` if lamina did not create it."""

    def discard(self) -> None:
        """Delete the installation, if lamina created it."""
        if self.root is not None:
            shutil.rmtree(self.root, ignore_errors=True)


def bare(python: Path) -> Installation:
    """Return an installation for *python*, an interpreter that can import the server. Functions can import all of its packages, too."""
    return Installation(python=python, packages=None)


def prepare(interpreter: Interpreter, store: Store, *, reporter: Reporter) -> Installation:
    """
    Return the sandbox installation for *interpreter*, creating it in *store* if it does not exist.

    Raises `MissingExtraError` if neither uv nor pip is available, and `SandboxError` if the installation fails.
    """
    requirement = facts().requirement
    lock = data_path("sandbox.txt")
    what = f"{lock.read_text('utf-8')} {interpreter.path} {interpreter.version}"
    name = hashlib.sha256(what.encode()).hexdigest()[:16]
    root = store.directory(_AREA) / name
    with store.exclusive(f"sandbox-{name}"):
        if not root.is_dir():
            reporter.note(
                f"installing the sandbox server `{requirement}` for `{interpreter.path}` (once for each interpreter)"
            )
            _install(interpreter, requirement, lock, root)
    return Installation(python=_python_of(root / "environment"), packages=root / "packages", root=root)


def _install(interpreter: Interpreter, requirement: str, lock: Path, root: Path) -> None:
    with temporary_directory("sandbox", parent=root.parent) as directory:
        made = directory / "made"
        environment, packages = made / "environment", made / "packages"
        # Both directories are relocatable, so they are moved into place only when they are complete.
        _run(
            [str(interpreter.path), "-I", "-m", "venv", "--without-pip", str(environment)],
            "create a virtual environment",
        )
        # The lock file lists every dependency, so the installer must not resolve any.
        arguments = ["--only-binary", ":all:", "--no-deps", "--require-hashes", "--requirement", str(lock)]
        arguments += ["--target", str(packages)]
        _run([*_installer(interpreter, environment), *arguments], f"install `{requirement}`")
        made.replace(root)


def _python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _installer(interpreter: Interpreter, environment: Path) -> Sequence[str]:
    """Return the command that installs packages for *interpreter*: uv, else the first available pip."""
    if (uv := find_uv()) is not None:
        return [uv, "pip", "install", "--quiet", "--color", "never", "--python", str(_python_of(environment))]
    for pip in _pips(interpreter):
        # The command fails if pip is not installed.
        if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode == 0:
            return [*pip, "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    raise MissingExtraError(extra="sandbox", purpose="installing the sandbox server")


def _pips(interpreter: Interpreter) -> Iterator[Sequence[str]]:
    yield [str(interpreter.path), "-I", "-m", "pip"]
    yield [sys.executable, "-I", "-m", "pip", "--python", str(interpreter.path)]


def _run(command: Sequence[str], doing: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    done = run(
        command, environment=kept | {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}, directory=Path.cwd()
    )
    if done.code:
        log = without_userinfo(done.output.decode("utf-8", "replace")).strip()
        raise SandboxError(
            f"failed to {doing} for the sandbox",
            hint="\n".join(log.splitlines()[-_SHOWN_LINES:]) or "the installer printed no output",
        )
