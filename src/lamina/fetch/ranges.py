"""
Read the ends of remote wheels, where their central directories are, to plan with. Bytes only: parsing is the archive's.

What is read here cannot be verified, because a hash covers the whole file; so nothing of it enters the store, and it
may decide what to tell somebody, never what to build.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.core.errors import FetchError
from lamina.fetch.http import CONNECTIONS, BrokenTransferError, extent
from lamina.fetch.urls import local_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lamina.core.values import Pin
    from lamina.fetch.index import PackageIndex

# Of 40 usual wheels, three have a central directory that is longer (measured 2026-11).
_UNKNOWN_SIZE_BYTES = 64 << 10
_LEAST_BYTES = 16 << 10
_SHARE = 50  # one fiftieth
# A server may send more than it was asked for, but not for long.
_MOST_BYTES = 32 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Tail:
    """The end of a file, as its server gives it; not verified."""

    start: int
    """Where in the file *data* begins, in bytes."""
    data: bytes
    total: int
    """Bytes of the whole file."""


def fetch_tails(pins: Sequence[Pin], index: PackageIndex, *, reach: Callable[[Tail], int]) -> tuple[Tail | None, ...]:
    """
    Return the ends of *pins*, in that order, each beginning at or before the offset that *reach* asks for.

    *reach* sees the first 16 KiB or 2 % (64 KiB where the size is not known), and returns where the part that matters
    begins: for a wheel, its central directory. ``None`` stands for a file whose server knows no ranges or does not
    give it: whoever downloads it will learn the reason.
    """
    if not pins:
        return ()
    with ThreadPoolExecutor(max_workers=min(CONNECTIONS, len(pins)), thread_name_prefix="ranges") as pool:
        return tuple(pool.map(lambda pin: _reaching(pin, index, reach), pins))


def _reaching(pin: Pin, index: PackageIndex, reach: Callable[[Tail], int]) -> Tail | None:
    try:
        tail = _last(pin, index, _UNKNOWN_SIZE_BYTES if pin.size is None else max(_LEAST_BYTES, pin.size // _SHARE))
        if tail is None or (start := max(0, reach(tail))) >= tail.start:
            return tail
        before = _between(pin, index, start, tail.start)
    except (FetchError, *BrokenTransferError):
        return None
    if before is None or before.total != tail.total or before.start + len(before.data) != tail.start:
        return None
    return Tail(start=before.start, data=before.data + tail.data, total=tail.total)


def _last(pin: Pin, index: PackageIndex, length: int) -> Tail | None:
    if (path := local_path(pin)) is not None:
        total = path.stat().st_size
        return _read(path, max(0, total - length), total)
    return _request(pin, index, f"bytes=-{length}")


def _between(pin: Pin, index: PackageIndex, start: int, stop: int) -> Tail | None:
    path = local_path(pin)
    return _read(path, start, stop) if path is not None else _request(pin, index, f"bytes={start}-{stop - 1}")


def _read(path: Path, start: int, stop: int) -> Tail:
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        return Tail(start=start, data=file.read(stop - start), total=path.stat().st_size)


def _request(pin: Pin, index: PackageIndex, wanted: str) -> Tail | None:
    url = index.credentials.learn(pin.url or "")
    with index.client.get(url, {"Range": wanted}) as (response, _):
        start, total = extent(response)
        if response.status != 206 or total is None or total - start > _MOST_BYTES:
            return None
        return Tail(start=start, data=response.read(decode_content=False), total=total)
