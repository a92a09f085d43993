"""The commands that make an environment of Python fit the lock file, for the messages of `lamina.audit.environment.comparison`."""

from __future__ import annotations

import shlex
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.core.text import from_here
from lamina.lock.commands import located

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.lock.types import LockFile
    from lamina.project.service import LayerConfig

_SYNC = {"poetry.lock": "poetry sync", "pdm.lock": "pdm sync --clean", "Pipfile.lock": "pipenv sync --dev"}
"""The command that makes an environment fit the lock, for the tools without options for groups and extras. Each creates one if needed."""


class Cures:
    """The commands for one environment. They install from the indexes of the lock file, and with its hashes."""

    def __init__(self, lock_file: LockFile, layers: Iterable[LayerConfig], environment: str) -> None:
        """*layers* decide on the groups and extras. *environment* is the directory, as commands have to name it."""
        self._lock_file = lock_file
        self._layers = tuple(layers)
        self._environment = shlex.quote(environment)

    @cached_property
    def sync(self) -> str:
        """The command that installs what the lock file says."""
        own = _SYNC.get(self._lock_file.kind)
        return self._installing() if own is None else self._located(own)

    def create(self, python: tuple[int, int], *, options: str = "") -> str:
        """Return the command that creates the environment with *python*. *options* are those of ``uv venv``, with a space before each."""
        wanted = ".".join(map(str, python))
        if self._has_uv_lock:
            return self._installing(f" --python {wanted}")
        return f"uv venv{options} --python {wanted} {self._environment}"

    def reinstall(self, name: str) -> str:
        """Return the command that installs the distribution *name* again."""
        if self._lock_file.kind in _SYNC:
            return f"uv pip uninstall --python {self._environment} {name} && {self.sync}"
        return self._installing(f" --reinstall-package {name}")

    @property
    def _has_uv_lock(self) -> bool:
        return self._lock_file.kind == "uv.lock"

    def _installing(self, options: str = "") -> str:
        if self._has_uv_lock:
            return self._located(f"uv sync{options}{self._selection}")
        place = shlex.quote(from_here(self._lock_file.path))
        return f"uv pip install --python {self._environment} --requirement {place}{options}"

    @property
    def _selection(self) -> str:
        """The options of uv for the groups and extras of the layers."""
        groups = dict.fromkeys(group for layer in self._layers for group in layer.groups)
        extras = dict.fromkeys(extra for layer in self._layers for extra in layer.extras)
        words = [
            *(f"--group {shlex.quote(each)}" for each in groups),
            *(f"--extra {shlex.quote(each)}" for each in extras),
        ]
        return "".join(f" {word}" for word in words)

    def _located(self, command: str) -> str:
        return located(command, self._lock_file.project)
