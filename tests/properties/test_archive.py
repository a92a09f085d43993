"""Properties of all archives, valid or damaged."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from archive.hostile import FILENAME, MODULE, OTHER, Entry, as_wheel, build, streamed, wheel_entries
from lamina.archive.layer import Contribution, Identity, compose
from lamina.archive.record import verify_record
from lamina.archive.segment import Recipe, write_segment
from lamina.archive.wheel import WheelArchive
from lamina.archive.zip.directory import read_directory
from lamina.archive.zip.zipformat import Member, directory_row, encode, rebase, write_sorted
from lamina.core.errors import ArchiveError
from lamina.core.paths import Clash, clashes, flaw
from lamina.core.store import Store
from lamina.core.target import Target
from lamina.core.values import Pin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

# All examples of a test can share one directory, because each example writes every file that it reads.
RELAXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

components = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\:\0", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12
).filter(lambda text: text not in {".", ".."})
paths = st.lists(components, min_size=1, max_size=4).map("/".join)
contents = st.binary(max_size=200) | st.binary(max_size=8).map(lambda data: data * 100)
files = st.dictionaries(paths, contents, max_size=8).filter(lambda found: not clashes(path.encode() for path in found))


@settings(RELAXED, max_examples=50)
@given(files)
def test_reading_what_was_written(found: dict[str, bytes]) -> None:
    """`read_directory` and `zipfile` read the entries that `write_sorted` wrote, sorted by path."""
    stream = io.BytesIO()
    expected = [encode(path, content) for path, content in sorted(found.items())]
    write_sorted(stream, expected)
    data = stream.getvalue()
    located = read_directory(memoryview(data), name="a.zip")

    assert [entry.member for entry in expected] == [each.member for each in located]
    assert [entry.payload for entry in expected] == [
        data[start : start + member.compressed] for member, start in located
    ]
    with zipfile.ZipFile(stream) as archive:
        assert found == {row.filename: archive.read(row) for row in archive.infolist()}


members = st.builds(
    Member,
    paths,
    st.booleans(),
    st.sampled_from([0, 8]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 2),
    st.integers(0, 2**32 - 2),
)


@given(st.lists(st.tuples(members, st.integers(0, 2**30)), max_size=8), st.integers(0, 2**30), st.integers(0, 2**30))
def test_rebasing_adds(rows: list[tuple[Member, int]], first: int, second: int) -> None:
    """Rebasing twice equals rebasing once by the sum, and changes only the offsets."""
    fragment = b"".join(directory_row(member, offset) for member, offset in rows)
    moved = b"".join(directory_row(member, offset + first + second) for member, offset in rows)

    assert moved == bytes(rebase(bytes(rebase(fragment, first)), second)) == bytes(rebase(fragment, first + second))


@given(st.lists(st.lists(st.sampled_from(["a", "b", "a-", "a.b"]), min_size=1, max_size=3).map("/".join), max_size=8))
@example(["a", "a-", "a/b"])
def test_clashes_are_what_comparing_all_pairs_finds(found: list[str]) -> None:
    """`clashes` finds the same conflicts as comparing every pair of paths."""
    expected = {
        Clash(one.encode(), one != other)
        for index, one in enumerate(found)
        for position, other in enumerate(found)
        if index != position and (one == other or other.startswith(f"{one}/"))
    }

    assert sorted(expected) == clashes(path.encode() for path in found)


@given(st.text(st.sampled_from("a/.\\:\0\x1b\x7fü "), max_size=12))
def test_the_quick_look_misses_nothing(path: str) -> None:
    """A path without a flaw stays inside any directory that it is joined to, on every platform."""
    if flaw(path) is None:
        root = Path("/layer")

        assert root in (root / path).parents
        assert {"/": False, "\\": False, ":": False} == {
            "/": path.startswith("/"),
            "\\": "\\" in path,
            ":": path[1:2] == ":",
        }
        assert {"\0", "\x1b", "\x7f"}.isdisjoint(path)


pins = st.builds(
    Pin,
    name=st.text("abc", min_size=1, max_size=3),
    version=st.sampled_from(["1", "2"]),
    filename=st.sampled_from(["a-1-py3-none-any.whl", "b-1-cp313-abi3-linux_aarch64.whl"]),
    sha256=st.binary(max_size=3).map(lambda seed: hashlib.sha256(seed).hexdigest()),
)
recipes = st.lists(st.sampled_from(["*.pyi", "tests/", "docs"]), max_size=3).map(
    lambda globs: Recipe(exclude=tuple(globs))
)
targets = st.sampled_from(
    [Target.of(runtime, machine) for runtime in ("python3.12", "python3.13") for machine in ("arm64", "x86_64")]
)
bytecodes = st.lists(st.tuples(st.sampled_from(["mode", "module"]), st.sampled_from(["a", "b"])), max_size=3).map(tuple)
identities = st.builds(
    Identity, target=targets, pins=st.lists(pins, max_size=4).map(tuple), recipe=recipes, bytecode=bytecodes
)


def decisive(identity: Identity) -> tuple[object, ...]:
    """Return everything that decides the content of a layer, without order."""
    artifacts = sorted((pin.name, pin.version, pin.filename, pin.sha256) for pin in identity.pins)
    return (
        artifacts,
        identity.target.runtime,
        identity.target.architecture if any(not pin.filename.endswith("-any.whl") for pin in identity.pins) else None,
        set(identity.recipe.exclude),
        sorted(identity.bytecode),
    )


@given(identities, identities, st.randoms(use_true_random=False))
def test_digest(one: Identity, other: Identity, random: Random) -> None:
    """Two layers have the same digest exactly if everything that decides their content is equal, in any order."""
    shuffled = list(one.pins)
    random.shuffle(shuffled)
    again = Identity(target=one.target, pins=tuple(shuffled), recipe=one.recipe, bytecode=one.bytecode)

    assert one.digest() == again.digest()
    assert one.manifest("0") == again.manifest("0")
    assert (decisive(one) == decisive(other)) == (one.digest() == other.digest())


@settings(RELAXED, max_examples=30)
@given(st.lists(files, max_size=4), st.randoms(use_true_random=False))
def test_compose_ignores_order(tmp_path: Path, distributions: list[dict[str, bytes]], random: Random) -> None:
    """A layer does not depend on the order of its segments, and every member is valid."""
    store = Store.open(tmp_path / "store")
    parts = []
    for number, found in enumerate(distributions):
        pieces = [encode(f"python/{number}/{path}", content) for path, content in sorted(found.items())]
        key = f"{number:064}"
        parts.append(
            Contribution(name=f"d{number}", segment=write_segment(store.entry("s", key, ".seg"), pieces, store))
        )
    identity = Identity(target=Target.of("python3.13", "arm64"), pins=(), recipe=Recipe())
    results = []
    for attempt in ("first", "second"):
        with (tmp_path / attempt).open("w+b", buffering=0) as file:
            results.append(compose(file, parts, identity, "0" * 64))
        random.shuffle(parts)

    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert results[0] == results[1]
    with zipfile.ZipFile(tmp_path / "first") as archive:
        assert archive.testzip() is None


WHOLE = build(wheel_entries(MODULE, streamed(OTHER), Entry(path=b"pkg/py.typed", method=0)), comment=b"comment")


def content(path: Path) -> dict[str, bytes]:
    """Return the content of the wheel at *path*. Raises only `ArchiveError`, for a rejected wheel."""
    verify_record(path, as_wheel(path).pin)
    with WheelArchive(path) as wheel:
        return {located.member.path: wheel.read(located) for located in wheel.members}


def judge(path: Path, data: bytes) -> dict[str, bytes] | None:
    path.write_bytes(data)
    try:
        return content(path)
    except ArchiveError:
        return None


def unexpected(tmp_path: Path, damaged: Sequence[bytes]) -> list[int]:
    """Return the *damaged* wheels that are accepted with different content than the original."""
    path = tmp_path / FILENAME
    expected = judge(path, WHOLE)
    assert expected is not None
    return [number for number, data in enumerate(damaged) if judge(path, data) not in (None, expected)]


def test_every_truncation(tmp_path: Path) -> None:
    """A wheel truncated at any position raises an `ArchiveError`."""
    path = tmp_path / FILENAME

    assert [None] * len(WHOLE) == [judge(path, WHOLE[:length]) for length in range(len(WHOLE))]


def test_every_flipped_byte(tmp_path: Path) -> None:
    """A wheel with one damaged byte raises an `ArchiveError`, unless the byte is in data that layers do not contain."""
    flipped = [
        WHOLE[:position] + bytes([WHOLE[position] ^ pattern]) + WHOLE[position + 1 :]
        for position in range(len(WHOLE))
        for pattern in (0x01, 0xFF)
    ]

    assert [] == unexpected(tmp_path, flipped)


@settings(RELAXED, max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 40), st.binary(max_size=40) | st.just(WHOLE[:60])),
        min_size=1,
        max_size=4,
    )
)
def test_any_damage(tmp_path: Path, edits: list[tuple[int, int, bytes]]) -> None:
    """A wheel with moved or repeated bytes raises an `ArchiveError` or has the original content."""
    data = WHOLE
    for position, removed, inserted in edits:
        data = data[:position] + inserted + data[position + removed :]

    assert [] == unexpected(tmp_path, [data])


@settings(RELAXED, max_examples=100)
@given(st.binary(max_size=300), st.integers(0, 2**20))
def test_any_stream(tmp_path: Path, stream: bytes, size: int) -> None:
    """Reading any bytes as a deflate stream ends, with content or an `ArchiveError`."""
    path = tmp_path / FILENAME
    entry = Entry(path=b"pkg/x", payload=stream, size=size, crc=zlib.crc32(b""))
    path.write_bytes(build(wheel_entries(entry)))
    try:
        found = content(path)["pkg/x"]
    except ArchiveError:
        return

    assert b"" == found
