"""Find the file of the project from which a file in a finished package or layer comes. All rules that name a file use it."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError, LockError
from lamina.core.paths import relative_path
from lamina.project.ignore import Glob

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.project.service import Service

# Where the build backends find a package whose directory no configuration names.
_IMPORT_ROOTS = ("src", "")


class Origins:
    """The sources of one service, and of its local packages."""

    def __init__(self, service: Service) -> None:
        """Read nothing yet: most services have no finding that needs an origin."""
        self._service = service
        self._sources = {each.name: each.source for each in service.functions if each.source is not None}

    def of(self, path: str, name: str) -> str | None:
        """
        Return the origin of *path*, relative to the project; ``None`` for a generated file, and for one of a wheel of others.

        *path* is relative to the directory of imports: to the package of the function *name*, or to ``python/`` of the layer *name*.
        """
        found = next((each for each in self._candidates(path, name) if os.path.isfile(each)), None)
        return None if found is None else relative_path(found, self._service.root)

    def of_module(self, module: str, name: str) -> str | None:
        """Return the origin of the top-level *module*: of its file, or like `of_package`."""
        return self.of(f"{module}.py", name) or self.of_package(module, name)

    def of_package(self, directory: str, name: str) -> str | None:
        """Return the origin of the ``__init__.py`` in *directory*, or of its first module without one: tools show no directories."""
        if (file := self.of(f"{directory}/__init__.py", name)) is not None:
            return file
        found = (path for each in self._candidates(directory, name) for path in sorted(each.rglob("*.py")))
        return next((relative_path(path, self._service.root) for path in found), None)

    def _candidates(self, path: str, name: str) -> Iterator[Path]:
        root, parts = self._service.root, tuple(path.split("/"))
        for entry in self._sources.get(name, self._service.source):
            glob = Glob(entry)
            pattern = "/".join(glob.base(glob.parts))
            for base in sorted(root.glob(pattern)) if pattern else (root,):
                whole = (*base.relative_to(root).parts, *parts)
                if not glob.parts or any(glob.matches(whole[:end]) for end in range(1, len(whole) + 1)):
                    yield base / path
        for directory in self._local:
            for below in _IMPORT_ROOTS:
                yield directory / below / path

    @cached_property
    def _local(self) -> tuple[Path, ...]:
        """The directories of the local packages in the lock file."""
        # Reading a lock file takes longer than most checks.
        from lamina.lock import formats
        from lamina.lock.offers import local_directories

        service = self._service
        found: dict[Path, None] = {}
        try:
            lock_file = formats.find(service.root, service.lock, target=service.target)
            for groups, extras in dict.fromkeys((layer.groups, layer.extras) for layer in service.selected):
                found |= dict.fromkeys(local_directories(lock_file, service.target, groups=groups, extras=extras))
        except (ConfigError, LockError):
            # With `--no-build`, the lock may have changed since the build. Findings are then at the function or the layer.
            return ()
        return tuple(found)
