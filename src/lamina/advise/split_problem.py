"""Describe the search for the best split: items with their sizes and functions, the limits of each function, and what an answer costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.advise.values import LimitExcess
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.advise.values import Needs
    from lamina.core.target import Quotas


@frozen
class SplitLayer:
    """A layer with some of the items."""

    size: int
    users: int
    """The functions that have the layer, as bits."""
    items: tuple[int, ...]

    @property
    def cost(self) -> int:
        """The unzipped bytes in all functions that have the layer."""
        return self.size * self.users.bit_count()

    def grown(self, item: int, size: int, users: int) -> SplitLayer:
        """Return this layer with *item*, too, which has *size* and *users*."""
        return SplitLayer(size=self.size + size, users=self.users | users, items=(*self.items, item))


Answer = tuple[SplitLayer, ...]
"""A split while it is searched."""


class SplitProblem:
    """Items with their sizes and functions, the heaviest first, and the limits of each function."""

    def __init__(self, needs: Needs, layer_cost: int, limits: Quotas) -> None:
        self.functions = [each.function for each in needs.functions]
        self.layer_bytes = needs.layer_bytes
        """The unzipped bytes of a layer besides its distributions."""
        self.layer_cost = layer_cost
        self.most_layers = limits.layers
        self.room = [
            limits.unzipped_bytes - each.own_unzipped_bytes - each.external_unzipped_bytes for each in needs.functions
        ]
        """The unzipped bytes that the layers of each function may have."""
        self.slots = [max(0, limits.layers - each.external_layers) for each in needs.functions]
        members: dict[int, list[str]] = {}
        sizes: dict[int, int] = {}
        for distribution in needs.distributions:
            users = sum(
                1 << number for number, each in enumerate(needs.functions) if distribution.name in each.distributions
            )
            if users:
                members.setdefault(users, []).append(distribution.name)
                sizes[users] = sizes.get(users, 0) + distribution.unzipped_bytes
        self.users = sorted(members, key=lambda users: (-sizes[users] * users.bit_count(), users))
        self.sizes = [sizes[users] for users in self.users]
        self.members = [frozenset(members[users]) for users in self.users]
        self.floors = [size * users.bit_count() for size, users in zip(self.sizes, self.users, strict=True)]
        """What each item costs at least."""
        self.is_tight = any(slots < limits.layers for slots in self.slots) or (
            sum(self.sizes) + limits.layers * needs.layer_bytes > min(self.room, default=0)
        )
        """Whether a split can exceed a limit."""

    def inevitable(self) -> tuple[LimitExcess, ...]:
        """Return the functions that exceed a limit with nothing but what they need themselves."""
        needed = [
            [size for size, users in zip(self.sizes, self.users, strict=True) if users >> number & 1]
            for number in range(len(self.room))
        ]
        return self._beyond((sum(sizes), min(1, len(sizes))) for sizes in needed)

    def cost(self, answer: Answer) -> int:
        """Return the cost of *answer* in bytes."""
        return sum(layer.cost for layer in answer) + self.layer_cost * max(0, len(answer) - 1)

    def excess(self, answer: Answer) -> int:
        """Return by how many bytes functions exceed the limits; a layer too many counts as many bytes as there are."""
        if not self.is_tight:
            return 0
        everything, total = sum(self.sizes), 0
        for number in range(len(self.room)):
            over, more = self._over(number, *self.load(answer, number))
            total += over + everything * more
        return total

    def excesses(self, answer: Answer) -> tuple[LimitExcess, ...]:
        """Return the functions that exceed a limit with *answer*."""
        return self._beyond(self.load(answer, number) for number in range(len(self.room)))

    def load(self, answer: Answer, number: int) -> tuple[int, int]:
        """Return the unzipped bytes of distributions and the number of layers that the function *number* has with *answer*."""
        own = [layer.size for layer in answer if layer.users >> number & 1]
        return sum(own), len(own)

    def fits(self, number: int, size: int, layers: int) -> bool:
        """Return whether *layers* with *size* bytes of distributions are within the limits of the function *number*."""
        return self._over(number, size, layers) == (0, 0)

    def _over(self, number: int, size: int, layers: int) -> tuple[int, int]:
        return max(0, size + layers * self.layer_bytes - self.room[number]), max(0, layers - self.slots[number])

    def _beyond(self, loads: Iterable[tuple[int, int]]) -> tuple[LimitExcess, ...]:
        excesses = [self._over(number, *load) for number, load in enumerate(loads)]
        return tuple(
            LimitExcess(function=function, unzipped_bytes=over, layers=more)
            for function, (over, more) in zip(self.functions, excesses, strict=True)
            if over or more
        )
