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

from math import inf
from typing import TYPE_CHECKING

from lamina.advise.split_problem import SplitProblem
from lamina.advise.split_search import SplitSearch, first_answer
from lamina.advise.values import Layout, LayoutFunction, LayoutLayer, NoSplit, Split
from lamina.core.frozen import replace
from lamina.core.names import unused
from lamina.core.text import count
from lamina.pipeline.checks.common import listed
from lamina.project.functions import DEFAULT_LAYER
from lamina.project.service import Packaging

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from lamina.advise.split_problem import Answer, SplitLayer
    from lamina.advise.values import Needs
    from lamina.core.target import Quotas

MOST_WORK = 300_000
"""The work after which a search over more items ends: the number of items and of functions that it has looked at."""


def best_split(needs: Needs, *, layer_cost: int, limits: Quotas, work: int = MOST_WORK) -> Split | NoSplit:
    """
    Return the split of the needed distributions of *needs* with the least cost, or why there is none within *limits*.

    Each layer after the first costs as much as *layer_cost* unzipped bytes in one function. Distributions that no function needs are in no
    layer. With more than `EXACT_ITEMS` items, the search ends after *work*. The result depends on nothing but the arguments.
    """
    problem = SplitProblem(needs, layer_cost, limits)
    if inevitable := problem.inevitable():
        return NoSplit(excesses=inevitable, is_inevitable=True, is_proven=True)
    first = first_answer(problem)
    search = SplitSearch(problem, first if problem.excess(first) == 0 else None, work)
    search.run()
    if search.best is None:
        return NoSplit(
            excesses=problem.excesses(first), is_inevitable=False, is_proven=search.bound == inf and search.is_complete
        )
    return _split(needs, problem, search.best, round(search.bound))


def several_layers(split: Split, zipped: Collection[str] = ()) -> Layout:
    """Return *split* as a layout, in which the functions *zipped* have in their zip what the others have as layers."""
    number = len({name for each in split.functions if each.name not in zipped for name in each.layers})
    best = "best split found" if split.gap else "best split"
    title = "one layer" if number == 1 else f"{best}: {count(number, 'layer')}"
    if number == 0:
        title = "zip per function"
    elif zipped:
        title += f", and {listed(sorted(zipped))} with the distributions in the zip"
    return Layout(
        title=title,
        layers=split.layers,
        functions=tuple(
            replace(each, packaging=Packaging.ZIP) if each.name in zipped else each for each in split.functions
        ),
    )


def _split(needs: Needs, problem: SplitProblem, answer: Answer, bound: int) -> Split:
    """Return *answer* with the names of layers, distributions and functions."""
    # Of two layers with as many functions, the smaller one is the first, so that a new function gets less that it does not need.
    ordered = sorted(answer, key=lambda layer: (-layer.users.bit_count(), layer.size, layer.items))
    names = list(_names(ordered, needs, problem.members))
    return Split(
        layers=tuple(
            LayoutLayer(
                name=name, distributions=frozenset[str]().union(*(problem.members[item] for item in layer.items))
            )
            for name, layer in zip(names, ordered, strict=True)
        ),
        functions=tuple(
            LayoutFunction(
                name=function.function,
                packaging=Packaging.LAYER,
                layers=tuple(name for name, layer in zip(names, ordered, strict=True) if layer.users >> number & 1),
            )
            for number, function in enumerate(needs.functions)
        ),
        cost_bytes=problem.cost(answer),
        bound_bytes=bound,
    )


def _names(layers: Sequence[SplitLayer], needs: Needs, members: Sequence[frozenset[str]]) -> Iterator[str]:
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
