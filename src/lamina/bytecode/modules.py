"""Provide the modules of wheels and of the service's sources to the import search, with the paths they have on Lambda."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.archive.placement import place
from lamina.archive.wheel import WheelArchive, member_pieces
from lamina.bytecode.imports.rules import FIRST_PARTY
from lamina.core.paths import PREFIX
from lamina.core.store import open_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lamina.archive.segment import Recipe
    from lamina.archive.zip.directory import Located
    from lamina.core.values import Pin, Wheel
    from lamina.project.sources import SourceFile


@dataclass(frozen=True, kw_only=True)
class WheelCode:
    """
    A wheel's files, with their paths in a layer below ``python/``; implements `lamina.bytecode.imports.index.Code`.

    *fetch* downloads or builds the wheel. It is called only when files must be listed or read.
    """

    pin: Pin
    recipe: Recipe
    fetch: Callable[[Pin], Wheel]

    @property
    def distribution(self) -> str:
        """The distribution's normalised name."""
        return self.pin.name

    @property
    def key(self) -> str:
        """A hash of the wheel's hash and the exclusions, which decide all paths and contents."""
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
        """
        Return the paths of all files, relative to ``python/``.

        Raises the errors of fetching and opening the wheel, and of computing the paths.
        """
        return tuple(self._members)

    def read(self, path: str) -> Iterator[bytes | memoryview]:
        """Yield the content of *path* in pieces. Raises the errors of fetching and opening the wheel, and of reading members."""
        located = self._members[path]
        with open_stored(self._wheel) as file:
            yield from member_pieces(file, located, name=self.pin.filename)


@dataclass(frozen=True, kw_only=True)
class SourceCode:
    """The service's own sources in one package, by path; implements `lamina.bytecode.imports.index.Code`."""

    key: str
    files: tuple[SourceFile, ...]

    @property
    def distribution(self) -> str:
        """The name `FIRST_PARTY`, which marks the service's own code."""
        return FIRST_PARTY

    @cached_property
    def _by_path(self) -> dict[str, SourceFile]:
        return {file.path: file for file in self.files}

    def paths(self) -> tuple[str, ...]:
        """Return the paths of all source files in the function package."""
        return tuple(self._by_path)

    def read(self, path: str) -> Iterator[bytes]:
        """Yield the content of *path*. Raises OSError for a missing file, and PackageError for a changed file."""
        yield self._by_path[path].read()
