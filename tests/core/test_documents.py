"""Documents prove that their content is what lamina wrote at their place."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lamina.core.documents import MOST_BYTES, open_sealed, read_bounded, seal
from lamina.core.store import Store

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = {"names": ["a", "é"], "crc32": 1, "nested": {"x": None}}


@pytest.mark.parametrize("content", [CONTENT, {}])
@pytest.mark.parametrize("indent", [None, 2])
def test_round_trip(content: dict[str, Any], indent: int | None) -> None:
    """A document is JSON for everybody, and its content is read back."""
    sealed = seal(content, "reach/k.json", indent=indent)

    assert content == open_sealed(sealed, "reach/k.json")
    assert content.keys() <= json.loads(sealed).keys()


def test_every_bit() -> None:
    """No document with one other bit is accepted."""
    sealed = seal(CONTENT, "reach/k.json")
    for position in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(ValueError, match="intact"):
            open_sealed(bytes(damaged), "reach/k.json")


@pytest.mark.parametrize("place", ["imports/k.json", "reach/l.json", "reach/k.jso", ""])
def test_other_place(place: str) -> None:
    """A document of another kind or under another key is refused."""
    with pytest.raises(ValueError, match="intact"):
        open_sealed(seal(CONTENT, "reach/k.json"), place)


def test_discarded_once_for_each_area(tmp_path: Path) -> None:
    """A damaged document is deleted, and the first of each area is reported."""
    notes: list[str] = []
    store = Store(tmp_path, note=notes.append)
    paths = [store.entry(area, key * 64, ".json") for area, key in (("reach", "a"), ("reach", "b"), ("imports", "a"))]
    for path in paths:
        store.write_document(path, CONTENT)
        path.write_bytes(path.read_bytes()[:-1])

    assert [None] * 3 == [store.read_document(path, dict) for path in paths]
    assert [False] * 3 == [path.exists() for path in paths]
    assert [
        f"a file in `{area}` of the store was damaged; lamina makes it again" for area in ("reach", "imports")
    ] == notes


def test_other_shape(tmp_path: Path) -> None:
    """An intact document whose content is not as expected is discarded too."""
    store = Store(tmp_path)
    path = store.entry("reach", "a" * 64, ".json")
    store.write_document(path, {"names": 1})

    assert store.read_document(path, lambda content: list(content["names"])) is None
    assert not path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_fault_of_the_process(tmp_path: Path) -> None:
    """An intact file that the process cannot open, here because it has too many open files, is not damaged, and stays."""
    import resource

    notes: list[str] = []
    store = Store(tmp_path, note=notes.append)
    path = store.entry("reach", "a" * 64, ".json")
    store.write_document(path, CONTENT)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        found = store.read_document(path, dict)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert (None, []) == (found, notes)
    assert CONTENT == store.read_document(path, dict)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_no_file(tmp_path: Path) -> None:
    """What is no file, or is larger than any document, is read as nothing, without waiting."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MOST_BYTES + 1)

    assert [b"", b"", b"", None] == [
        read_bounded(tmp_path / name) for name in ("pipe", "directory", "large", "directory/absent")
    ]
