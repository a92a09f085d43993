"""Find modules that a function imports now, and that a layout would hide: own code and a distribution have a directory of the same name."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from lamina.archive.zip.zipformat import own_rows
from lamina.core.paths import PREFIX
from lamina.pipeline.checks.common import listed
from lamina.pipeline.checks.overlap import hidden_in_layer
from lamina.pipeline.layers import LayerPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.advise.needs import NeedsSearch
    from lamina.advise.values import Layout
    from lamina.pipeline.artifacts import ArtifactProvider
    from lamina.pipeline.plan import TargetPlan


class HiddenModules:
    """Knows which modules layouts hide that the layout of a plan does not."""

    def __init__(self, plan: TargetPlan, search: NeedsSearch, artifacts: ArtifactProvider, configured: Layout) -> None:
        """Compare with *configured*, the layout of *plan*, which is complete."""
        self._plan = plan
        self._search = search
        self._artifacts = artifacts
        self._configured = configured

    def obstacle(self, layout: Layout) -> str:
        """Return which modules *layout* hides from which function, or an empty text. Raises the errors of building layers."""
        before = self._hidden(self._configured)
        for name, modules in self._hidden(layout).items():
            if new := [path for path in modules if path not in before[name]]:
                return f"hides modules of `{name}` that one zip has together: {listed(new)}"
        return ""

    def _hidden(self, layout: Layout) -> Mapping[str, tuple[str, ...]]:
        """Return the modules that *layout* hides from each function, by the function's name. Nothing is hidden in one zip."""
        return {
            name: hidden_in_layer(
                self._own[name], (path for layer in has.layers for each in layer for path in self._paths.get(each, ()))
            )
            for name, has in layout.packages.items()
        }

    @cached_property
    def _own(self) -> dict[str, tuple[str, ...]]:
        """The paths of each function's own code."""
        return {
            function.name: tuple(file.path for file in package.tree.files)
            for package in self._search.sources
            for function in package.config.functions
        }

    @cached_property
    def _paths(self) -> dict[str, frozenset[str]]:
        """The paths of each distribution that has a directory with the name of one in a function's own code."""
        names = {path.partition("/")[0] for paths in self._own.values() for path in paths if "/" in path}
        marks = {f"{prefix}{name}/".encode() for name in names for prefix in ("", PREFIX)}
        found: dict[str, frozenset[str]] = {}
        for content in self._plan.contents:
            for part in self._artifacts.contributions(content) if isinstance(content, LayerPlan) else ():
                directory = part.segment.directory
                if not part.is_bytecode and any(mark in directory for mark in marks):
                    paths = frozenset(member.path.removeprefix(PREFIX) for member, _ in own_rows(directory))
                    found[part.name] = found.get(part.name, frozenset()) | paths
        return found
