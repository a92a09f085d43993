"""Wheels are spliced into segments."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from archive.hostile import (
    FILENAME,
    FULL_32,
    INFO,
    MODULE,
    OTHER,
    Entry,
    as_wheel,
    build,
    deflated,
    streamed,
    unicode_path_extra,
    wheel_entries,
    write_wheel,
    zip64_extra,
)
from lamina.archive.segment import (
    Recipe,
    Segment,
    find_segment,
    read_payload,
    read_segment,
    segment_path,
    splice,
    write_segment,
)
from lamina.archive.zip import zipformat
from lamina.archive.zip.zipformat import STORED, Member, encode, end_of_directory
from lamina.core.errors import (
    ArchiveError,
    CorruptArchiveError,
    DuplicateMemberError,
    SuspiciousSizeError,
    UnsafeMemberError,
    UnsupportedMemberError,
)
from lamina.core.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def opened(segment: Segment) -> zipfile.ZipFile:
    """Return a zip with *segment* as its only segment."""
    entries = segment.path.read_bytes()[: segment.entries_bytes]
    end = end_of_directory(
        rows=segment.rows, directory_bytes=segment.rows_bytes, directory_offset=segment.entries_bytes
    )
    return zipfile.ZipFile(io.BytesIO(entries + segment.directory + end))


def files(store: Store) -> list[str]:
    """Return every file in *store*, including unfinished ones."""
    return sorted(path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file())


class TestSplice:
    def test_streams_are_copied(self, tmp_path: Path, store: Store) -> None:
        """The compressed data of the wheel is copied unchanged, whichever program compressed it."""
        quick = zlib.compressobj(1, zlib.DEFLATED, -15)
        unusual = replace(OTHER, payload=quick.compress(OTHER.content) + quick.flush())
        segment = splice(as_wheel(write_wheel(tmp_path, MODULE, unusual)), Recipe(), store)
        with opened(segment) as archive:
            rows = {row.filename: row for row in archive.infolist()}

        assert (MODULE.stream, unusual.stream) == tuple(
            read_payload(segment, row.header_offset, row.compress_size)
            for row in (rows["python/pkg/__init__.py"], rows["python/pkg/other.py"])
        )

    def test_normal_form(self, tmp_path: Path, store: Store) -> None:
        """Members are sorted, readable by all users, dated 1980, and have no optional fields."""
        entries = [
            Entry(path=b"pkg/", method=0, mode=0o40755),
            replace(streamed(OTHER), mode=0o100600),
            replace(
                MODULE,
                mode=0o100775,
                comment=b"comment",
                local={"size": FULL_32, "compressed": FULL_32, "extra": zip64_extra(240, len(MODULE.stream))},
            ),
            Entry(path="pkg/größe".encode(), content=b"1", method=0, mode=0, system=0),
        ]
        wheel = as_wheel(write_wheel(tmp_path, *entries, comment=b"about this wheel"))
        with opened(splice(wheel, Recipe(), store)) as archive:
            rows = archive.infolist()
            contents = {row.filename: archive.read(row) for row in rows}

        assert (sorted(contents), {(1980, 1, 1, 0, 0, 0)}, {(b"", b"")}) == (
            [row.filename for row in rows],
            {row.date_time for row in rows},
            {(row.extra, row.comment) for row in rows},
        )
        assert {
            "python/pkg/__init__.py": (0o100755, 8, 0),
            "python/pkg/other.py": (0o100644, 8, 0),
            "python/pkg/größe": (0o100644, 0, 1 << 11),
        } == {
            row.filename: (row.external_attr >> 16, row.compress_type, row.flag_bits)
            for row in rows
            if "dist-info" not in row.filename
        }
        assert (MODULE.content, OTHER.content, b"1") == tuple(
            contents[f"python/pkg/{name}"] for name in ("__init__.py", "other.py", "größe")
        )

    def test_empty_members_are_stored(self, tmp_path: Path, store: Store) -> None:
        """Empty files are stored, because an empty deflate stream has two bytes."""
        entries = [Entry(path=b"pkg/py.typed"), Entry(path=b"pkg/empty", method=0), Entry(path=b"pkg/x", payload=b"")]
        with opened(splice(as_wheel(write_wheel(tmp_path, *entries)), Recipe(), store)) as archive:
            found = [
                (row.compress_type, row.compress_size, row.CRC)
                for row in archive.infolist()
                if "dist-info" not in row.filename
            ]

        assert [(0, 0, 0)] * 3 == found

    def test_large_members(self, tmp_path: Path, store: Store) -> None:
        """Large payloads are at their offsets between small, gathered entries."""
        large = Entry(path=b"pkg/large.so", content=os.urandom(400_000), mode=0o100755)
        segment = splice(as_wheel(write_wheel(tmp_path, MODULE, large, OTHER)), Recipe(), store)
        with opened(segment) as archive:
            assert (None, large.content, 400_000) == (
                archive.testzip(),
                archive.read("python/pkg/large.so"),
                archive.getinfo("python/pkg/large.so").file_size,
            )

    def test_sizes_and_checksum(self, tmp_path: Path, store: Store) -> None:
        """A segment has its size, its unzipped size and its CRC-32."""
        wheel = as_wheel(write_wheel(tmp_path, MODULE))
        segment = splice(wheel, Recipe(), store)
        entries = segment.path.read_bytes()[: segment.entries_bytes]
        with opened(segment) as archive:
            unzipped = sum(row.file_size for row in archive.infolist())

        assert (4, unzipped, zlib.crc32(entries), len(entries)) == (
            segment.rows,
            segment.unzipped_bytes,
            segment.crc32,
            segment.zipped_bytes - segment.rows_bytes,
        )

    def test_kept(self, tmp_path: Path, store: Store) -> None:
        """A second splice reads only the store and returns an equal segment."""
        wheel = as_wheel(write_wheel(tmp_path, MODULE))
        first = splice(wheel, Recipe(), store)
        wheel.path.unlink()

        assert (first, [first.path]) == (splice(wheel, Recipe(), store), [segment_path(wheel, Recipe(), store)])

    @pytest.mark.parametrize("damage", ["empty", "cut", "flipped row", "flipped description", "older format"])
    def test_damaged_segments_are_made_again(self, tmp_path: Path, store: Store, damage: str) -> None:
        """A damaged segment is created again by the next splice."""
        wheel = as_wheel(write_wheel(tmp_path, MODULE))
        first = splice(wheel, Recipe(), store)
        whole = first.path.read_bytes()
        damaged = bytearray(whole)
        if damage == "flipped row":
            damaged[first.entries_bytes + 43] ^= 1
        elif damage == "flipped description":
            damaged[-30] ^= 1
        elif damage == "older format":
            damaged[-1] = 1
        first.path.write_bytes({"empty": b"", "cut": whole[:-1]}.get(damage, bytes(damaged)))
        with pytest.raises(CorruptArchiveError) as caught:
            read_segment(first.path)

        assert (
            f"the file `{first.path}` in the store is damaged",
            "delete damaged files from the store: run `lamina cache verify`",
            None,
        ) == (str(caught.value), caught.value.hint, find_segment(first.path, store))
        assert (first, whole) == (splice(wheel, Recipe(), store), first.path.read_bytes())

    def test_every_truncation_is_found(self, tmp_path: Path, store: Store) -> None:
        """A truncated segment is always detected."""
        segment = splice(as_wheel(write_wheel(tmp_path, MODULE)), Recipe(), store)
        whole = segment.path.read_bytes()
        found = []
        for length in range(len(whole)):
            segment.path.write_bytes(whole[:length])
            found.append(find_segment(segment.path, store))

        assert [None] * len(whole) == found

    def test_absent(self, tmp_path: Path) -> None:
        """A missing segment is not an error."""
        assert (None, None) == (read_segment(tmp_path / "no.seg"), find_segment(tmp_path / "no.seg", Store(tmp_path)))

    def test_omitted(self, tmp_path: Path, store: Store) -> None:
        """Omitting paths of another distribution creates a different segment without them."""
        wheel = as_wheel(write_wheel(tmp_path, MODULE, OTHER))
        full, partial = (
            splice(wheel, Recipe(), store),
            splice(wheel, Recipe(), store, omitted=frozenset({"python/pkg/other.py"})),
        )
        with opened(full) as before, opened(partial) as after:
            assert {"python/pkg/other.py"} == set(before.namelist()) - set(after.namelist())
        assert full.path != partial.path

    def test_exclusions(self, tmp_path: Path, store: Store) -> None:
        """Excluded globs have the syntax of .gitignore and are relative to `python/`, and RECORD is rewritten."""
        names = [b"tests/t.py", b"pkg/tests/t.py", b"pkg/a.pyi", b"pkg/keep.pyi", b"docs/readme"]
        wheel = as_wheel(write_wheel(tmp_path, MODULE, *(Entry(path=name, content=name) for name in names)))
        recipe = Recipe(exclude=("*.pyi", "!keep.pyi", "tests/", "/docs", "*.dist-info/*"))
        with opened(splice(wheel, recipe, store)) as archive:
            listed = [line.split(",")[0] for line in archive.read(f"python/{INFO}/RECORD").decode().splitlines()]

            assert [f"{INFO}/{name}" for name in ("METADATA", "RECORD", "WHEEL")] + [
                "pkg/__init__.py",
                "pkg/keep.pyi",
            ] == [name.removeprefix("python/") for name in archive.namelist()]
            assert sorted(name.removeprefix("python/") for name in archive.namelist()) == sorted(listed)

    def test_disk_full(self, tmp_path: Path, store: Store) -> None:
        """If the file cannot grow, the system's error is raised and no file is left."""
        resource = pytest.importorskip("resource")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                write_segment(store.entry("segments", "0" * 64), [encode("a", os.urandom(2000))], store)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

        assert [] == files(store)


class TestWrite:
    def test_golden(self, store: Store) -> None:
        """The format of segments does not change."""
        data = bytes(range(256)) * 2000
        entries = [
            encode("a", b"text " * 100),
            zipformat.Entry(Member("b", True, STORED, zlib.crc32(data), len(data), len(data)), memoryview(data)),
            zipformat.Entry(Member("c", False, STORED, zlib.crc32(data[:9]), 9, 9), memoryview(data)[:9]),
        ]
        segment = write_segment(store.entry("segments", "0" * 64), entries, store)

        assert (
            "2856787231290f5cbd77b00e4cd1e1133b2f071ebd848ccbf6d8a1c4dd1fab1f"
            == hashlib.sha256(segment.path.read_bytes()).hexdigest()
        )
        assert segment == read_segment(segment.path)

    def test_nothing(self, store: Store) -> None:
        """A segment can be empty."""
        segment = write_segment(store.entry("segments", "0" * 64), [], store)

        assert (segment, 0, 0, 0) == (
            read_segment(segment.path),
            segment.rows,
            segment.entries_bytes,
            segment.rows_bytes,
        )


class TestRecipe:
    def test_order_does_not_matter(self) -> None:
        """Without negation, the order and repetition of globs change neither the result nor the key."""
        first, second = Recipe(exclude=("a", "b")), Recipe(exclude=("b", "a", "b"))

        assert first.key("0") == second.key("0")

    def test_order_matters_with_negation(self) -> None:
        """A negated glob depends on the globs before it, so order changes the result and the key."""
        first, second = Recipe(exclude=("*.so", "!a.so")), Recipe(exclude=("!a.so", "*.so"))

        assert (False, True, True) == (
            first.excluded()("a.so"),
            second.excluded()("a.so"),
            first.key("0") != second.key("0"),
        )

    def test_key(self) -> None:
        """The key depends on every input."""
        keys = {
            Recipe().key("0"),
            Recipe().key("1"),
            Recipe(exclude=("a",)).key("0"),
            Recipe(exclude=("a", "b")).key("0"),
            Recipe().key("0", omitted=frozenset({"python/a"})),
            Recipe().key("0", omitted=frozenset({"python/a", "python/b"})),
        }

        assert 6 == len(keys)


ZEROS = deflated(bytes(1 << 24))
HAZARDS: dict[str, tuple[type[ArchiveError], bytes]] = {
    "path escape": (UnsafeMemberError, build(wheel_entries(Entry(path=b"../../evil.py", content=b"1")))),
    "symbolic link": (UnsafeMemberError, build(wheel_entries(replace(MODULE, mode=0o120777)))),
    "foreign metadata": (
        UnsafeMemberError,
        build(wheel_entries(Entry(path=b"pkg-1.0.data/purelib/boto3-1.dist-info/METADATA"))),
    ),
    "duplicate": (DuplicateMemberError, build(wheel_entries(MODULE, MODULE))),
    "file and directory": (DuplicateMemberError, build(wheel_entries(MODULE, Entry(path=b"pkg")))),
    "encryption": (UnsupportedMemberError, build(wheel_entries(replace(MODULE, flags=1)))),
    "LZMA": (UnsupportedMemberError, build(wheel_entries(replace(MODULE, method=14)))),
    "truncated": (CorruptArchiveError, build(wheel_entries(MODULE))[:-40]),
    "prepended": (CorruptArchiveError, build(wheel_entries(MODULE), prefix=b"MZ")),
    "trailing": (CorruptArchiveError, build(wheel_entries(MODULE), suffix=b"\n")),
    "hidden entry": (CorruptArchiveError, build(wheel_entries(MODULE, replace(OTHER, in_directory=False)))),
    "two names": (
        CorruptArchiveError,
        build(wheel_entries(replace(MODULE, extra=unicode_path_extra(MODULE.path, b"evil")))),
    ),
    "no metadata": (CorruptArchiveError, build([MODULE])),
    "ratio": (SuspiciousSizeError, build(wheel_entries(replace(MODULE, size=1 << 30)))),
    "bomb": (
        SuspiciousSizeError,
        build(wheel_entries(*(Entry(path=b"%d" % number, payload=ZEROS, size=1 << 24) for number in range(17)))),
    ),
}


@pytest.mark.parametrize("hazard", HAZARDS)
def test_nothing_of_a_hazard_is_written(tmp_path: Path, store: Store, hazard: str) -> None:
    """A rejected wheel leaves no file in the store."""
    error, data = HAZARDS[hazard]
    path = tmp_path / FILENAME
    path.write_bytes(data)
    with pytest.raises(ArchiveError) as caught:
        splice(as_wheel(path), Recipe(), store)

    assert (error, []) == (type(caught.value), files(store))
