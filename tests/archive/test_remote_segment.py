"""A remote segment that lamina would not have written is rejected."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lamina.archive.remote_segment import SegmentLocation, decode, describe, encode, rows_between
from lamina.archive.segment import Recipe, splice
from lamina.core.store import Store
from lamina.core.values import Pin, Wheel
from wheels import make_wheel, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.archive.segment import Segment

STANDING = SegmentLocation(key=f"parts/{'a' * 64}", start=7)


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    path = make_wheel(tmp_path, "alpha", "1.0", {"alpha/__init__.py": "A = 1\n" * 99, "alpha.pth": "alpha\n"})
    pin = Pin(name="alpha", version="1.0", filename=path.name, sha256=sha256(path))
    return splice(Wheel(pin=pin, path=path), Recipe(), Store(tmp_path / "store"))


def encoded(segment: Segment) -> bytes:
    with segment.path.open("rb", buffering=0) as file:
        fragment = describe(segment.path.stem, file, (0, segment.entries_bytes), segment.directory, STANDING)
    return encode(fragment)


def test_round_trip(segment: Segment) -> None:
    """A remote segment has all data that composing needs, and the entries that the checks read."""
    fragment = decode(encoded(segment), segment.path.stem)
    assert fragment is not None
    content = segment.path.read_bytes()

    assert segment == fragment.segment(segment.path)
    assert (STANDING, 2) == (fragment.location, len(fragment.entries))
    assert all(content[each.start :].startswith(each.content) for each in fragment.entries)


def changed(content: bytes, **changes: object) -> bytes:
    line, _, rest = content.partition(b"\n")
    return json.dumps(json.loads(line) | changes).encode() + b"\n" + rest


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"name": "b" * 64},
        {"sha256": "x"},
        {"entries_bytes": 1},
        {"crc32": -1},
        {"rows": 1},
        {"unzipped_bytes": 0},
        {"directory_bytes": 3},
        {"excerpts": []},
        {"excerpts": [[0, 10**9]]},
        {"standing": ["../elsewhere", 0]},
        {"standing": [f"parts/{'a' * 64}", -1]},
        {"standing": None},
    ],
)
def test_contradictions(segment: Segment, changes: dict[str, object]) -> None:
    """A description that contradicts the central directory is rejected."""
    assert decode(changed(encoded(segment), **changes), segment.path.stem) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"python/alpha/__init__.py", b"python/../../tmp/init.py"),
        (b"python/alpha/__init__.py", b"Python/alpha/__init__.py"),
        (b"python/alpha.pth", b"python/alpha.pt\xff"),
        (b"PK\x01\x02\x14\x03", b"PK\x01\x02\x14\x00"),
        (b"\xa4\x81", b"\xff\xa1"),  # a regular file, and a symbolic link
    ],
)
def test_rows(segment: Segment, before: bytes, after: bytes) -> None:
    """Central directory entries that lamina would not write are rejected: other paths, links, other systems."""
    content = encoded(segment)

    assert before in content
    assert decode(content.replace(before, after), segment.path.stem) is None


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\n", b"[1]\nrows", b"\xff\n", b'{"version": 1}\n'])
def test_nonsense(content: bytes) -> None:
    """Content that is not a remote segment gives ``None``."""
    assert decode(content, "a" * 64) is None


def test_rows_of_a_whole_zip(segment: Segment) -> None:
    """A zip's central directory is split into its segments, each with offsets from the segment's start."""
    from lamina.archive.zip.zipformat import rebase

    size = segment.entries_bytes
    directory = segment.directory + bytes(rebase(segment.directory, size)) + bytes(rebase(segment.directory, 2 * size))

    assert [segment.directory] * 2 == rows_between(directory, [(0, size), (size, size)])
