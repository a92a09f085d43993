"""Calls for several items at once: results in order, and nothing begun after a failure."""

from __future__ import annotations

import threading
import time

import pytest

from lamina.aws.destination.parallel import in_parallel
from lamina.core.errors import AwsError


def test_results_are_in_order() -> None:
    """The results come in the order of the items, whichever of them ends first."""

    def work(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * 2

    assert [0, 2, 4, 6] == in_parallel(work, range(4), workers=2)


def test_nothing_is_begun_after_a_failure() -> None:
    """If an item fails while an earlier one is still at work, that one ends, and none of the others is begun."""
    begun: list[int] = []
    ended: list[int] = []
    failing = threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            failing.set()
            raise AwsError("one")
        failing.wait()
        time.sleep(0.2)
        ended.append(number)

    with pytest.raises(AwsError) as caught:
        in_parallel(work, range(60), workers=2)

    assert "one" == str(caught.value)
    assert ([0, 1], [0]) == (sorted(begun), ended)


def test_first_failure_in_order() -> None:
    """Of several failures that of the first item is raised, even if it happened last."""
    failing = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            failing.wait()
        failing.set()
        raise AwsError(str(number))

    with pytest.raises(AwsError) as caught:
        in_parallel(work, range(2), workers=2)

    assert "0" == str(caught.value)
