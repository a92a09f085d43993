"""Dividing layers into parts: S3's limits are respected, and a changed wheel changes few parts."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.aws.publish.parts import PartLayout, layout_parts
from lamina.core.errors import ArchiveError
from lamina.core.target import quotas
from lamina.core.values import Extent

LIMITS = dataclasses.replace(quotas(), multipart_part_bytes=1000)
TAIL = 77


def extent(name: str, size: int) -> Extent:
    return Extent(name=name, size=size)


def in_order(extents: list[Extent]) -> list[Extent]:
    return sorted(extents, key=lambda each: (each.size < LIMITS.multipart_part_bytes, each.name))


def made(extents: list[Extent]) -> PartLayout:
    return layout_parts(in_order(extents), sum(each.size for each in extents) + TAIL, LIMITS)


def contents(cut_: PartLayout, bumped: str | None = None) -> set[tuple[tuple[str, int, bool], ...]]:
    """Return a set that identifies the bytes of all parts, given that the content of *bumped* has changed."""
    return {tuple((each.name, each.size, each.name == bumped) for each in part.extents) for part in cut_.parts}


SMALL = st.lists(st.integers(1, 999), max_size=60)
LARGE = st.lists(st.integers(1000, 9000), max_size=4)


@given(small=SMALL, large=LARGE)
def test_every_part_is_large_enough_and_in_its_place(small: list[int], large: list[int]) -> None:
    """Parts have S3's minimum size, consist of whole segments without gaps, and precede the tail. Groups stay small."""
    extents = [extent(f"n{number}", size) for number, size in enumerate([*small, *large])]
    result = made(extents)

    position = 0
    for part in result.parts:
        assert position == part.start
        assert part.size >= 1000
        assert len(part.extents) == 1 or part.size < 3000
        position += part.size
    assert position == result.tail_start
    together = [each for part in result.parts for each in part.extents]
    left = in_order(extents)[len(together) :]

    assert in_order(extents)[: len(together)] == together
    assert TAIL + sum(each.size for each in left) == result.tail_bytes
    assert sum(each.size for each in left) < 1000


@given(small=st.lists(st.integers(1, 999), min_size=1, max_size=60), large=LARGE, data=st.data())
def test_bump_of_the_same_size_changes_one_part(small: list[int], large: list[int], data: st.DataObject) -> None:
    """Boundaries depend only on names and sizes, so a change of content changes only the part that contains it."""
    extents = [extent(f"n{number}", size) for number, size in enumerate([*small, *large])]
    bumped = data.draw(st.sampled_from(extents)).name
    result = made(extents)

    changed = contents(result, bumped) - contents(result)

    assert len(changed) == sum(bumped in part.names for part in result.parts) <= 1


def test_bumps_of_other_sizes_mostly_change_one_part() -> None:
    """A size change of a few per cent rarely moves a boundary: 1.2 parts change on average, where counting would change 3."""
    source = random.Random(4)  # noqa: S311 - not for secrets
    changed: list[int] = []
    for _ in range(400):
        sizes = [min(999, int(source.lognormvariate(4.6, 1.1)) + 5) for _ in range(60)]
        before = [extent(f"n{number:02}", size) for number, size in enumerate(sizes)]
        number = source.randrange(len(before))
        size = min(999, max(1, round(before[number].size * source.uniform(0.95, 1.06))))
        bumped = before[number].name
        after = [*before[:number], extent(bumped, size), *before[number + 1 :]]
        changed.append(len(contents(made(after), bumped) - contents(made(before))))

    assert max(1, sum(changed) / len(changed)) <= 1.2
    assert sum(count > 1 for count in changed) / len(changed) <= 0.05


def test_added_and_removed_wheels_change_one_part_mostly() -> None:
    """An added or removed wheel mostly changes one part; the other boundaries stay."""
    source = random.Random(5)  # noqa: S311 - not for secrets
    changed: list[int] = []
    for _ in range(300):
        extents = [extent(f"n{number:02}", source.randint(5, 300)) for number in range(60)]
        number = source.randrange(60)
        gone = [*extents[:number], *extents[number + 1 :]]
        changed.append(len(contents(made(gone)) - contents(made(extents))))

    assert sum(changed) / len(changed) <= 1.4


def test_small_layer_is_one_tail() -> None:
    """If all segments together are smaller than a part, the whole layer is the tail."""
    assert PartLayout(parts=(), tail_start=0, zipped_bytes=999 + TAIL) == made([extent("a", 500), extent("b", 499)])


def test_large_segments_stand_alone() -> None:
    """A large segment is its own part in every layer."""
    result = made([extent("b", 1000), extent("a", 2000), extent("c", 10)])

    assert [("a",), ("b",)] == [part.names for part in result.parts]
    assert 10 + TAIL == result.tail_bytes


def test_too_many_parts_are_refused() -> None:
    """The tail counts as a part for S3's limit."""
    limits = dataclasses.replace(LIMITS, multipart_parts=2)
    extents = in_order([extent("a", 1000), extent("b", 1000)])
    with pytest.raises(ArchiveError) as caught:
        layout_parts(extents, 2000 + TAIL, limits)

    assert str(caught.value) == "the layer would need 3 parts; S3's limit for an upload is 2 parts"


@settings(max_examples=50)
@given(sizes=st.lists(st.integers(1, 999), min_size=1, max_size=40), seed=st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(sizes: list[int], seed: random.Random) -> None:
    """The division does not depend on the order in which segments are given."""
    extents = [extent(f"n{number}", size) for number, size in enumerate(sizes)]
    shuffled = list(extents)
    seed.shuffle(shuffled)

    assert made(extents) == made(shuffled)
