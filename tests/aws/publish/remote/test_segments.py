"""Layers composed of segments in a bucket: hostile descriptions are refused, and the zip has holes only for bytes that S3 has."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from aws.publish.remote.made import KEYS, Reader, publish
from lamina.archive.segment import AREA
from lamina.aws.publish.remote.metadata import shared_paths_name
from lamina.aws.publish.remote_index import grouped
from lamina.core.errors import DamagedFileError
from lamina.core.frozen import replace
from services import make_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aws.publish.remote.made import Published

MIB = 1 << 20
SMALL = "small"


def data(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - not for secrets


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Publish a layer of two parts: a large wheel, and a group of the other wheels."""
    directory = tmp_path_factory.mktemp("published")
    service = make_service(directory)
    service.add("big", "1.0", {"big.py": "B = 1\n", "big.bin": data(0, 5 * MIB)})
    service.add("other", "1.0", {"other.bin": data(1, 3 * MIB)})
    service.add(SMALL, "1.0", {"small.bin": data(2, 3 * MIB)})
    return publish(service, directory)


@pytest.fixture(scope="module")
def published_tail(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Publish a layer so small that it has no parts: the object of the whole layer contains all its bytes."""
    directory = tmp_path_factory.mktemp("tail")
    return publish(make_service(directory), directory)


@pytest.fixture
def reader(published: Published, tmp_path: Path) -> Reader:
    return Reader(published.project, tmp_path, published.objects())


@pytest.fixture
def tail_reader(published_tail: Published, tmp_path: Path) -> Reader:
    return Reader(published_tail.project, tmp_path, published_tail.objects())


def damage(reader: Reader, key: str) -> None:
    """Change a byte of an object without changing the checksum that S3 reports."""
    stored = reader.objects.fake.cloud.objects["artifacts", key]
    stored.content = bytes([stored.content[0] ^ 1]) + stored.content[1:]


def part_starts(reader: Reader) -> list[int]:
    """Return the start positions of the two parts: the large wheel, and the group after it."""
    (big,) = (part.segment for part in reader.contributions() if part.name == "big")
    return [0, big.entries_bytes]


def group_of(published: Published) -> str:
    """Return the name of the index entry for the group."""
    names = [key.rpartition("/")[2] for key in published.cloud.stored_keys() if KEYS.is_directory(key)]
    (name,) = (name for name in names if grouped(published.payload(name)) is not None)
    return name


class TestSegments:
    def test_described(self, reader: Reader) -> None:
        """The index describes the segments of published layers without downloading their bytes."""
        assert ["alpha", "beta", "big", "other", SMALL] == reader.described()
        assert not reader.path("big").exists()

    def test_size_is_known(self, reader: Reader, published: Published) -> None:
        """A description has the sizes that determine the positions in the zip."""
        sizes = {part.name: part.segment.entries_bytes for part in reader.contributions()}

        assert {extent.name: extent.size for extent in published.layer.extents} == sizes

    def test_unknown(self, reader: Reader) -> None:
        """Segments that were never published are omitted, and nothing is refused."""
        path = reader.store.entry(AREA, "0" * 64, ".seg")

        assert ({}, set()) == (reader.remote.segments([path]), reader.index.refused)

    def test_description_of_another_segment(self, reader: Reader, published: Published) -> None:
        """A description that belongs to another segment is refused."""
        reader.put(reader.name("alpha"), published.payload(reader.name(SMALL)))

        assert ["beta", "big", "other", SMALL] == reader.described()
        assert {reader.name("alpha")} == reader.index.refused

    @pytest.mark.parametrize(
        "changes",
        [
            {"version": 2},
            {"sha256": "0"},
            {"entries_bytes": 0},
            {"entries_bytes": float("inf")},
            {"rows": 1},
            {"rows": 1 << 70},
            {"unzipped_bytes": 0},
            {"crc32": -1},
            {"directory_bytes": -1},
            {"directory_bytes": float("inf")},
            {"standing": ["secrets/key", 0]},
            {"standing": ["parts/../secrets", 0]},
            {"standing": ["parts/" + "0" * 64, -1]},
            {"standing": ["parts/" + "0" * 64, float("inf")]},
            {"standing": None},
            {"excerpts": [[0, 1 << 40]]},
            {"excerpts": [[float("inf"), 1]]},
            {"excerpts": [[1, 0]]},
        ],
        ids=repr,
    )
    def test_hostile_description(self, reader: Reader, published: Published, changes: dict[str, Any]) -> None:
        """A description with a field that lamina would not write is refused, and the others are used."""
        name = reader.name("alpha")
        line, _, rest = published.payload(name).partition(b"\n")
        reader.put(name, json.dumps(json.loads(line) | changes).encode() + b"\n" + rest)

        assert ["beta", "big", "other", SMALL] == reader.described()
        assert {name} == reader.index.refused

    @pytest.mark.parametrize(
        "change",
        [
            lambda payload: b"",
            lambda payload: payload[:-1],
            lambda payload: payload + b"x",
            lambda payload: b"[" * 200_000,
            lambda payload: payload.replace(b"python/alpha/data.bin", b"python/../../data.bin"),
            lambda payload: payload.replace(b"python/alpha/data.bin", b"escape/alpha/data.bin"),
            lambda payload: payload.replace(b"PK\x01\x02", b"PK\x01\x03", 1),
        ],
        ids=["empty", "truncated", "longer", "nested", "path that climbs", "path beside python", "other rows"],
    )
    def test_hostile_directory(self, reader: Reader, published: Published, change: Callable[[bytes], bytes]) -> None:
        """Central directory entries that lamina would not write for these bytes are refused."""
        name = reader.name("alpha")
        reader.put(name, change(published.payload(name)))

        assert ["beta", "big", "other", SMALL] == reader.described()
        assert {name} == reader.index.refused


class TestSharedPaths:
    def test_known(self, reader: Reader) -> None:
        """The index states which paths distributions share, here none."""
        assert {} == reader.remote.shared_paths(reader.plan.selection.pins, reader.plan.recipe)

    def test_unknown(self, reader: Reader) -> None:
        """The index has no entry for wheels that were never together in a layer."""
        assert reader.remote.shared_paths(reader.plan.selection.pins[1:], reader.plan.recipe) is None

    @pytest.mark.parametrize("payload", [b"", b"[]", b'{"alpha": "python/a.py"}', b'{"alpha": [1]}', b"[" * 200_000])
    def test_hostile(self, reader: Reader, payload: bytes) -> None:
        """An entry of another form is refused, and treated as missing."""
        pins, recipe = reader.plan.selection.pins, reader.plan.recipe
        reader.put(shared_paths_name(pins, recipe), payload)

        assert reader.remote.shared_paths(pins, recipe) is None
        assert {shared_paths_name(pins, recipe)} == reader.index.refused

    def test_refused(self, reader: Reader) -> None:
        """An entry that the pipeline refused is not returned again."""
        pins, recipe = reader.plan.selection.pins, reader.plan.recipe
        reader.remote.shared_paths(pins, recipe)
        reader.remote.refuse_shared_paths(pins, recipe)

        assert reader.remote.shared_paths(pins, recipe) is None
        assert {shared_paths_name(pins, recipe)} == reader.index.refused


class TestCompose:
    def test_layer_is_the_publishers(self, reader: Reader, published: Published) -> None:
        """The layer has the digest, hash and sizes of the published layer."""
        layer = reader.compose(reader.contributions())

        assert replace(published.layer, path=reader.destination) == layer

    def test_parts_are_holes(self, reader: Reader, published: Published) -> None:
        """Parts that the bucket has are not downloaded. The file has the zip's size and its tail."""
        parts = reader.contributions()
        reader.objects.fake.calls.clear()

        reader.compose(parts)

        content, sparse = reader.destination.read_bytes(), reader.remote.zips[published.layer.digest]
        tail = sum(extent.size for extent in published.layer.extents)
        assert (len(published.content), published.content[tail:]) == (len(content), content[tail:])
        assert content != published.content
        assert (published.parts, frozenset(), False) == (sparse.parts, sparse.whole_parts, sparse.is_whole)
        # The index entry of the group, and the record of the layer.
        assert 2 == reader.objects.fake.calls.count("GetObject")

    def test_what_checks_read_is_there(self, reader: Reader, published: Published) -> None:
        """A hole still contains the members that checks read, such as the metadata of each distribution."""
        import zipfile

        reader.compose(reader.contributions())

        with zipfile.ZipFile(reader.destination) as archive:
            assert archive.read("python/small-1.0.dist-info/METADATA").startswith(b"Metadata-Version: 2.1\nName: small")
            with pytest.raises(zipfile.BadZipFile):
                archive.read("python/small.bin")

    @pytest.mark.parametrize("payload", [None, b"[]", b'{"part": "../secrets"}', b"[" * 200_000])
    def test_group_that_is_not_indexed_is_filled(
        self, reader: Reader, published: Published, payload: bytes | None
    ) -> None:
        """

        If the index lacks a group's hash, the group's segments are downloaded from their locations.

        A wrong entry in its place is refused, so that the next publisher replaces it.
        """
        parts = reader.contributions()
        name = group_of(published)
        if payload is None:
            reader.objects.delete(KEYS.directory(name))
        else:
            reader.put(name, payload)

        reader.compose(parts)

        big, group = part_starts(reader)
        sparse = reader.remote.zips[published.layer.digest]
        assert (set() if payload is None else {name}) == reader.index.refused
        tail = sum(extent.size for extent in published.layer.extents)
        assert (frozenset({group}), published.parts) == (sparse.whole_parts, sparse.parts)
        assert published.content[group:tail] == reader.destination.read_bytes()[group:tail]
        assert published.content[big:group] != reader.destination.read_bytes()[big:group]

    def test_layer_without_parts_is_filled(self, tail_reader: Reader, published_tail: Published) -> None:
        """Segments that belong to no part are downloaded from the published layer. The file is then the whole zip, and is hashed locally."""
        tail_reader.objects.delete(KEYS.record(published_tail.layer.digest))
        layer = tail_reader.compose(tail_reader.contributions())

        assert layer is not None
        assert published_tail.content == tail_reader.destination.read_bytes()
        assert published_tail.layer.sha256 == layer.sha256
        assert tail_reader.remote.zips[layer.digest].is_whole

    def test_part_that_is_gone(self, reader: Reader, published: Published) -> None:
        """If the bucket has lost a part, no layer is composed, and its segment is no longer described."""
        parts = reader.contributions()
        reader.objects.delete(KEYS.part(published.parts[0]))

        assert reader.compose(parts) is None
        assert {reader.name("big")} == reader.index.refused
        assert ["alpha", "beta", "other", SMALL] == reader.described()

    def test_part_of_another_size(self, reader: Reader, published: Published) -> None:
        """A part is not used if S3 reports another size."""
        parts = reader.contributions()
        stored = reader.objects.fake.cloud.objects["artifacts", KEYS.part(published.parts[0])]
        stored.content = stored.content[:-1]

        assert reader.compose(parts) is None
        assert {reader.name("big")} == reader.index.refused

    def test_group_whose_part_is_gone(self, reader: Reader, published: Published) -> None:
        """If the bucket has lost a group's part, the entries of the group and of all its segments are refused."""
        parts = reader.contributions()
        reader.objects.delete(KEYS.part(published.parts[1]))

        assert reader.compose(parts) is None
        assert {reader.name(name) for name in ("alpha", "beta", "other", SMALL)} < reader.index.refused
        assert ["big"] == reader.described()

    def test_bytes_that_were_exchanged(self, tail_reader: Reader, published_tail: Published) -> None:
        """Bytes that do not have the described hash are refused; the correct segments are used again."""
        parts = tail_reader.contributions()
        damage(tail_reader, KEYS.layer(published_tail.layer.digest))

        assert tail_reader.compose(parts) is None
        assert {tail_reader.name("alpha")} == tail_reader.index.refused
        assert ["beta"] == tail_reader.described()

    def test_refused_segment_is_made_here(self, tail_reader: Reader, published_tail: Published) -> None:
        """After a refusal the layer is composed with that segment from its wheel, and is identical."""
        damage(tail_reader, KEYS.layer(published_tail.layer.digest))

        tail_reader.artifacts.layer(tail_reader.plan, tail_reader.destination)

        assert published_tail.content == tail_reader.destination.read_bytes()
        assert (True, False) == (tail_reader.path("alpha").is_file(), tail_reader.path("beta").exists())

    def test_damaged_segment_of_two_targets(self, tail_reader: Reader, published_tail: Published) -> None:
        """If two targets have the description of a damaged segment, neither writes a layer with a hole; both use the wheel."""
        parts = tail_reader.contributions()
        damage(tail_reader, KEYS.layer(published_tail.layer.digest))

        assert [None, None] == [tail_reader.compose(parts) for _ in range(2)]

        paths = [tail_reader.destination.with_name(f"{number}.zip") for number in range(2)]
        with ThreadPoolExecutor(len(paths)) as pool:
            layers = list(pool.map(lambda path: tail_reader.artifacts.layer(tail_reader.plan, path), paths))

        assert [published_tail.layer.sha256] * 2 == [layer.sha256 for layer in layers]
        assert [published_tail.content] * 2 == [path.read_bytes() for path in paths]

    def test_lost_part_of_two_targets(self, reader: Reader, published: Published) -> None:
        """If two targets have the description of a part that the bucket has lost, neither hashes the hole."""
        parts = reader.contributions()
        reader.objects.delete(KEYS.part(published.parts[0]))
        with ThreadPoolExecutor(2) as pool:
            paths = [reader.destination.with_name(f"{number}.zip") for number in range(2)]
            composed = pool.map(lambda path: reader.compose(parts, path), paths)

        assert [None, None] == list(composed)
        assert not reader.remote.zips

    def test_spliced_meanwhile(self, reader: Reader, published: Published) -> None:
        """A segment that was spliced locally after the bucket described it is used from the local store."""
        parts = reader.contributions()
        path = reader.path("big")
        path.parent.mkdir(parents=True)
        path.write_bytes((published.store.root / path.relative_to(reader.store.root)).read_bytes())

        reader.compose(parts)

        big, group = part_starts(reader)
        sparse = reader.remote.zips[published.layer.digest]
        assert (frozenset({big}), published.parts) == (sparse.whole_parts, sparse.parts)
        assert reader.name("big") not in sparse.remote_segments
        assert published.content[big:group] == reader.destination.read_bytes()[big:group]

    def test_damaged_in_this_store(self, reader: Reader, published: Published) -> None:
        """A damaged segment in the local store is an error that names it, and is never used in a layer."""
        path = reader.path("big")
        path.parent.mkdir(parents=True)
        content = (published.store.root / path.relative_to(reader.store.root)).read_bytes()
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])

        with pytest.raises(DamagedFileError) as caught:
            reader.compose(reader.contributions())

        assert path == caught.value.path

    def test_nothing_gets_into_the_store(self, tail_reader: Reader) -> None:
        """Nothing from the bucket is added to the local store."""
        tail_reader.compose(tail_reader.contributions())

        assert [] == list(tail_reader.store.directory(AREA).rglob("*.seg"))

    def test_nobody_has_recorded_the_layer(self, reader: Reader, published: Published) -> None:
        """Without a record, the hash of a zip with holes is unknown."""
        reader.objects.delete(KEYS.record(published.layer.digest))

        layer = reader.compose(reader.contributions())

        assert layer is not None
        assert layer.sha256 is None

    @pytest.mark.parametrize(
        "changes",
        [{"digest": "0" * 64}, {"zipped_bytes": 1}, {"parts": []}, {"segments": [["a", float("inf")]]}],
        ids=repr,
    )
    def test_record_of_another_layer(self, reader: Reader, published: Published, changes: dict[str, object]) -> None:
        """A record whose parts differ is ignored."""
        key = KEYS.record(published.layer.digest)
        stored = reader.objects.fake.cloud.objects["artifacts", key]
        stored.content = json.dumps(json.loads(stored.content) | changes).encode()

        layer = reader.compose(reader.contributions())

        assert layer is not None
        assert layer.sha256 is None
