"""The values that the comparison of layouts passes from stage to stage. Sizes are in bytes."""

from __future__ import annotations

from typing import NamedTuple

from lamina.coldstart.thresholds import FunctionPackaging
from lamina.core.frozen import frozen
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
    layer_bytes: int = 0
    """The unzipped bytes that a layer has besides its distributions."""

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


class LayoutShape(NamedTuple):
    """What decides the zips of a layout."""

    unused: frozenset[frozenset[str]]
    """The layers that no function has."""
    functions: frozenset[tuple[str, Packaging, frozenset[frozenset[str]]]]
    """The name of each function, its packaging, and its sets of distributions."""


@frozen
class Layout:
    """One way to package a service. The configuration can express each layout, so it can be built."""

    title: str
    layers: tuple[LayoutLayer, ...]
    functions: tuple[LayoutFunction, ...]

    @property
    def is_zipped(self) -> bool:
        """Whether each function has its distributions in its zip."""
        return all(each.packaging is Packaging.ZIP for each in self.functions)

    @property
    def shape(self) -> LayoutShape:
        """What decides the zips: equal for two layouts that differ only in titles, names of layers and orders."""
        held = {each.name: each.distributions for each in self.layers}
        used = frozenset(held[name] for each in self.functions for name in each.layers)
        return LayoutShape(
            unused=frozenset(held.values()) - used,
            functions=frozenset(
                (each.name, each.packaging, frozenset(held[name] for name in each.layers)) for each in self.functions
            ),
        )

    @property
    def packages(self) -> dict[str, FunctionPackaging]:
        """How each function gets distributions, by its name."""
        held = {each.name: each.distributions for each in self.layers}
        return {
            each.name: FunctionPackaging.of(
                layers=(held[name] for name in each.layers if each.packaging is Packaging.LAYER),
                zipped=(held[name] for name in each.layers if each.packaging is Packaging.ZIP),
            )
            for each in self.functions
        }


@frozen
class Split:
    """The distributions of a service in layers."""

    layers: tuple[LayoutLayer, ...]
    """The layers. The first one, ``common``, has the most functions, and each new dependency belongs there."""
    functions: tuple[LayoutFunction, ...]
    """The functions with the layers that have something they need, in the order of the configuration."""
    cost_bytes: int
    """The unzipped bytes of the layers of each function, summed over all functions, and the cost of each layer after the first."""
    bound_bytes: int
    """No split costs less than this."""

    @property
    def gap(self) -> float:
        """The largest possible share of the cost that a better split saves; 0 if this one is the best."""
        return 1 - self.bound_bytes / self.cost_bytes if self.cost_bytes else 0.0


@frozen
class LimitExcess:
    """By how much a function exceeds one of Lambda's limits."""

    function: str
    unzipped_bytes: int
    """The bytes above the limit of unzipped sizes; 0 if the function is within it."""
    layers: int
    """The number of layers above the limit, those by ARN included; 0 if the function is within it."""


@frozen
class NoSplit:
    """The reason why no split is within Lambda's limits."""

    excesses: tuple[LimitExcess, ...]
    """The functions that exceed a limit in the split that comes closest."""
    is_inevitable: bool
    """Whether each of them exceeds the limit also with nothing but what it needs itself, so that no packaging without an image helps."""
    is_proven: bool
    """Whether no other split is within the limits either; false if the search ended before it had looked at all of them."""
