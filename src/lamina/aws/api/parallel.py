"""Do the same with many things at once, and begin nothing more after a failure."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["in_parallel"]

_WORKERS = 8

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_parallel(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Return what *work* makes of *items*, in their order; raises what the first of them raises that fails."""
    pool = ThreadPoolExecutor(_WORKERS, "lamina-s3")
    try:
        return list(pool.map(work, items))
    finally:
        pool.shutdown(cancel_futures=True)
