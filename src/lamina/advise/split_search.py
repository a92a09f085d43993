"""
Search for the cheapest split. Pure: the problem decides.

`first_answer` is a good one, quickly. `SplitSearch` looks for better ones, and proves that none can be below a bound.
"""

from __future__ import annotations

import heapq
from math import inf
from typing import TYPE_CHECKING

from lamina.advise.split_problem import SplitLayer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lamina.advise.split_problem import Answer, SplitProblem

EXACT_ITEMS = 12
"""The number of items up to which the search always finds the optimum."""
_MOST_PASSES = 50
"""How often one improvement looks at all items."""


def first_answer(problem: SplitProblem) -> Answer:
    """Return a good answer quickly: the best of the answers with one to five layers that `_merged` finds, each improved."""
    answers = [_improved(problem, answer) for answer in _merged(problem)]
    return min(answers, key=lambda answer: (problem.excess(answer), problem.cost(answer)), default=())


def _merged(problem: SplitProblem) -> Iterator[Answer]:
    """Merge the two layers whose merging costs least until one is left. Return each answer that has few enough layers."""
    layers = {
        item: SplitLayer(size=size, users=users, items=(item,))
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
        merged = SplitLayer(size=one.size + other.size, users=one.users | other.users, items=one.items + other.items)
        for each, layer in layers.items():
            heapq.heappush(queue, (_waste(layer, merged), each, following))
        layers[following] = merged
        following += 1
        if len(layers) <= problem.most_layers:
            yield tuple(layers.values())


def _waste(one: SplitLayer, other: SplitLayer) -> int:
    """Return how much more one layer costs than the two, without the cost of a layer."""
    return (one.size + other.size) * (one.users | other.users).bit_count() - one.cost - other.cost


def _improved(problem: SplitProblem, answer: Answer) -> Answer:
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


def _moves(problem: SplitProblem, answer: Answer, item: int) -> Iterator[tuple[int, Answer]]:
    """Return each answer in which only *item* is in another layer, with the difference of the costs."""
    size, users = problem.sizes[item], problem.users[item]
    home = next(number for number, layer in enumerate(answer) if item in layer.items)
    items = tuple(each for each in answer[home].items if each != item)
    left = SplitLayer(size=answer[home].size - size, users=_union(problem.users[each] for each in items), items=items)
    rest = [layer for number, layer in enumerate(answer) if number != home] + ([left] if items else [])
    gain = answer[home].cost - left.cost + (0 if items else problem.layer_cost)
    for number, layer in enumerate(rest):
        if layer is not left:
            grown = layer.grown(item, size, users)
            yield grown.cost - layer.cost - gain, (*rest[:number], grown, *rest[number + 1 :])
    if items and len(rest) < problem.most_layers:
        alone = SplitLayer(size=size, users=users, items=(item,))
        yield alone.cost + problem.layer_cost - gain, (*rest, alone)


def _union(sets: Iterable[int]) -> int:
    union = 0
    for each in sets:
        union |= each
    return union


class SplitSearch:
    """A search over all splits that are cheaper than the best answer so far."""

    def __init__(self, problem: SplitProblem, best: Answer | None, work: int) -> None:
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

    def _visit(self, layers: Answer, item: int, cost: int, depth: int) -> bool:
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

    def _placed(self, layers: Answer, item: int, cost: int) -> list[tuple[int, Answer]]:
        """Return the answers with *item* in each of *layers* and in a new one, as far as they can be within the limits, the cheapest first."""
        problem = self._problem
        size, users = problem.sizes[item], problem.users[item]
        found: list[tuple[int, Answer]] = []
        for number, layer in enumerate(layers):
            grown = layer.grown(item, size, users)
            found.append((cost + grown.cost - layer.cost, (*layers[:number], grown, *layers[number + 1 :])))
        if len(layers) < problem.most_layers:
            alone = SplitLayer(size=size, users=users, items=(item,))
            found.append((cost + alone.cost + (problem.layer_cost if layers else 0), (*layers, alone)))
        if problem.is_tight:
            found = [each for each in found if self._can_fit(each[1], item + 1)]
        return sorted(found, key=lambda each: each[0])

    def _can_fit(self, layers: Answer, item: int) -> bool:
        """Return whether each function can be within its limits with *layers* and what it needs of the items from *item* on."""
        problem = self._problem
        loads = (problem.load(layers, number) for number in range(len(problem.room)))
        return all(
            problem.fits(number, size + self._needed[item][number], own) for number, (size, own) in enumerate(loads)
        )

    def _floor(self, layers: Answer, item: int, cost: int) -> int:
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
