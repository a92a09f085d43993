"""
Divide the distributions of a service into layers. Pure: only sizes and needs decide.

Distributions that the same functions need are one item. A split puts each item into one of at most five layers, and a function has each
layer that contains something it needs. The cost of a split, in bytes, is what `Split.cost_bytes` says; `best_split` looks for the cheapest
split within Lambda's limits:

- A split built by merging the two layers that waste least, again and again, and improved by moving items one by one, is the first answer.
- A search over all splits, item by item with the heaviest first, leaves out each branch that cannot be cheaper than the best answer so far.
  Up to `EXACT_ITEMS` items it always ends, so that its answer is the optimum. With more items it ends after bounded work, which is counted
  and not timed, so that the answer is the same on every machine.
- The same search over only the heaviest items proves a lower bound: the other items cost at least their size in each function that needs
  them. `Split.gap` is the distance to that bound.
"""

from __future__ import annotations

import heapq
from math import inf
from typing import TYPE_CHECKING

from lamina.advise.values import Layout, LayoutFunction, LayoutLayer
from lamina.core.frozen import frozen, replace
from lamina.core.names import unused
from lamina.core.text import count
from lamina.project.functions import DEFAULT_LAYER
from lamina.project.service import Packaging

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from lamina.advise.values import Needs
    from lamina.core.target import Quotas

EXACT_ITEMS = 12
"""The number of items up to which the search always finds the optimum."""
MOST_WORK = 300_000
"""The work after which a search over more items ends: the number of items and of functions that it has looked at."""
_MOST_PASSES = 50
"""How often one improvement looks at all items."""


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


def best_split(needs: Needs, *, layer_cost: int, limits: Quotas, work: int = MOST_WORK) -> Split | NoSplit:
    """
    Return the split of the needed distributions of *needs* with the least cost, or why there is none within *limits*.

    Each layer after the first costs as much as *layer_cost* unzipped bytes in one function. Distributions that no function needs are in no
    layer. With more than `EXACT_ITEMS` items, the search ends after *work*. The result depends on nothing but the arguments.
    """
    problem = _Problem(needs, layer_cost, limits)
    if inevitable := problem.inevitable():
        return NoSplit(excesses=inevitable, is_inevitable=True, is_proven=True)
    first = _first_answer(problem)
    search = _SplitSearch(problem, first if problem.excess(first) == 0 else None, work)
    search.run()
    if search.best is None:
        return NoSplit(
            excesses=problem.excesses(first), is_inevitable=False, is_proven=search.bound == inf and search.is_complete
        )
    return problem.split(search.best, round(search.bound))


def several_layers(split: Split, zipped: Container[str] = ()) -> Layout:
    """Return *split* as a layout, in which the functions *zipped* have in their zip what the others have as layers."""
    return Layout(
        title=f"best split: {count(len(split.layers), 'layer')}",
        layers=split.layers,
        functions=tuple(
            replace(each, packaging=Packaging.ZIP) if each.name in zipped else each for each in split.functions
        ),
    )


@frozen
class _Layer:
    """A layer with some of the items."""

    size: int
    users: int
    """The functions that have the layer, as bits."""
    items: tuple[int, ...]

    @property
    def cost(self) -> int:
        return self.size * self.users.bit_count()


_Answer = tuple[_Layer, ...]


class _Problem:
    """Items with their sizes and functions, the heaviest first, and the limits of each function."""

    def __init__(self, needs: Needs, layer_cost: int, limits: Quotas) -> None:
        self._needs = needs
        self.layer_cost = layer_cost
        self.most_layers = limits.layers
        self.room = [
            limits.unzipped_bytes - each.own_unzipped_bytes - each.external_unzipped_bytes for each in needs.functions
        ]
        """The unzipped bytes that the layers of each function may have."""
        self.slots = [limits.layers - each.external_layers for each in needs.functions]
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
        self.is_tight = any(slots < limits.layers for slots in self.slots) or sum(self.sizes) > min(
            self.room, default=0
        )
        """Whether a split can exceed a limit."""

    def inevitable(self) -> tuple[LimitExcess, ...]:
        """Return the functions that exceed a limit with nothing but what they need themselves."""
        found = []
        for number, function in enumerate(self._needs.functions):
            needed = [size for size, users in zip(self.sizes, self.users, strict=True) if users >> number & 1]
            over = max(0, sum(needed) - self.room[number])
            if over or (needed and self.slots[number] < 1):
                layers = max(0, 1 - self.slots[number]) if needed else 0
                found.append(LimitExcess(function=function.function, unzipped_bytes=over, layers=layers))
        return tuple(found)

    def cost(self, answer: _Answer) -> int:
        """Return the cost of *answer* in bytes."""
        return sum(layer.cost for layer in answer) + self.layer_cost * max(0, len(answer) - 1)

    def excess(self, answer: _Answer) -> int:
        """Return by how many bytes functions exceed the limits; a layer too many counts as many bytes as there are."""
        if not self.is_tight:
            return 0
        everything, total = sum(self.sizes), 0
        for number, room in enumerate(self.room):
            own = [layer.size for layer in answer if layer.users >> number & 1]
            total += max(0, sum(own) - room) + everything * max(0, len(own) - max(0, self.slots[number]))
        return total

    def excesses(self, answer: _Answer) -> tuple[LimitExcess, ...]:
        """Return the functions that exceed a limit with *answer*."""
        found = []
        for number, function in enumerate(self._needs.functions):
            own = [layer.size for layer in answer if layer.users >> number & 1]
            over, layers = max(0, sum(own) - self.room[number]), max(0, len(own) - max(0, self.slots[number]))
            if over or layers:
                found.append(LimitExcess(function=function.function, unzipped_bytes=over, layers=layers))
        return tuple(found)

    def split(self, answer: _Answer, bound: int) -> Split:
        """Return *answer* with the names of layers, distributions and functions."""
        ordered = sorted(answer, key=lambda layer: (-layer.users.bit_count(), -layer.size, layer.items))
        names = list(_names(ordered, self._needs, self.members))
        return Split(
            layers=tuple(
                LayoutLayer(
                    name=name, distributions=frozenset[str]().union(*(self.members[item] for item in layer.items))
                )
                for name, layer in zip(names, ordered, strict=True)
            ),
            functions=tuple(
                LayoutFunction(
                    name=function.function,
                    packaging=Packaging.LAYER,
                    layers=tuple(name for name, layer in zip(names, ordered, strict=True) if layer.users >> number & 1),
                )
                for number, function in enumerate(self._needs.functions)
            ),
            cost_bytes=self.cost(answer),
            bound_bytes=bound,
        )


def _names(layers: Sequence[_Layer], needs: Needs, members: Sequence[frozenset[str]]) -> Iterator[str]:
    """Return a name for each layer: ``common`` for the first one, and that of the largest distribution for the others."""
    sizes = {each.name: each.unzipped_bytes for each in needs.distributions}
    taken = {DEFAULT_LAYER}
    for number, layer in enumerate(layers):
        if not number:
            yield DEFAULT_LAYER
            continue
        inside = frozenset[str]().union(*(members[item] for item in layer.items))
        name = unused(max(sorted(inside), key=lambda each: sizes[each]), taken)
        taken.add(name.lower())
        yield name


def _first_answer(problem: _Problem) -> _Answer:
    """Return a good answer quickly: the best of the answers with one to five layers that `_merged` finds, each improved."""
    answers = [_improved(problem, answer) for answer in _merged(problem)]
    return min(answers, key=lambda answer: (problem.excess(answer), problem.cost(answer)), default=())


def _merged(problem: _Problem) -> Iterator[_Answer]:
    """Merge the two layers whose merging costs least until one is left. Return each answer that has few enough layers."""
    layers = {
        item: _Layer(size=size, users=users, items=(item,))
        for item, (size, users) in enumerate(zip(problem.sizes, problem.users, strict=True))
    }
    if len(layers) <= problem.most_layers:
        yield tuple(layers.values())
    queue = [(_waste(layers[left], layers[right]), left, right) for left in layers for right in layers if left < right]
    heapq.heapify(queue)
    following = len(layers)
    while queue:
        _, left, right = heapq.heappop(queue)
        if left not in layers or right not in layers:
            continue
        one, other = layers.pop(left), layers.pop(right)
        merged = _Layer(size=one.size + other.size, users=one.users | other.users, items=one.items + other.items)
        for each, layer in layers.items():
            heapq.heappush(queue, (_waste(layer, merged), each, following))
        layers[following] = merged
        following += 1
        if len(layers) <= problem.most_layers:
            yield tuple(layers.values())


def _waste(one: _Layer, other: _Layer) -> int:
    """Return how much more one layer costs than the two, without the cost of a layer."""
    return (one.size + other.size) * (one.users | other.users).bit_count() - one.cost - other.cost


def _improved(problem: _Problem, answer: _Answer) -> _Answer:
    """Move one item after the other to where it costs least, until no move helps."""
    excess = problem.excess(answer)
    for _ in range(_MOST_PASSES):
        before = answer
        for item in range(len(problem.sizes)):
            moved = min(
                (
                    (over, cost, number)
                    for number, (cost, candidate) in enumerate(_moves(problem, answer, item))
                    if (excess or cost < 0) and ((over := problem.excess(candidate)), cost) < (excess, 0)
                ),
                default=None,
            )
            if moved is not None:
                excess, _, number = moved
                answer = [candidate for _, candidate in _moves(problem, answer, item)][number]
        if answer is before:
            break
    return answer


def _moves(problem: _Problem, answer: _Answer, item: int) -> Iterator[tuple[int, _Answer]]:
    """Return each answer in which only *item* is in another layer, with the difference of the costs."""
    size, users = problem.sizes[item], problem.users[item]
    home = next(number for number, layer in enumerate(answer) if item in layer.items)
    items = tuple(each for each in answer[home].items if each != item)
    left = _Layer(size=answer[home].size - size, users=_union(problem.users[each] for each in items), items=items)
    rest = [layer for number, layer in enumerate(answer) if number != home] + ([left] if items else [])
    gain = answer[home].cost - left.cost + (0 if items else problem.layer_cost)
    for number, layer in enumerate(rest):
        if layer is not left:
            grown = _grown(layer, item, size, users)
            yield grown.cost - layer.cost - gain, (*rest[:number], grown, *rest[number + 1 :])
    if items and len(rest) < problem.most_layers:
        alone = _Layer(size=size, users=users, items=(item,))
        yield alone.cost + problem.layer_cost - gain, (*rest, alone)


def _grown(layer: _Layer, item: int, size: int, users: int) -> _Layer:
    return _Layer(size=layer.size + size, users=layer.users | users, items=(*layer.items, item))


def _union(sets: Iterable[int]) -> int:
    union = 0
    for each in sets:
        union |= each
    return union


class _SplitSearch:
    """A search over all splits that are cheaper than the best answer so far."""

    def __init__(self, problem: _Problem, best: _Answer | None, work: int) -> None:
        self._problem = problem
        self._count = len(problem.sizes)
        self._floors = [0] * (self._count + 1)
        """What the items from each number on cost at least."""
        self._needed = [[0] * len(problem.room) for _ in range(self._count + 1)]
        """The bytes that each function needs of the items from each number on."""
        for item in reversed(range(self._count)):
            self._floors[item] = self._floors[item + 1] + problem.floors[item]
            if problem.is_tight:
                self._needed[item] = [
                    after + (problem.sizes[item] if problem.users[item] >> number & 1 else 0)
                    for number, after in enumerate(self._needed[item + 1])
                ]
        self.best = best
        self._least: float = inf if best is None else problem.cost(best)
        """The cost of the best answer."""
        self.bound: float = self._floors[0]
        """The proven lower bound; infinite if there is proven to be no answer."""
        self.is_complete = False
        """Whether the search has looked at all splits."""
        self._work = work

    def run(self) -> None:
        """Search among the splits of more and more of the heaviest items, as far as the work goes."""
        if self._count <= EXACT_ITEMS:
            depths: Sequence[int] = (self._count,)
            self._work = -1
        else:
            depths = (*range(4, self._count, 2), self._count)
        for depth in depths:
            self._lowest: float = self._least
            if not self._visit((), 0, 0, depth):
                return
            self.bound = max(self.bound, min(self._lowest, self._least))
            if self.bound >= self._least:
                break
        self.is_complete = True

    def _visit(self, layers: _Answer, item: int, cost: int, depth: int) -> bool:
        """Place the items from *item* on. Return false if the work is used up."""
        if item == self._count:
            if cost < self._least:
                self.best, self._least = layers, cost
            self._lowest = min(self._lowest, cost)
            return True
        if item == depth:
            self._lowest = min(self._lowest, self._floor(layers, item, cost))
            return True
        if self._work >= 0:
            self._work -= (self._count - item) + (
                len(self._problem.room) * len(layers) if self._problem.is_tight else 0
            )
            if self._work < 0:
                return False
        for following, candidate in self._placed(layers, item, cost):
            if self._floor(candidate, item + 1, following) < self._lowest and not self._visit(
                candidate, item + 1, following, depth
            ):
                return False
        return True

    def _placed(self, layers: _Answer, item: int, cost: int) -> list[tuple[int, _Answer]]:
        """Return the answers with *item* in each of *layers* and in a new one, as far as they can be within the limits, the cheapest first."""
        problem = self._problem
        size, users = problem.sizes[item], problem.users[item]
        found: list[tuple[int, _Answer]] = []
        for number, layer in enumerate(layers):
            grown = _grown(layer, item, size, users)
            found.append((cost + grown.cost - layer.cost, (*layers[:number], grown, *layers[number + 1 :])))
        if len(layers) < problem.most_layers:
            alone = _Layer(size=size, users=users, items=(item,))
            found.append((cost + alone.cost + (problem.layer_cost if layers else 0), (*layers, alone)))
        if problem.is_tight:
            found = [each for each in found if self._can_fit(each[1], item + 1)]
        return sorted(found, key=lambda each: each[0])

    def _can_fit(self, layers: _Answer, item: int) -> bool:
        problem, needed = self._problem, self._needed[item]
        for number, room in enumerate(problem.room):
            own = [layer.size for layer in layers if layer.users >> number & 1]
            if sum(own) + needed[number] > room or len(own) > problem.slots[number]:
                return False
        return True

    def _floor(self, layers: _Answer, item: int, cost: int) -> int:
        """Return what every answer costs at least that places the items from *item* on besides *layers*."""
        problem = self._problem
        if not layers:
            return cost + self._floors[item]
        unions = [layer.users for layer in layers]
        inside = cost
        apart = cost + self._floors[item] + problem.layer_cost
        limit = apart if len(layers) < problem.most_layers else inf
        for each in range(item, self._count):
            users = problem.users[each]
            inside += problem.sizes[each] * min((union | users).bit_count() for union in unions)
            if inside >= limit:
                return apart
        return inside
