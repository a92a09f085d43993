"""Call AWS for several items in parallel, and start no further item after a failure."""

from __future__ import annotations

from concurrent.futures import CancelledError, ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_parallel(work: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int = 8) -> list[_Result]:
    """
    Run *work* on all *items* in at most *workers* threads, and return the results in the order of *items*.

    After a failure, start no further item, wait for the running ones, and raise the first failure in the order of *items*.
    """
    failed = Event()

    def begin(item: _Item) -> _Result:
        # A worker may start its next item before the main thread can cancel it.
        if failed.is_set():
            raise CancelledError
        try:
            return work(item)
        except BaseException:
            failed.set()
            raise

    pool = ThreadPoolExecutor(workers, "lamina-aws")
    try:
        # Items are started in order, so every item that was not started comes after the failed one.
        return list(pool.map(begin, items))
    finally:
        pool.shutdown(cancel_futures=True)
