"""The remote index, and the verification of layers whose bytes only S3 has: wrong data is refused and replaced."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from aws.fakes import Cloud
from aws.made import PART, make_layer, make_wanted
from lamina.aws.destination.bucket import Bucket
from lamina.aws.destination.naming import Keys
from lamina.aws.publish.remote_index import RemoteIndex, unwrap, wrap
from lamina.aws.publish.upload import compose, verify
from lamina.aws.publish.zip_source import LayerZip
from lamina.core.errors import IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

    from aws.fakes import FakeObjects

KEYS = Keys("lamina/")
A, B = "a" * 64, "b" * 64


@pytest.fixture
def objects() -> FakeObjects:
    return Cloud().connect().bucket("artifacts")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        wrap(A, b"payload")[:-1],
        wrap(A, b"payload") + b"x",
        wrap(B, b"payload"),
        wrap(A, b"payload").replace(hashlib.sha256(b"payload").hexdigest().encode(), b"0" * 64),
        b"x" * ((16 << 20) + 1),
    ],
)
def test_refused_and_replaced(objects: FakeObjects, content: bytes) -> None:
    """A truncated, oversized or exchanged entry is refused, and the next publisher replaces it."""
    objects.put(KEYS.directory(A), content, sha256=hashlib.sha256(content).hexdigest())
    index = RemoteIndex(Bucket(objects=objects, keys=KEYS))

    assert {} == index.read([A, B])
    assert {A} == index.refused
    assert 0 < index.put({A: wrap(A, b"payload")})
    assert {A: b"payload"} == RemoteIndex(Bucket(objects=objects, keys=KEYS)).read([A])


def test_each_is_read_and_sent_once(objects: FakeObjects) -> None:
    """An entry is downloaded only once, and is not uploaded if it exists or is known to exist."""
    RemoteIndex(Bucket(objects=objects, keys=KEYS)).put({A: wrap(A, b"one")})
    index = RemoteIndex(Bucket(objects=objects, keys=KEYS))
    index.read([A])
    index.read([A])
    sent = index.put({A: wrap(A, b"two"), B: wrap(B, b"known")}, known={B})

    assert (0, 1) == (sent, objects.fake.calls.count("GetObject"))
    assert {A: b"one"} == index.read([A])


def test_bombs_are_not_inflated() -> None:
    """A payload larger than the limit is refused without decompressing all of it."""
    assert unwrap(A, wrap(A, bytes((64 << 20) + 1))) is None


def composed(objects: FakeObjects, directory: Path) -> tuple[LayerZip, str]:
    wanted = make_wanted(make_layer(directory, {"big": PART + 1, "small": 1000}))
    source = LayerZip.hashed(wanted)
    key = KEYS.layer(wanted.layer.digest)
    for sha256, part in source.unique_parts():
        with source.open(part) as body:
            objects.put(KEYS.part(sha256), body, sha256=sha256)
    compose(Bucket(objects=objects, keys=KEYS), source)
    return source, key


def test_proven_by_s3(objects: FakeObjects, tmp_path: Path) -> None:
    """If S3 reports the right composite checksum, nothing is downloaded."""
    source, _ = composed(objects, tmp_path)
    before = len(objects.fake.calls)

    assert verify(Bucket(objects=objects, keys=KEYS), source) is None
    assert ["HeadObject"] == objects.fake.calls[before:]


def test_proven_by_reading(objects: FakeObjects, tmp_path: Path) -> None:
    """If S3 reports no checksum, every part is downloaded and compared, and the whole zip is hashed."""
    source, key = composed(objects, tmp_path)
    objects.fake.cloud.objects["artifacts", key].composite = None

    assert verify(Bucket(objects=objects, keys=KEYS), source) == source.sha256


@pytest.mark.parametrize("told", [True, False])
def test_not_proven(objects: FakeObjects, tmp_path: Path, told: bool) -> None:
    """A layer with the wrong content is deleted, whether S3's checksum or its download reveals it."""
    source, key = composed(objects, tmp_path)
    stored = objects.fake.cloud.objects["artifacts", key]
    stored.content = b"?" + stored.content[1:]
    stored.composite = "0" * 64 if told else None
    with pytest.raises(IntegrityError) as caught:
        verify(Bucket(objects=objects, keys=KEYS), source)

    assert f"the object `s3://artifacts/{key}` differs from the layer that lamina uploaded" == str(caught.value)
    assert objects.head(key) is None
