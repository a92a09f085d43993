"""What the rules of `lamina check` look into."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.core.files import file_sha256
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.values import Build, Layer, Package
    from lamina.project.service import Service


class Outputs:
    """The zips of builds, found by what another path deploys."""

    def __init__(self, builds: Iterable[Build]) -> None:
        """Take the layers and packages of *builds*."""
        self._by_path: dict[str, list[tuple[Build, Layer | Package]]] = {}
        self._by_size: dict[int, list[tuple[Build, Layer | Package]]] = {}
        for build in builds:
            zips: tuple[Layer | Package, ...] = (*build.layers, *build.packages)
            for zipped in zips:
                self._by_path.setdefault(os.path.realpath(zipped.path), []).append((build, zipped))
                self._by_size.setdefault(zipped.zipped_bytes, []).append((build, zipped))

    def copied(self, path: Path) -> list[tuple[Build, Layer | Package]]:
        """Return the zips that the file *path* is, or is a copy of, each with its build."""
        same = self._by_path.get(os.path.realpath(path), [])
        if same:
            size, sha256 = same[0][1].zipped_bytes, same[0][1].sha256
        elif path.is_file() and (size := path.stat().st_size) in self._by_size:
            sha256 = file_sha256(path)
        else:
            return []
        alike = (each for each in self._by_size[size] if each[1].sha256 == sha256)
        return same if sha256 is None else list(alike)


@frozen
class Inspection:
    """A service with its current build for each target, and what the command line asks to compare it with."""

    project: Path
    service: Service
    """The configured service, with all targets."""
    builds: tuple[Build, ...]
    """The current builds, one for each target, the main target first."""
    store: Store
    """The store, in which families keep what they found in each part of an artifact; see `lamina.audit.segments`."""
    reporter: Reporter
    today: dt.date
    venv: Path | None = None
    """The virtual environment to compare the layers with; ``None`` for no comparison."""
    base: str | None = None
    """The build report or git revision to compare sizes with; ``None`` for no comparison."""
    aws: bool = False
    """Whether to ask AWS about the pinned layers."""

    @cached_property
    def outputs(self) -> Outputs:
        """The zips of *builds*."""
        return Outputs(self.builds)
