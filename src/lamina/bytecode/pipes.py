"""Read from and write to the pipes of another process until a deadline, so that a process that hangs is noticed."""

from __future__ import annotations

import os
import select
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")
_PIECE_BYTES = 1 << 20


def can_wait() -> bool:
    """Return whether this system can wait for a pipe. Windows cannot, so `read` and `write` call the system in a thread there."""
    return hasattr(select, "poll")


def read(descriptor: int, length: int, deadline: float) -> bytes:
    """
    Return *length* bytes from the pipe *descriptor*, or fewer if it ends.

    Raises `TimeoutError` if they have not arrived when the clock `monotonic` reaches *deadline*, in seconds.
    """
    pieces: list[bytes] = []
    while length:
        _wait(descriptor, "POLLIN", deadline)
        piece = _call(partial(os.read, descriptor, min(length, _PIECE_BYTES)), deadline)
        if not piece:
            break
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def write(descriptor: int, content: bytes, deadline: float) -> None:
    """Write *content* to the pipe *descriptor*, which does not block if `can_wait`. Raises `TimeoutError` like `read`, and `BrokenPipeError`."""
    view = memoryview(content)
    while view:
        try:
            view = view[_call(partial(os.write, descriptor, view), deadline) :]
        except BlockingIOError:
            _wait(descriptor, "POLLOUT", deadline)


def _call(function: Callable[[], _Result], deadline: float) -> _Result:
    """Return the result of *function*; where it may block, raise `TimeoutError` at *deadline*. The caller then ends the other process."""
    if can_wait():
        return function()
    from concurrent.futures import Future
    from threading import Thread

    future: Future[_Result] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - raised in the other thread
            future.set_exception(error)

    Thread(target=work, name="pipe", daemon=True).start()
    return future.result(max(0, deadline - monotonic()))


def _wait(descriptor: int, event: str, deadline: float) -> None:
    if not can_wait():
        return
    waiting = select.poll()
    waiting.register(descriptor, getattr(select, event))
    if not waiting.poll(max(0, deadline - monotonic()) * 1000):
        raise TimeoutError
