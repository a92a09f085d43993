"""The values that the comparison of layouts passes from stage to stage. Sizes are in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from lamina.project.service import Packaging


@frozen
class WeighedDistribution:
    """A distribution with its share of a zip, bytecode included."""

    name: str
    version: str
    zipped_bytes: int
    unzipped_bytes: int


@frozen
class FunctionNeeds:
    """The distributions that one function can import, and all that these require."""

    function: str
    distributions: frozenset[str]
    own_zipped_bytes: int
    """The zipped size of the function's own code."""
    own_unzipped_bytes: int
    external_layers: int = 0
    """The number of the function's layers by ARN, which count towards the limit of five."""
    external_unzipped_bytes: int = 0
    """The unzipped size of the function's layers by ARN, as far as they are pinned."""


@frozen
class Needs:
    """What the functions of a service need."""

    distributions: tuple[WeighedDistribution, ...]
    """All distributions that today's layers have, sorted by name."""
    functions: tuple[FunctionNeeds, ...]
    """The functions in the order of the configuration."""

    @property
    def unneeded(self) -> tuple[WeighedDistribution, ...]:
        """The distributions that no function needs, sorted by name."""
        needed = frozenset[str]().union(*(each.distributions for each in self.functions))
        return tuple(each for each in self.distributions if each.name not in needed)


@frozen
class LayoutLayer:
    """A set of distributions, in a layer or in the zips of functions."""

    name: str
    distributions: frozenset[str]


@frozen
class LayoutFunction:
    """How one function is packaged."""

    name: str
    packaging: Packaging
    layers: tuple[str, ...]
    """The names of the sets of distributions that it has, as layers or in its zip."""


@frozen
class Layout:
    """One way to package a service. The configuration can express each layout, so it can be built."""

    title: str
    layers: tuple[LayoutLayer, ...]
    functions: tuple[LayoutFunction, ...]
