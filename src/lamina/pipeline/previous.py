"""What the last build left on disk, and why a new one differs from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError
from lamina.core.files import file_sha256
from lamina.core.frozen import frozen
from lamina.pipeline import report, state
from lamina.pipeline.differences import differences

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.core.target import Target
    from lamina.core.values import Build, Layer, Package, Pin


@frozen
class Previous:
    """The last build of a project, as far as its files are still what it recorded."""

    project: Path
    build: Build | None
    left: state.Left
    output: str = report.OUTPUT_DIRECTORY
    """Where it is, relative to *project*."""

    @classmethod
    def of(cls, project: Path, output: str = report.OUTPUT_DIRECTORY) -> Previous:
        """Return the last build of *project* in *output*; one that cannot be read counts as none."""
        left = state.Left.of(project, state_file=f"{output}/{state.STATE_NAME}")
        try:
            return cls(project=project, build=report.read(project, output), left=left, output=output)
        except ConfigError:
            # No build yet, or one of another format: everything is made anew, which needs no comment.
            return cls(project=project, build=None, left=left, output=output)

    def layer(self, name: str) -> Layer | None:
        """Return the layer *name*, if its zip is still there as it was built."""
        found = self.known_layer(name)
        return found if found is not None and self._is_left(found) else None

    def known_layer(self, name: str) -> Layer | None:
        """Return what is known of the layer *name*, whether its zip still stands or not."""
        layers = self.build.layers if self.build else ()
        return next((layer for layer in layers if layer.name == name), None)

    def package(self, name: str) -> Package | None:
        """Return the package of the function *name*, if its zip is still there as it was built."""
        packages = self.build.packages if self.build else ()
        found = next((package for package in packages if package.name == name), None)
        return found if found is not None and self._is_left(found) else None

    def _is_left(self, output: Layer | Package) -> bool:
        try:
            if self.left.has(self.project, output.path.relative_to(self.project).as_posix()):
                return True
            return file_sha256(output.path) == output.sha256
        except (OSError, ValueError):
            # It has gone, or a report that somebody edited names no path of the project.
            return False


def difference(layer: Layer | None, pins: Iterable[Pin], target: Target, old_target: Target | None) -> str:
    """Return in a few words how a layer of *pins* for *target* differs from *layer*; empty if only the recipe may."""
    if layer is None:
        return "not built before"
    if old_target is not None and (old_target.runtime, old_target.architecture) != (
        target.runtime,
        target.architecture,
    ):
        return f"{old_target} → {target}"
    return differences(layer.distributions, pins)


def changes(layer: Layer | None, pins: Iterable[Pin], target: Target, old_target: Target | None) -> str:
    """Return in a few words why a layer of *pins* for *target* is not *layer*."""
    return difference(layer, pins, target, old_target) or (
        "the recipe changed (exclusions, bytecode, what handlers import, or lamina's format)"
    )
