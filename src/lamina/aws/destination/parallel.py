"""Call AWS for several items at once, and begin no further item after a failure."""

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
    Return the results of *work* on *items*, in their order, from that many *workers*.

    After a failure no further item is begun. When those that were begun have ended, the first failure in the order of *items* is raised.
    """
    failed = Event()

    def begin(item: _Item) -> _Result:
        # A worker takes its next item before the thread that waits for the results could cancel that.
        if failed.is_set():
            raise CancelledError
        try:
            return work(item)
        except BaseException:
            failed.set()
            raise

    pool = ThreadPoolExecutor(workers, "lamina-aws")
    try:
        # Items are begun in order, so those that were not begun come after the failure.
        return list(pool.map(begin, items))
    finally:
        pool.shutdown(cancel_futures=True)
