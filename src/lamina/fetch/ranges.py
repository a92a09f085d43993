"""
Read the ends of wheels, which contain their central directories, so that a plan needs no full downloads.

`lamina.archive` parses the bytes. They are not verified, because the locked hash covers the whole file. They are therefore
not added to the store, and are used only in reports, never in a build.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.core.errors import FetchError
from lamina.fetch.http import CONNECTIONS, BrokenTransferError, extent, request_url
from lamina.fetch.urls import local_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lamina.core.values import Pin
    from lamina.fetch.index import PackageIndex

# Of 40 common wheels, three have a larger central directory (measured 2026-11).
_UNKNOWN_SIZE_BYTES = 64 << 10
_LEAST_BYTES = 16 << 10
_SHARE = 50  # one fiftieth
# The largest response that is read, if a server returns more than the requested range.
_MOST_BYTES = 32 << 20
_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Tail:
    """The last bytes of a file, as returned by the server; not verified."""

    start: int
    """The offset in the file, in bytes, at which `data` starts."""
    data: bytes
    total: int
    """The size of the whole file in bytes."""


def fetch_tails(pins: Sequence[Pin], index: PackageIndex, *, reach: Callable[[Tail], int]) -> tuple[Tail | None, ...]:
    """
    Return the end of each file of *pins*, in that order, starting at or before the offset that *reach* returns.

    lamina first reads the last 2 % of a file and at least 16 KiB, or the last 64 KiB if its size is unknown. *reach* receives
    these bytes, and returns the offset in the file at which the relevant part starts: for a wheel, its central directory. If
    that is before the bytes read, a second request reads the missing ones. A file that could not be read is ``None`` in the
    result, for example because its server does not support ranges. A later download reports the reason.
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
    url = request_url(pin, index)
    with index.client.get(url, {"Range": wanted}) as (response, _):
        start, total = extent(response)
        if response.status != 206 or total is None or not 0 <= total - start <= _MOST_BYTES:
            return None
        data = bytearray()
        for chunk in response.stream(_CHUNK, decode_content=False):
            data += chunk
            if len(data) > total - start:
                return None
        return Tail(start=start, data=bytes(data), total=total)
