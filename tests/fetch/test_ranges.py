from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from lamina.fetch.ranges import Tail, fetch_tails
from wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from lamina.core.store import Store
    from lamina.fetch.index import PackageIndex
    from loopback import IndexServer

SIZE = 300_000


def wheel(server: IndexServer, name: str) -> Path:
    path = f"{name}/data.bin"
    return make_wheel(server.directory, name, "1.0", {path: os.urandom(SIZE)}, stored={path})


def enough(tail: Tail) -> int:
    return tail.start


def test_end_of_each_file(server: IndexServer, index: PackageIndex, store: Store) -> None:
    """The ends of files are returned in the order of the pins: 16 KiB each, or 64 KiB if the size is unknown."""
    paths = [wheel(server, name) for name in "ab"]
    pins = [server.pin(paths[0]), server.pin(paths[1], size=False)]
    tails = fetch_tails(pins, index, reach=enough)
    expected = []
    for path, length in zip(paths, (16 << 10, 64 << 10), strict=True):
        content = path.read_bytes()
        expected.append(Tail(start=len(content) - length, data=content[-length:], total=len(content)))

    assert tuple(expected) == tails
    assert not store.root.exists()


def test_second_range(server: IndexServer, index: PackageIndex) -> None:
    """A second request reads a relevant part that starts before the first range."""
    path = wheel(server, "a")
    content = path.read_bytes()
    (tail,) = fetch_tails([server.pin(path)], index, reach=lambda _: 100_000)

    assert Tail(start=100_000, data=content[100_000:], total=len(content)) == tail
    assert [request.range for request in server.requests] == [
        "bytes=-16384",
        f"bytes=100000-{len(content) - 16384 - 1}",
    ]


def test_small_file(server: IndexServer, index: PackageIndex) -> None:
    """A file that is smaller than the range is returned whole."""
    path = make_wheel(server.directory, "a", "1.0")
    (tail,) = fetch_tails([server.pin(path)], index, reach=lambda _: 0)

    assert Tail(start=0, data=path.read_bytes(), total=path.stat().st_size) == tail
    assert len(server.requests) == 1


def test_server_without_ranges(server: IndexServer, index: PackageIndex) -> None:
    """The result for a server without range support is ``None``."""
    server.behaviour.ranges = False

    assert fetch_tails([server.pin(wheel(server, "a"))], index, reach=enough) == (None,)


def test_failures_are_left_to_the_download(server: IndexServer, index: PackageIndex) -> None:
    """The result for an unavailable file is ``None``, and the other files are still returned."""
    gone, busy, broken, good = (wheel(server, name) for name in "abcd")
    pins = [server.pin(path) for path in (gone, busy, broken, good)]
    gone.unlink()
    server.behaviour.refuse[busy.name] = [403]
    server.behaviour.drop_after[broken.name] = [10]
    tails = fetch_tails(pins, index, reach=enough)

    assert [True, True, True, False] == [tail is None for tail in tails]


def test_local_files(server: IndexServer, index: PackageIndex) -> None:
    """The end of a local file is read from disk, and the result for a missing one is ``None``."""
    path = wheel(server, "a")
    content = path.read_bytes()
    pin = replace(server.pin(path), url=None, path=path)
    missing = replace(pin, path=path.with_name("missing"))
    tails = fetch_tails([pin, missing], index, reach=lambda tail: tail.start - 1000)

    start = len(content) - (16 << 10) - 1000
    assert (Tail(start=start, data=content[start:], total=len(content)), None) == tails
    assert server.requests == []


def test_no_pins(index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result for no pins is empty."""
    assert fetch_tails([], index, reach=enough) == ()
