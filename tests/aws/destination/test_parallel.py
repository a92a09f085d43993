"""Parallel calls: results are in order, and no call starts after a failure."""

from __future__ import annotations

import threading
import time

import pytest

from lamina.aws.destination.parallel import in_parallel
from lamina.core.errors import AwsError


def test_results_are_in_order() -> None:
    """The results are in the order of the items, regardless of which item finishes first."""

    def work(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * 2

    assert [0, 2, 4, 6] == in_parallel(work, range(4), workers=2)


def test_nothing_is_begun_after_a_failure() -> None:
    """If an item fails while an earlier one is running, the earlier one finishes, and no other item starts."""
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
    """If several items fail, the error of the first item is raised, even if it occurred last."""
    failing = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            failing.wait()
        failing.set()
        raise AwsError(str(number))

    with pytest.raises(AwsError) as caught:
        in_parallel(work, range(2), workers=2)

    assert "0" == str(caught.value)
