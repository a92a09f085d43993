"""Find the cheapest layers, within Lambda's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advise.made import MB, make_needs
from lamina.advise.split import best_split
from lamina.advise.split_problem import SplitProblem
from lamina.advise.split_search import EXACT_ITEMS, SplitSearch
from lamina.advise.values import NoSplit, Split
from lamina.core.frozen import replace
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.advise.values import Needs


def _found(needs: Needs, *, layer_cost: int = 10 * MB) -> Split:
    found = best_split(needs, layer_cost=layer_cost, limits=quotas())
    assert isinstance(found, Split)
    return found


def _layers(split: Split) -> dict[str, str]:
    return {layer.name: " ".join(sorted(layer.distributions)) for layer in split.layers}


def test_one_heavy_function() -> None:
    split = _found(
        make_needs({"core": 20, "numpy": 60, "pandas": 90}, {"a": "core", "b": "core numpy pandas", "c": "core"})
    )

    assert {"common": "core", "pandas": "numpy pandas"} == _layers(split)
    assert [("a", ("common",)), ("b", ("common", "pandas")), ("c", ("common",))] == [
        (each.name, each.layers) for each in split.functions
    ]
    assert (3 * 20 + 150 + 10) * MB == split.cost_bytes
    assert split.gap == 0


def test_a_layer_that_saves_less_than_it_costs_is_not_made() -> None:
    needs = make_needs({"core": 20, "extra": 4}, {"a": "core", "b": "core extra", "c": "core"})

    assert {"common": "core extra"} == _layers(_found(needs))
    assert {"common": "core", "extra": "extra"} == _layers(_found(needs, layer_cost=7 * MB))


def test_two_families_that_exceed_the_limit_together() -> None:
    split = _found(make_needs({"pandas": 200, "torch": 240}, {"a": "pandas", "b": "torch", "c": "torch"}))

    assert {"common": "torch", "pandas": "pandas"} == _layers(split)


def test_six_families_need_five_layers_of_which_two_are_merged_that_cost_least() -> None:
    sizes = {"a": 40, "b": 50, "c": 60, "d": 70, "e": 80, "f": 90}
    split = _found(make_needs(sizes, {name: name for name in sizes}))

    assert {"a b", "c", "d", "e", "f"} == set(_layers(split).values())
    assert split.gap == 0


def test_the_name_of_a_layer_is_not_taken_twice() -> None:
    split = _found(make_needs({"common": 60, "core": 10}, {"a": "core", "b": "core", "c": "core common"}))

    assert {"common": "core", "common-2": "common"} == _layers(split)


def test_layers_by_arn_count() -> None:
    """A function with four layers by ARN can have one more, so that all that it needs is in one layer."""
    functions = {"a": "core", "b": "core numpy", "c": "core"}
    needs = make_needs({"core": 20, "numpy": 90}, functions, external={"b": (4, 10)})

    assert {"common": "core numpy"} == _layers(_found(needs))


def test_a_function_that_exceeds_the_limit_alone_is_named() -> None:
    needs = make_needs({"core": 20, "torch": 240}, {"a": "core", "b": "core torch"}, own=5)

    found = best_split(needs, layer_cost=10 * MB, limits=quotas())

    assert isinstance(found, NoSplit)
    assert found.is_inevitable
    assert [("b", 265 * MB - 262_144_000, 0)] == [
        (each.function, each.unzipped_bytes, each.layers) for each in found.excesses
    ]


def test_a_function_without_a_free_layer_is_named() -> None:
    needs = make_needs({"core": 20}, {"a": "core", "b": ""}, external={"a": (5, 10), "b": (5, 10)})

    found = best_split(needs, layer_cost=10 * MB, limits=quotas())

    assert isinstance(found, NoSplit)
    assert [("a", 0, 1)] == [(each.function, each.unzipped_bytes, each.layers) for each in found.excesses]


def test_no_five_layers_are_enough() -> None:
    """Each function fits alone. Of six layers of 130 MB, every two are too much for one function."""
    names = "abcdef"
    needs = make_needs(dict.fromkeys(names, 140), {name: name for name in names})

    found = best_split(needs, layer_cost=10 * MB, limits=quotas())

    assert isinstance(found, NoSplit)
    assert (False, True) == (found.is_inevitable, found.is_proven)
    assert [280 * MB - 262_144_000] * 2 == [each.unzipped_bytes for each in found.excesses]


def test_nothing_is_needed() -> None:
    split = _found(make_needs({"core": 20}, {"a": ""}))

    assert ((), 0, 0.0) == (split.layers, split.cost_bytes, split.gap)


def test_many_distributions_end_after_bounded_work_with_a_bound() -> None:
    """Families of functions with distributions of their own: the split is near the optimum, and is the same each time."""
    sizes = {f"d{number}": 1 + number % 4 for number in range(60)}
    functions = {
        f"f{number}": " ".join(
            name for place, name in enumerate(sizes) if place % 6 == number % 6 or (place * number) % 29 == 1
        )
        for number in range(12)
    }
    needs = make_needs(sizes, functions)

    split = best_split(needs, layer_cost=10 * MB, limits=quotas(), work=20_000)
    again = best_split(
        replace(needs, distributions=needs.distributions[::-1]), layer_cost=10 * MB, limits=quotas(), work=20_000
    )

    assert isinstance(split, Split)
    assert split == again
    assert 0 < split.gap < 1
    assert _costs(split, needs, 10 * MB) == split.cost_bytes
    assert split.bound_bytes <= split.cost_bytes


_NAMES = "abcdefg"


@st.composite
def _small_needs(draw: st.DrawFn) -> Needs:
    sizes = {name: draw(st.integers(1, 120)) for name in _NAMES[: draw(st.integers(1, 7))]}
    functions = {
        f"f{number}": " ".join(name for name in sizes if draw(st.booleans()))
        for number in range(draw(st.integers(1, 5)))
    }
    external = {name: (draw(st.integers(0, 4)), draw(st.integers(0, 60))) for name in functions if draw(st.booleans())}
    return make_needs(sizes, functions, own=draw(st.integers(0, 40)), external=external)


@given(needs=_small_needs(), layer_cost=st.integers(0, 100))
@settings(max_examples=150, deadline=None)
def test_brute_force_finds_no_cheaper_split(needs: Needs, layer_cost: int) -> None:
    """Every division of the distributions, not of the items, is tried."""
    found = best_split(needs, layer_cost=layer_cost * MB, limits=quotas())
    unneeded = {each.name for each in needs.unneeded}
    names = [each.name for each in needs.distributions if each.name not in unneeded]
    costs = [
        cost
        for parts in _partitions(names)
        if len(parts) <= quotas().layers and (cost := _cost(parts, needs, layer_cost * MB)) is not None
    ]

    if isinstance(found, NoSplit):
        assert costs == []
        assert found.is_proven
    else:
        assert min(costs) == found.cost_bytes == found.bound_bytes
        assert _costs(found, needs, layer_cost * MB) == found.cost_bytes
        # The search alone, without the first answer, which is the optimum nearly always.
        search = SplitSearch(SplitProblem(needs, layer_cost * MB, quotas()), None, -1)
        search.run()
        assert search.best is not None
        assert min(costs) == search.bound


def _partitions(names: Sequence[str]) -> Iterator[list[frozenset[str]]]:
    if not names:
        yield []
        return
    for rest in _partitions(names[1:]):
        yield [frozenset(names[:1]), *rest]
        for number, part in enumerate(rest):
            yield [*rest[:number], part | {names[0]}, *rest[number + 1 :]]


def _cost(parts: Sequence[frozenset[str]], needs: Needs, layer_cost: int) -> int | None:
    """Return the cost of a split, from its definition, or ``None`` if it is not within the limits."""
    sizes = {each.name: each.unzipped_bytes for each in needs.distributions}
    total = layer_cost * max(0, len(parts) - 1)
    for function in needs.functions:
        attached = [part for part in parts if part & function.distributions]
        unzipped = sum(sizes[name] for part in attached for name in part)
        if (
            unzipped + function.own_unzipped_bytes + function.external_unzipped_bytes > quotas().unzipped_bytes
            and attached
        ):
            return None
        if attached and len(attached) + function.external_layers > quotas().layers:
            return None
        total += unzipped
    return total


def _costs(split: Split, needs: Needs, layer_cost: int) -> int | None:
    return _cost([layer.distributions for layer in split.layers], needs, layer_cost)


@pytest.mark.parametrize("count", [EXACT_ITEMS])
def test_twelve_items_are_solved_exactly(count: int) -> None:
    """Items that need different functions in a circle, so that no two are alike and no split is obviously best."""
    names = [f"d{number}" for number in range(count)]
    sizes = {name: 3 + 5 * (number * 7 % 11) for number, name in enumerate(names)}
    functions = {
        f"f{number}": " ".join(
            name for place, name in enumerate(names) if (place * place + number) % 5 < 2 or place == number
        )
        for number in range(count)
    }
    needs = make_needs(sizes, functions)

    split = _found(replace(needs), layer_cost=MB)

    assert split.cost_bytes == split.bound_bytes


def test_sixty_functions_in_eight_families() -> None:
    """Of three hundred distributions, forty are in all functions, and each family has thirty more: the split is nearly proven best."""
    sizes = {f"d{number}": 1 + number * 7 % 5 for number in range(300)}
    names = list(sizes)
    functions = {
        f"f{number}": " ".join(
            [*names[:40], *names[40 + number % 8 * 30 :][:30], names[280 + number % 20], names[280 + number * 7 % 20]]
        )
        for number in range(60)
    }
    needs = make_needs(sizes, functions)

    split = best_split(needs, layer_cost=50 * MB, limits=replace(quotas(), unzipped_bytes=2_000 * MB), work=30_000)

    assert isinstance(split, Split)
    assert len(split.layers) == quotas().layers
    assert split.gap < 0.06
