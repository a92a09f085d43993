"""No exchange with another process lasts longer than its deadline, also where the system cannot wait for a pipe, as Windows."""

from __future__ import annotations

import os
import select
import sys
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from lamina.bytecode.pipes import can_wait, read, write

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 0.05
_LONG_SECONDS = 60


@pytest.fixture(params=["poll", "thread"])
def _waiting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait in both ways, if this system has both."""
    if request.param == "thread":
        monkeypatch.delattr(select, "poll", raising=False)
    elif not can_wait():
        pytest.skip("this system cannot wait for pipes")


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    if can_wait():
        os.set_blocking(writer, False)
    try:
        yield reader, writer
    finally:
        os.close(writer)
        os.close(reader)


pytestmark = [
    pytest.mark.usefixtures("_waiting"),
    pytest.mark.skipif(sys.platform == "win32", reason="a pipe that is read cannot be closed"),
]


def test_a_process_that_says_nothing() -> None:
    with _pipe() as (reader, _), pytest.raises(TimeoutError):
        read(reader, 1, monotonic() + _SECONDS)


def test_a_process_that_reads_nothing() -> None:
    with _pipe() as (_, writer), pytest.raises(TimeoutError):
        write(writer, bytes(1 << 21), monotonic() + _SECONDS)


def test_what_is_sent_arrives() -> None:
    with _pipe() as (reader, writer):
        write(writer, b"content", monotonic() + _LONG_SECONDS)

        assert b"content" == read(reader, 7, monotonic() + _LONG_SECONDS)


def test_a_process_that_has_ended() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        write(writer, b"content", monotonic() + _LONG_SECONDS)
    os.close(writer)
