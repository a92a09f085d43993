"""Parts that S3 copies from the previous layer: S3's limits are respected, the bytes are right, and little is uploaded."""

from __future__ import annotations

import dataclasses
import hashlib
import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws.fakes import Cloud, Killed
from aws.made import content_of, make_layer, make_record, make_wanted
from lamina.aws.api.session import Access
from lamina.aws.destination.bucket import Bucket
from lamina.aws.destination.destination import Cancellation
from lamina.aws.destination.naming import Keys
from lamina.aws.publish.config import PublishConfig
from lamina.aws.publish.layer_record import LayerRecord, decode_record
from lamina.aws.publish.part_copy import (
    ExistingRange,
    NewRange,
    PartCopy,
    PreviousUpload,
    plan_part_copies,
    plan_part_copy,
)
from lamina.aws.publish.parts import Part
from lamina.aws.publish.upload import send_parts, stored_parts
from lamina.aws.publish.zip_source import LayerZip
from lamina.core.frozen import replace
from lamina.core.reporter import Silent
from lamina.core.target import quotas
from lamina.core.values import Extent

if TYPE_CHECKING:
    from pathlib import Path

    from emulators import Emulator
    from lamina.aws.api.s3 import Objects
    from lamina.aws.publish.desired import DesiredLayer

LEAST = 1000
MIB = 1 << 20
KEYS = Keys("lamina/")
# One large wheel, then small ones in groups.
SIZES = {"large": 6 * MIB, **{f"small-{letter}": MIB + ord(letter) for letter in "abcdef"}}


def bytes_of(name: str, size: int) -> bytes:
    return content_of(name, "1.0", size)


def performed(how: PartCopy, before: bytes, part: bytes) -> bytes:
    """Return the result of the uploads, and fail where S3 would reject a piece."""
    made = b""
    for pieces in how.uploads:
        contents = []
        for piece in pieces:
            origin = before if isinstance(piece, ExistingRange) else part if isinstance(piece, NewRange) else made
            contents.append(origin[piece.start : piece.start + piece.size])
            assert 0 < piece.size == len(contents[-1])
        assert all(len(content) >= LEAST for content in contents[:-1])
        made = b"".join(contents)
    return made


SEGMENTS = st.lists(st.integers(1, LEAST - 1), min_size=2, max_size=30)


@given(sizes=SEGMENTS, leading=st.integers(0, 3 * LEAST), changed=st.sets(st.integers(0, 29)), turned=st.booleans())
def test_s3_makes_the_part_within_its_limits(
    sizes: list[int], leading: int, changed: set[int], *, turned: bool
) -> None:
    """For any changed segments and any earlier order, the uploads produce exactly the part within S3's limits, and send only new bytes."""
    names = [f"n{number}" for number in range(len(sizes))]
    old = {name: bytes_of(name, size) for name, size in zip(names, sizes, strict=True)}
    before, standing = bytes_of("before", leading), {}
    for name in reversed(names) if turned else names:
        standing[name] = ExistingRange("k", len(before), len(old[name]))
        before += old[name]
    before += bytes_of("tail", LEAST)
    new = {
        name: bytes_of(f"{name} again", len(old[name]) + 1) if at in changed else old[name]
        for at, name in enumerate(names)
    }
    extents = [
        Extent(name=name, size=len(new[name]), segment=f"{name} again" if at in changed else name)
        for at, name in enumerate(names)
    ]
    found = plan_part_copy(Part(start=0, extents=tuple(extents)), standing, least=LEAST, worth=-LEAST)
    content = b"".join(new.values())

    assert found is not None
    assert content == performed(found, before, content)
    assert sum(len(new[name]) for at, name in enumerate(names) if at in changed) == found.sent_bytes


def test_only_what_is_worth_it() -> None:
    """A part is uploaded completely if copying saves little. A part that only moved is copied as one range."""
    extents = tuple(Extent(name=f"n{at}", size=600, segment=f"s{at}") for at in range(4))
    part = Part(start=0, extents=extents)
    standing = {f"s{at}": ExistingRange("k", 5000 + at * 600, 600) for at in range(4)}
    changed = standing | {"s1": ExistingRange("k", 0, 601)}
    elsewhere = changed | {"s1": ExistingRange("other", 700, 600)}
    found = plan_part_copy(part, changed, least=LEAST, worth=600)

    assert found is not None
    uploads = (
        (ExistingRange("k", 4600, 1000), NewRange(600, 600)),
        (PreviousUpload(0, 1600), ExistingRange("k", 6200, 1200)),
        (PreviousUpload(400, 2400),),
    )
    assert uploads == found.uploads
    assert plan_part_copy(part, changed, least=LEAST, worth=601) is None
    assert PartCopy(uploads=((ExistingRange("k", 5000, 2400),),)) == plan_part_copy(
        part, standing, least=LEAST, worth=600
    )
    assert PartCopy(uploads=((uploads[0][0], ExistingRange("other", 700, 600)), *uploads[1:])) == plan_part_copy(
        part, elsewhere, least=LEAST, worth=600
    )


def made(directory: Path, *, bump: str | None = None) -> DesiredLayer:
    """Return a layer whose segments have names. Its distributions have version 1.0, except *bump*."""
    versions = {bump: "1.1"} if bump else {}
    layer = make_layer(directory, SIZES, versions=versions)
    named = tuple(replace(each, segment=f"{each.name} {versions.get(each.name, '1.0')}") for each in layer.extents)
    return make_wanted(replace(layer, extents=named), PublishConfig(bucket="artifacts"))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> DesiredLayer:
    return made(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def bumped(tmp_path_factory: pytest.TempPathFactory) -> DesiredLayer:
    return made(tmp_path_factory.mktemp("second"), bump="small-c")


def recorded(wanted: DesiredLayer) -> LayerRecord:
    found = decode_record(make_record(wanted))
    assert found is not None
    return found


def stand(objects: Objects, wanted: DesiredLayer, content: bytes | None = None) -> None:
    content = wanted.layer.path.read_bytes() if content is None else content
    objects.put(KEYS.layer(wanted.layer.digest), content, sha256=hashlib.sha256(content).hexdigest(), absent=False)


def sent(objects: Objects, wanted: DesiredLayer, record: LayerRecord | None) -> tuple[int, list[bytes | None]]:
    """Upload all missing parts of *wanted*; return the bytes sent, and the content of all parts in the bucket."""
    source = LayerZip.hashed(wanted)
    bucket = Bucket(objects=objects, keys=KEYS)
    missing = frozenset(source.parts) - stored_parts(bucket, source)
    how = plan_part_copies(bucket, source, missing, record, least=quotas().multipart_part_bytes)
    count = send_parts(bucket, source, missing, copies=how, reporter=Silent(), stop=Cancellation())
    assert frozenset(source.parts) == stored_parts(bucket, source)
    return count, [objects.get(KEYS.part(sha256)) for sha256 in source.parts]


def parts_of(wanted: DesiredLayer) -> list[bytes | None]:
    content = wanted.layer.path.read_bytes()
    return [content[part.start : part.start + part.size] for part in wanted.layout.parts]


def fake_bucket(cloud: Cloud) -> Objects:
    return cloud.connect().bucket("artifacts")


def test_bump_sends_the_wheel_alone(first: DesiredLayer, bumped: DesiredLayer) -> None:
    """Only the new wheel of a group is uploaded, once, and no temporary object or upload remains."""
    cloud = Cloud()
    objects = fake_bucket(cloud)
    sent(objects, first, None)
    stand(objects, first)
    counted = sent(objects, bumped, recorded(first))

    assert (SIZES["small-c"], parts_of(bumped)) == counted
    assert ({}, []) == (cloud.uploads, [key for key in cloud.stored_keys() if "grafts" in key])
    assert 0 == sent(objects, bumped, recorded(first))[0]


@pytest.mark.parametrize("emulator", ["moto", "ministack"])
def test_emulators_take_it(
    emulator: str, request: pytest.FixtureRequest, first: DesiredLayer, bumped: DesiredLayer
) -> None:
    """moto, which rejects small parts and reports checksums, and MiniStack, whose ETag is compared, both produce the parts."""
    there: Emulator = request.getfixturevalue(emulator)
    name = there.make_bucket(f"copy-{uuid.uuid4().hex[:10]}")
    objects = Access(region=there.region).connect().bucket(name)
    sent(objects, first, None)
    stand(objects, first)
    counted = sent(objects, bumped, recorded(first))

    assert (SIZES["small-c"], parts_of(bumped)) == counted
    assert not [key for key in there.keys(name) if "grafts" in key]
    assert 0 == sent(objects, bumped, recorded(first))[0]


@pytest.mark.parametrize("kind", ["gone", "shorter", "damaged", "versioned", "no-segments"])
def test_group_is_sent_where_it_cannot_be_made(first: DesiredLayer, bumped: DesiredLayer, kind: str) -> None:
    """The group is uploaded completely if the previous layer is missing, damaged or unrecorded, or the bucket is versioned."""
    cloud = Cloud()
    objects = fake_bucket(cloud)
    sent(objects, first, None)
    content = first.layer.path.read_bytes()
    if kind != "gone":
        at = len(content) - SIZES["small-f"] - 200
        stand(
            objects,
            first,
            {"shorter": content[:at], "damaged": content[:at] + b"?" + content[at + 1 :]}.get(kind, content),
        )
    if kind == "versioned":
        cloud.bucket_state = dataclasses.replace(cloud.bucket_state, versioned=True)
    record = recorded(first)
    counted, stored = sent(
        objects, bumped, dataclasses.replace(record, segments=()) if kind == "no-segments" else record
    )
    group = sum(size for size in SIZES.values() if size < 5 * MIB)

    assert parts_of(bumped) == stored
    # The damage is found only after the copy, so the bytes uploaded for the copy are counted, too.
    assert counted == group + (SIZES["small-c"] if kind == "damaged" else 0)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_call_and_made_again(first: DesiredLayer, bumped: DesiredLayer, moment: str) -> None:
    """At whatever call a process is killed, the next run creates the part."""
    for number in range(1 if moment == "before" else 2, 40, 2):
        cloud = Cloud()
        objects = fake_bucket(cloud)
        sent(objects, first, None)
        stand(objects, first)
        calls = iter(range(1, 1000))

        def kill(_: str) -> None:
            if next(calls) >= number:  # noqa: B023 - called in this round only
                raise Killed

        fake = cloud.connect(before=kill) if moment == "before" else cloud.connect(after=kill)
        try:
            sent(fake.bucket("artifacts"), bumped, recorded(first))
        except Killed:
            assert parts_of(bumped) == sent(objects, bumped, recorded(first))[1]
        else:
            assert number > 12
            return
    pytest.fail("it never ends")


def test_record_that_lies_is_none(first: DesiredLayer) -> None:
    """A record whose sizes exceed the layer is treated as damaged."""
    content = make_record(first)
    size = str(SIZES["small-c"]).encode()

    assert decode_record(content) is not None
    assert decode_record(content.replace(size, b"-5")) is None
    assert decode_record(content.replace(size, b"99999999")) is None
