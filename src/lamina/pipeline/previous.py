"""Find the last build's reusable outputs, and explain why a new layer differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError
from lamina.core.frozen import frozen
from lamina.pipeline import report, state
from lamina.pipeline.differences import RECIPE_CHANGED, differences

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.core.target import Target
    from lamina.core.values import Build, Layer, Package, Pin


@frozen
class Previous:
    """The last build of a project, with a check that its outputs have not changed since."""

    project: Path
    build: Build | None
    left: state.Left
    output: str = report.OUTPUT_DIRECTORY
    """The output directory, relative to *project*."""

    @classmethod
    def of(cls, project: Path, output: str = report.OUTPUT_DIRECTORY) -> Previous:
        """Return the last build of *project* in *output*. A build whose report is unreadable counts as no build."""
        left = state.Left.of(project, state_file=f"{output}/{state.STATE_NAME}")
        try:
            return cls(project=project, build=report.read(project, output), left=left, output=output)
        except ConfigError:
            # There is no build yet, or its report has another format. Both mean a full build and need no message.
            return cls(project=project, build=None, left=left, output=output)

    def layer(self, name: str) -> Layer | None:
        """Return the layer *name*, or ``None`` if it was not built, or if its zip is missing or has changed since."""
        found = self.known_layer(name)
        return found if found is not None and self._is_left(found) else None

    def known_layer(self, name: str) -> Layer | None:
        """Return the layer *name*, even if its zip is missing or has changed; ``None`` if it was not built."""
        layers = self.build.layers if self.build else ()
        return next((layer for layer in layers if layer.name == name), None)

    def package(self, name: str) -> Package | None:
        """Return the package of the function *name*, or ``None`` if not built, or if its zip is missing or has changed."""
        packages = self.build.packages if self.build else ()
        found = next((package for package in packages if package.name == name), None)
        return found if found is not None and self._is_left(found) else None

    def _is_left(self, output: Layer | Package) -> bool:
        # A hash in the report would prove nothing: a file that a checkout or a restored cache brought may have come with its report.
        try:
            return self.left.has(self.project, output.path.relative_to(self.project).as_posix())
        except ValueError:
            # An edited report names a path outside the project.
            return False


def difference(layer: Layer | None, pins: Iterable[Pin], target: Target, old_target: Target | None) -> str:
    """
    Return how a layer with *pins* for *target* differs from *layer*, which was built for *old_target*.

    The text is empty if the target and all files are the same. The build options can still differ.
    """
    if layer is None:
        return "not built before"
    if old_target is not None and (old_target.runtime, old_target.architecture) != (
        target.runtime,
        target.architecture,
    ):
        return f"{old_target} → {target}"
    return differences(layer.distributions, pins)


def changes(layer: Layer | None, pins: Iterable[Pin], target: Target, old_target: Target | None) -> str:
    """Return the same as `difference`, or if that is empty, that the build options differ."""
    return difference(layer, pins, target, old_target) or RECIPE_CHANGED
