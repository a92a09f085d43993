"""
Install the sandbox's server once for each interpreter: a bare virtual environment to run in, and its packages beside it.

`data/sandbox.txt` locks the server and what it needs, with hashes, so a release of any of them changes nothing here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import MissingExtraError, SandboxError
from lamina.core.toml import data_path, read_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.bytecode.interpreter import Interpreter
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store

_AREA = "sandbox"
_SHOWN_LINES = 20
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
# Variables that would make the installer look at, or the server run in, somebody else's environment.
_FOREIGN = frozenset({"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"})


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerFacts:
    """How the server is installed, started and asked: the content of ``data/sandbox.toml``."""

    requirement: str
    """What an installer takes."""
    module: str
    """Has a function ``main``."""
    health: str
    """The path that answers once the server is ready."""
    services: tuple[str, ...]
    """The emulated services to be loaded, by the server's names."""


@cache
def facts() -> ServerFacts:
    """Return what is known of the server."""
    table = read_data("sandbox.toml")["server"]
    return ServerFacts(
        requirement=table["requirement"],
        module=table["module"],
        health=table["health"],
        services=tuple(table["services"]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """Where the server can be started from."""

    python: Path
    """The interpreter that runs the server, and the functions in it."""
    packages: Path | None
    """The server's own packages, which functions do not see; ``None`` where *python* has them installed."""
    root: Path | None = None
    """What is removed when the installation turns out to be damaged."""

    def discard(self) -> None:
        """Remove it, if lamina made it."""
        if self.root is not None:
            shutil.rmtree(self.root, ignore_errors=True)


def bare(python: Path) -> Installation:
    """Return the interpreter *python* as it is; it has the server installed, and functions see what it has."""
    return Installation(python=python, packages=None)


def prepare(interpreter: Interpreter, store: Store, *, reporter: Reporter) -> Installation:
    """
    Return the installation for *interpreter*, made in *store* if it is not there yet.

    Raises MissingExtraError where nothing can install packages, and SandboxError where installing fails.
    """
    requirement = facts().requirement
    lock = data_path("sandbox.txt")
    what = f"{lock.read_text('utf-8')} {interpreter.path} {interpreter.version}"
    name = hashlib.sha256(what.encode()).hexdigest()[:16]
    root = store.directory(_AREA) / name
    with store.exclusive(f"sandbox-{name}"):
        if not root.is_dir():
            reporter.note(f"installing {requirement} for {interpreter.path}, once")
            _install(interpreter, requirement, lock, root)
    return Installation(python=_python_of(root / "environment"), packages=root / "packages", root=root)


def _install(interpreter: Interpreter, requirement: str, lock: Path, root: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f"{root.name}.", dir=root.parent, ignore_cleanup_errors=True) as name:
        made = Path(name, "made")
        environment, packages = made / "environment", made / "packages"
        # Both are found relative to themselves, so they can be moved to their place when they are whole.
        _run([str(interpreter.path), "-I", "-m", "venv", "--without-pip", str(environment)], "make an environment")
        # The lock is complete, so nothing is to be resolved.
        arguments = ["--only-binary", ":all:", "--no-deps", "--require-hashes", "--requirement", str(lock)]
        arguments += ["--target", str(packages)]
        _run([*_installer(interpreter, environment), *arguments], f"install `{requirement}`")
        made.replace(root)


def _python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _installer(interpreter: Interpreter, environment: Path) -> Sequence[str]:
    """Return the command that installs packages for *interpreter*: uv, or the first pip that there is."""
    beside = Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv")
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--color", "never", "--python", str(_python_of(environment))]
    for pip in _pips(interpreter):
        # It says what it is, or it is not there.
        if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode == 0:
            return [*pip, "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    raise MissingExtraError(extra="sandbox", purpose="Installing the sandbox's server")


def _pips(interpreter: Interpreter) -> Iterator[Sequence[str]]:
    yield [str(interpreter.path), "-I", "-m", "pip"]
    yield [sys.executable, "-I", "-m", "pip", "--python", str(interpreter.path)]


def _run(command: Sequence[str], doing: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    done = subprocess.run(
        command,
        env=kept | {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        log = _USERINFO.sub("", done.stdout.decode("utf-8", "replace")).strip()
        raise SandboxError(
            f"Cannot {doing} for the sandbox", hint="\n".join(log.splitlines()[-_SHOWN_LINES:]) or "it said nothing"
        )
