"""
The environment that all groups of rows share: the example service, its wheels, and the working directory.

All files are in ``build/benchmarks`` of the checkout (or ``--home``), on one file system. All but ``work/`` are kept after the run::

    store/      lamina's store, with the wheels from the user's configured index
    wheels/     the same wheels under their file names, for the other tools
    venvs/      the tools that lamina is compared with
    work/       the output of the rows
"""

from __future__ import annotations

import compileall
import fcntl
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.values import Command
from lamina.bytecode.interpreter import search
from lamina.core.errors import LaminaError
from lamina.core.store import Store
from lamina.core.values import Pin, Wheel
from lamina.project import config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.core.target import Target

__all__ = ["ROOT", "Bench", "remove"]

ROOT = Path(__file__).parent.parent
_IMPORTED = ("deflate", "findpython", "packaging", "pathspec", "platformdirs", "rich", "rtoml", "urllib3")
_FOREIGN = ("PIP_", "UV_", "LAMINA_", "AWS_", "PYTHON")


def _compile_ourselves() -> None:
    """
    Compile lamina and its dependencies to bytecode, as pip does on installation.

    uv compiles at the first import instead. With PYTHONDONTWRITEBYTECODE set, Python would compile at every import.
    """
    for name in ("lamina", *_IMPORTED):
        spec = importlib.util.find_spec(name)
        for directory in spec.submodule_search_locations or () if spec else ():
            compileall.compile_dir(directory, quiet=2)


def remove(path: Path) -> None:
    """Remove the file or directory at *path* if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclass(kw_only=True)
class Bench:
    """The files, tools and environment of one run."""

    example: Path = ROOT / "examples" / "orders"
    home: Path = ROOT / "build" / "benchmarks"
    quick: bool = False
    """Whether rows that need long preparation are skipped."""
    closing: ExitStack = field(default_factory=ExitStack)
    """Resources to close at the end of the run."""

    @property
    def work(self) -> Path:
        """The directory for the rows' output."""
        return self.home / "work"

    @property
    def store(self) -> Path:
        """The store with the example's wheels. Rows that would change its state use a copy from `store_with_wheels`."""
        return self.home / "store"

    @cached_property
    def pins(self) -> tuple[Pin, ...]:
        """The distributions in the example's layers, from the report of the first build."""
        document = json.loads((self.work / "fetching" / ".lamina" / "build.json").read_text("utf-8"))
        found = [each for layer in document["layers"] for each in layer["distributions"]]
        return tuple(
            Pin(name=each["name"], version=each["version"], filename=each["artifact"], sha256=each["sha256"])
            for each in found
        )

    @cached_property
    def target(self) -> Target:
        """The example's target."""
        return config.load(self.example).target

    @cached_property
    def interpreter(self) -> Path | None:
        """A CPython of the target's minor version; ``None`` if this machine has none."""
        try:
            found = search(self.target.python)
        except LaminaError:
            return None
        return None if found is None else found.path

    @property
    def wheels(self) -> Path:
        """The directory that contains exactly the example's wheels."""
        return self.home / "wheels"

    @cached_property
    def stored(self) -> tuple[Wheel, ...]:
        """The example's wheels in `store`."""
        store = Store.open(self.store)
        paths = [(pin, store.wheel(pin.sha256, pin.filename)) for pin in self.pins]
        return tuple(Wheel(pin=pin, path=path) for pin, path in paths if path is not None)

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The environment of measured processes, with settings for pip, uv and lamina that prevent network access."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return kept | {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_FIND_LINKS": str(self.home / "wheels"),
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "UV_FIND_LINKS": str(self.home / "wheels"),
            "UV_NO_CONFIG": "1",
            "UV_NO_INDEX": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_CACHE_DIR": str(self.home / "uv-cache"),
            "PIP_CACHE_DIR": str(self.home / "pip-cache"),
            "LAMINA_CACHE_DIR": str(self.store),
            "NO_COLOR": "1",
        }

    def prepare(self) -> None:
        """
        Create the directories, and download the example's wheels with the user's own settings.

        Raises `RuntimeError` if another benchmark is running in the same directory, because the two would disturb each other.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        # The file is never closed: the lock is released when this process ends.
        self._lock = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError(f"another benchmark is running in `{self.home}`") from error
        remove(self.work)
        self.work.mkdir(parents=True)
        _compile_ourselves()
        project = self.project("fetching", bytecode="none")
        environment = os.environ | {"LAMINA_CACHE_DIR": str(self.store)}
        argv = [sys.executable, "-m", "lamina", "build", "--quiet", "--project", str(project)]
        subprocess.run(argv, check=True, stdout=sys.stderr, env=environment)
        directory = self.wheels
        remove(directory)
        directory.mkdir()
        for wheel in self.stored:
            os.link(wheel.path, directory / wheel.pin.filename)

    def project(self, name: str, *, bytecode: str) -> Path:
        """Return a new copy of the example in the directory *name*, configured with *bytecode*."""
        copy = self.work / name
        remove(copy)
        shutil.copytree(self.example, copy, ignore=shutil.ignore_patterns(".lamina", "__pycache__", ".*_cache"))
        configuration = copy / "pyproject.toml"
        text, count = re.subn(r"(?m)^bytecode = .*$", f'bytecode = "{bytecode}"', configuration.read_text("utf-8"))
        if count != 1:
            raise RuntimeError(f"`{configuration}` does not configure bytecode")
        configuration.write_text(text, "utf-8")
        return copy

    def store_with_wheels(self, name: str) -> Path:
        """Return a new store in the directory *name*, with hard links to all files of `store` except segments and bytecode."""
        copy = self.work / name
        remove(copy)
        shutil.copytree(
            self.store,
            copy,
            copy_function=os.link,
            ignore=lambda directory, _: ["segments", "bytecode"] if Path(directory) == self.store else [],
        )
        return copy

    def lamina(self, *arguments: str, store: Path | None = None, more: Mapping[str, str] | None = None) -> Command:
        """Return the command ``lamina ARGUMENTS`` of the installed lamina, with *store* and the environment variables *more*."""
        environment = dict(self.environment) | (dict(more) if more else {})
        environment["LAMINA_CACHE_DIR"] = str(store or self.store)
        program = Path(sys.executable).with_name("lamina")
        return Command(argv=(str(program), *arguments), environment=environment, directory=self.work)

    def command(self, *argv: str, directory: Path | None = None, more: Mapping[str, str] | None = None) -> Command:
        """Return the command *argv* in *directory* (default: `work`), with the environment variables *more*."""
        environment = dict(self.environment) | (dict(more) if more else {})
        return Command(argv=argv, environment=environment, directory=directory or self.work)

    def run(self, command: Command) -> None:
        """Run *command* without measuring it. Raises `RuntimeError` with the command's output if it fails."""
        done = subprocess.run(
            command.argv,
            check=False,
            cwd=command.directory,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(command.argv)} failed with exit code {done.returncode}:\n{done.stdout}{done.stderr}"
            )
