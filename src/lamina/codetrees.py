"""A service's own sources and its wheels, as the trees of modules that `lamina.imports` follows imports through."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from lamina.archive.wheel import PREFIX, WheelArchive, place
from lamina.imports import FIRST_PARTY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lamina.archive.directory import Located
    from lamina.archive.segment import Recipe
    from lamina.archive.sources import SourceFile
    from lamina.imports import Code
    from lamina.model import Wheel

__all__ = ["SourceCode", "WheelCode", "code_trees"]


def code_trees(files: Sequence[SourceFile], wheels: Iterable[Wheel], recipe: Recipe, *, key: str) -> list[Code]:
    """Return the trees in the order in which Lambda looks into them; *key* tells these *files* from other services'."""
    return [SourceCode(files, key=key), *(WheelCode(wheel, recipe) for wheel in wheels)]


class SourceCode:
    """The service's own sources."""

    distribution = FIRST_PARTY

    def __init__(self, files: Sequence[SourceFile], *, key: str) -> None:
        """Take the *files* of the tree that *key* tells from others."""
        self.key = key
        self._files = {file.path: file for file in files}

    def paths(self) -> list[str]:
        """Return the paths in the function's package."""
        return list(self._files)

    def read(self, paths: Sequence[str]) -> Iterator[bytes]:
        """Yield the contents of *paths*, in their order."""
        return (self._files[path].origin.read_bytes() for path in paths)


class WheelCode:
    """A wheel as it lies in a layer; opened when the first file is asked for."""

    def __init__(self, wheel: Wheel, recipe: Recipe) -> None:
        """Take *wheel* without what *recipe* excludes."""
        self.distribution = wheel.pin.name
        self.key = recipe.key(wheel.pin.sha256)
        self._wheel = wheel
        self._recipe = recipe

    def paths(self) -> list[str]:
        """Return the paths below ``python/``."""
        return list(self._located)

    def read(self, paths: Sequence[str]) -> Iterator[bytes]:
        """Yield the contents of *paths*, in their order; raises what opening a wheel raises."""
        if not paths:
            return
        located = self._located
        with WheelArchive(self._wheel.path) as archive:
            for path in paths:
                yield archive.read(located[path])

    @cached_property
    def _located(self) -> Mapping[str, Located]:
        with WheelArchive(self._wheel.path) as archive:
            placement = place(archive, excluded=self._recipe.excluded())
        return {placed.path.removeprefix(PREFIX): placed.located for placed in placement.copied}
