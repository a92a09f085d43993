"""See a wheel as the modules that it will be in a layer, and sources as those of a package, for the search for imports."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.archive.placement import place
from lamina.archive.wheel import WheelArchive
from lamina.bytecode.imports.rules import FIRST_PARTY
from lamina.core.paths import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lamina.archive.segment import Recipe
    from lamina.archive.zip.directory import Located
    from lamina.core.values import Pin, Wheel
    from lamina.project.sources import SourceFile


@dataclass(frozen=True, kw_only=True)
class WheelCode:
    """A wheel's files below ``python/``; *fetch* is asked for the wheel when something of it has to be read."""

    pin: Pin
    recipe: Recipe
    fetch: Callable[[Pin], Wheel]

    @property
    def distribution(self) -> str:
        """Normalised name."""
        return self.pin.name

    @property
    def key(self) -> str:
        """What decides paths and contents: the wheel, and what is excluded."""
        return self.recipe.key(self.pin.sha256)

    @cached_property
    def _wheel(self) -> Path:
        return self.fetch(self.pin).path

    @cached_property
    def _members(self) -> dict[str, Located]:
        with WheelArchive(self._wheel) as archive:
            placement = place(archive, excluded=self.recipe.excluded())
            return {placed.path.removeprefix(PREFIX): placed.located for placed in placement.copied}

    def paths(self) -> tuple[str, ...]:
        """Return the paths of all files, relative to ``python/``; raises what fetching, opening and placing the wheel raise."""
        return tuple(self._members)

    def read(self, paths: Sequence[str]) -> Iterator[bytes]:
        """Yield the contents of *paths*, in their order; raises what fetching and opening the wheel and reading members raise."""
        if not paths:
            return
        with WheelArchive(self._wheel) as archive:
            for path in paths:
                yield archive.read(self._members[path])


@dataclass(frozen=True, kw_only=True)
class SourceCode:
    """The service's own files, as they lie in a function's package; an `lamina.bytecode.imports.index.Code`."""

    project: Path
    files: tuple[SourceFile, ...]

    @property
    def distribution(self) -> str:
        """Whose code it is: the service's own."""
        return FIRST_PARTY

    @property
    def key(self) -> str:
        """What tells this service from others on this machine."""
        return str(self.project)

    @cached_property
    def _by_path(self) -> dict[str, SourceFile]:
        return {file.path: file for file in self.files}

    def paths(self) -> tuple[str, ...]:
        """Return the paths of all files in the package."""
        return tuple(self._by_path)

    def read(self, paths: Sequence[str]) -> Iterator[bytes]:
        """Yield the contents of *paths*, in their order; raises OSError for a file that is gone, and PackageError for one that changed."""
        for path in paths:
            yield self._by_path[path].read()
