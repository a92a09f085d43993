"""Recommend the layout that is known to be best, with reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from advise.made import MB, make_needs
from lamina.advise.layouts import zips_with_everything
from lamina.advise.recommend import MeasuredStart, Recommendation, recommend
from lamina.advise.split import best_split, several_layers
from lamina.advise.thresholds import AdviceThresholds, load
from lamina.advise.values import Split
from lamina.core.errors import InvalidConfigError
from lamina.core.frozen import replace
from lamina.core.target import quotas
from lamina.project.service import Packaging

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lamina.advise.values import Layout, Needs

THRESHOLDS = AdviceThresholds(
    small_function=3 * MB, layer_cost=20 * MB, split_saving=50 * MB, split_share=33, slow_start_ms=1000
)
HEAVY = {"core": 20, "numpy": 60, "pandas": 90}
ONE_HEAVY = {"a": "core", "b": "core numpy pandas", "c": "core"}


def _recommended(needs: Needs, **times: float) -> Recommendation:
    measured = {name: MeasuredStart(milliseconds=each, source="CloudWatch") for name, each in times.items()}
    return recommend(needs, THRESHOLDS, limits=quotas(), measured=measured)


def _sets(layout: Layout | None) -> Mapping[str, str]:
    assert layout is not None
    return {each.name: " ".join(sorted(each.distributions)) for each in layout.layers}


def _packaged(layout: Layout | None) -> Mapping[str, tuple[Packaging, str]]:
    assert layout is not None
    return {each.name: (each.packaging, " ".join(each.layers)) for each in layout.functions}


def test_one_heavy_function_is_split_only_if_the_others_start_slowly() -> None:
    needs = make_needs(HEAVY, ONE_HEAVY)

    unmeasured, quick, slow = _recommended(needs), _recommended(needs, a=300, c=999), _recommended(needs, a=1000)

    assert {"common": "core numpy pandas"} == _sets(unmeasured.layout) == _sets(quick.layout)
    assert ["lamina coldstart --baseline coldstart.json --write-baseline"] == [
        each.command for each in unmeasured.missing
    ]
    assert quick.missing == ()
    assert {"common": "core", "pandas": "numpy pandas"} == _sets(slow.layout)
    assert (
        "`a` has 150.00 MB less with several layers, and starts in 1,000 ms (CloudWatch) with one layer",
    ) == slow.reasons
    assert ["best split: 2 layers"] == [each.layout.title for each in unmeasured.alternatives]


def test_a_configured_split_stays_until_one_layer_is_measured() -> None:
    """Its own times say nothing about one layer, and no one needs to give it up for a measurement."""
    needs = make_needs(HEAVY, ONE_HEAVY)
    split = _recommended(needs, a=1000).layout

    def found(**times: float) -> Recommendation:
        measured = {name: MeasuredStart(milliseconds=each, source="CloudWatch") for name, each in times.items()}
        return recommend(needs, THRESHOLDS, limits=quotas(), measured=measured, configured=split)

    assert split == found().layout == found(a=100).layout == found(c=1000).layout
    assert ("they are configured, and 2 functions have up to 150.00 MB less than with one layer",) == found().reasons
    assert "how the functions start with one layer is not measured" in found().missing[0].text
    assert {"common": "core numpy pandas"} == _sets(found(a=100, c=100).layout)
    assert found(a=100, c=250).reasons[1] == (
        "2 functions have up to 150.00 MB less with several layers, but start in 100 to 250 ms (CloudWatch), less than "
        "`slow-start` (1,000 ms)"
    )


def test_a_configured_split_that_saves_little_is_given_up() -> None:
    needs = make_needs({"core": 100, "extra": 45}, {"a": "core", "b": "core extra"})
    thresholds = replace(THRESHOLDS, layer_cost=MB)
    split = best_split(needs, layer_cost=MB, limits=quotas())
    assert isinstance(split, Split)

    found = recommend(needs, thresholds, limits=quotas(), configured=several_layers(split))

    assert {"common": "core extra"} == _sets(found.layout)
    assert ("best split: 2 layers", "saves 45.00 MB over all functions") == (
        found.alternatives[0].layout.title,
        found.alternatives[0].text,
    )


@pytest.mark.parametrize(("share", "layers"), [(30, 2), (31, 2), (32, 1)])
def test_several_layers_have_to_save_a_share(share: int, layers: int) -> None:
    """60 MB of 190 MB are 31.6%."""
    needs = make_needs({"core": 130, "heavy": 60}, {"a": "core", "b": "core heavy"})
    measured = {"a": MeasuredStart(milliseconds=5000, source="CloudWatch")}

    found = recommend(needs, replace(THRESHOLDS, split_share=share), limits=quotas(), measured=measured)

    assert len(_sets(found.layout)) == layers


@pytest.mark.parametrize(("own", "external"), [(20, {}), (0, {"a": (1, 20)})])
def test_code_and_layers_by_arn_count_towards_the_limit_of_one_layer(
    own: int, external: Mapping[str, tuple[int, int]]
) -> None:
    needs = make_needs({"one": 120, "other": 130}, {"a": "one", "b": "other"}, own=own, external=external)

    found = _recommended(needs)

    assert {"common": "one", "other": "other"} == _sets(found.layout)
    assert "one layer for all functions is not possible: `a` is 7,856,000 bytes above the limit" in found.reasons[0]


def test_what_a_layer_has_besides_distributions_counts() -> None:
    """Next to the limit, the manifest of one layer decides."""
    whole = make_needs({"one": 200, "other": 62}, {"a": "one", "b": "other"})

    assert {"common": "one other"} == _sets(_recommended(replace(whole, layer_bytes=144_000)).layout)
    assert {"common": "other", "one": "one"} == _sets(_recommended(replace(whole, layer_bytes=144_001)).layout)


def test_a_layout_that_cannot_be_used_is_not_recommended() -> None:
    """The next rule decides, and what is configured stays if nothing else is possible."""
    small, needs = make_needs({"requests": 1}, {"a": "requests"}), make_needs(HEAVY, ONE_HEAVY)
    now = configured = zips_with_everything(needs)

    def without(needs: Needs, *titles: str) -> Recommendation:
        def obstacle(layout: Layout) -> str:
            return "impossible: a test" if any(layout.title.startswith(title) for title in titles) else ""

        return recommend(needs, THRESHOLDS, limits=quotas(), configured=configured, obstacle=obstacle)

    assert {"a": (Packaging.LAYER, "common")} == _packaged(without(small, "zip").layout)
    assert {"common": "core", "pandas": "numpy pandas"} == _sets(without(needs, "one layer", "one shared").layout)
    assert ("one layer for all functions is not possible: a test",) == without(needs, "one shared").reasons
    assert {"only-a": "core", "only-b": "core numpy pandas"} == _sets(without(needs, "one shared", "best").layout)
    assert without(needs, "one shared", "best").reasons[1] == "several layers are not possible, for the same reason"
    assert now == without(needs, "one shared", "best", "zip per function, only").layout
    assert without(needs, "one shared", "best", "zip").layout is None


def test_the_time_of_the_heavy_function_itself_decides_nothing() -> None:
    """It has the same packages in every layout."""
    found = _recommended(make_needs(HEAVY, ONE_HEAVY), b=5000, a=100, c=100)

    assert {"common": "core numpy pandas"} == _sets(found.layout)


def test_no_split_is_worth_it() -> None:
    found = _recommended(make_needs({"core": 90, "extra": 4}, {"a": "core", "b": "core extra"}), a=9000)

    assert {"common": "core extra"} == _sets(found.layout)
    assert ((), ()) == (found.missing, found.alternatives)


def test_a_small_function_needs_no_layer() -> None:
    needs = make_needs({"requests": 4}, {"a": "requests"}, own=1)

    found = _recommended(needs)

    assert {"a": (Packaging.ZIP, "common")} == _packaged(found.layout)
    assert {"a": (Packaging.LAYER, "common")} == _packaged(_recommended(make_needs({"requests": 40}, {"a": ""})).layout)


def test_a_small_zip_of_large_files_is_no_small_function() -> None:
    """A threshold that the user sets does not allow what Lambda rejects."""
    thresholds = replace(THRESHOLDS, small_function=100 * MB)

    found = recommend(make_needs({"torch": 300}, {"a": "torch"}), thresholds, limits=quotas())

    assert found.layout is None


def test_functions_without_distributions_need_no_layer() -> None:
    found = _recommended(make_needs({}, {"a": "", "b": ""}))

    assert {"a": (Packaging.ZIP, "common"), "b": (Packaging.ZIP, "common")} == _packaged(found.layout)


def test_two_layers_if_one_exceeds_the_limit() -> None:
    needs = make_needs({"pandas": 200, "torch": 240}, {"a": "pandas", "b": "torch"})

    found = _recommended(needs)

    assert {"common": "pandas", "torch": "torch"} == _sets(found.layout)
    assert (
        "one layer for all functions is not possible: `a` is 177,856,000 bytes above the limit, and 1 more function",
    ) == found.reasons


def test_six_families_get_five_layers() -> None:
    sizes = {"a": 40, "b": 50, "c": 60, "d": 70, "e": 80, "f": 90}

    found = _recommended(make_needs(sizes, {f"use-{name}": name for name in sizes}))

    assert {"a b", "c", "d", "e", "f"} == set(_sets(found.layout).values())


def test_distributions_that_nothing_is_known_to_need_stay_with_the_common_ones() -> None:
    needs = make_needs(HEAVY | {"plugin": 10}, ONE_HEAVY | {"d": ""})

    found = _recommended(needs, a=2000)

    assert {"common": "core plugin", "pandas": "numpy pandas"} == _sets(found.layout)
    assert (Packaging.LAYER, "") == _packaged(found.layout)["d"]


def test_they_are_left_out_if_nothing_fits_otherwise() -> None:
    found = _recommended(make_needs({"core": 20, "torch": 235, "old": 60}, {"a": "core", "b": "core torch"}))

    assert ("old",) == found.left_out
    assert {"common": "core", "torch": "torch"} == _sets(found.layout)
    assert "nothing fits together with what no function is known to need: `old`" in found.reasons


def test_an_image_only_beyond_the_limit_in_every_split() -> None:
    found = _recommended(make_needs({"core": 20, "torch": 260}, {"a": "core", "b": "core torch"}))

    assert found.layout is None
    assert (
        "only with what it needs itself, `b` is 17,856,000 bytes above the limit; this is possible only with a container image"
        == found.reasons[-1]
    )


def test_zips_if_five_layers_are_not_enough() -> None:
    names = "abcdef"

    found = _recommended(make_needs(dict.fromkeys(names, 140) | {"old": 1}, {f"use-{name}": name for name in names}))

    assert ("old",) == found.left_out
    assert {f"use-{name}": (Packaging.ZIP, f"only-use-{name}") for name in names} == _packaged(found.layout)


def test_a_function_with_five_layers_by_arn_gets_its_distributions_in_its_zip() -> None:
    needs = make_needs({"core": 20}, {"a": "core", "b": "core"}, external={"b": (5, 10)})

    found = _recommended(needs)

    assert {"a": (Packaging.LAYER, "common"), "b": (Packaging.ZIP, "common")} == _packaged(found.layout)
    assert "the distributions of `b` go into the zip" in found.reasons[-1]


def _configured(directory: Path, text: str) -> Path:
    (directory / "lamina.toml").write_text(f'runtime = "python3.13"\n{text}')
    return directory


def test_thresholds_of_the_configuration(tmp_path: Path) -> None:
    found = load(_configured(tmp_path, '[advise]\nlayer-cost = "20 MB"\nsplit-saving = 1\nslow-start = 0\n'))

    assert (
        AdviceThresholds(small_function=3 * 2**20, layer_cost=20 * MB, split_saving=1, split_share=33, slow_start_ms=0)
        == found
    )


def test_the_default_of_a_small_function_is_what_the_console_opens(tmp_path: Path) -> None:
    assert quotas().console_bytes == load(_configured(tmp_path, "")).small_function


def test_wrong_thresholds(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        load(_configured(tmp_path, '[advise]\nlayer-cost = "much"\nslow-start = -1\nsmall = 1\n'))

    assert ["advise.layer-cost", "advise.slow-start", "advise.small"] == [key for key, _ in caught.value.mistakes]


def test_the_distance_to_the_optimum_is_said() -> None:
    """Beyond the items that the search can try completely, the recommendation says how much better a split could be."""
    sizes = {f"d{number}": 8 + number % 7 for number in range(40)}
    functions = {
        f"f{number}": " ".join(name for place, name in enumerate(sizes) if (place * place + number) % 11 == 0)
        for number in range(11)
    }
    small = {f"f{number}": f"d{number}" for number in range(11, 40)}

    found = _recommended(make_needs(sizes, functions | small))

    assert found.layout is not None
    assert 0 < getattr(found.split, "gap", 0) < 1
    assert "this split is the best that was found; a better one could save at most" in found.reasons[-1]
