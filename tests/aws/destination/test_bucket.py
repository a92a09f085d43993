"""The operations of a bucket beyond single calls: reading ranges, writing once, and composing objects."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import pytest

from aws.fakes import Cloud
from lamina.aws.destination.bucket import Bucket
from lamina.aws.destination.naming import Keys
from lamina.core.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.aws.api.s3 import SentPart

KEY = "lamina/parts/x"
CONTENT = b"0123456789"


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def bucket(cloud: Cloud) -> Bucket:
    return Bucket(objects=cloud.connect().bucket("artifacts"), keys=Keys("lamina/"))


def put(bucket: Bucket, content: bytes) -> None:
    bucket.objects.put(KEY, content, sha256=hashlib.sha256(content).hexdigest())


def test_url(bucket: Bucket) -> None:
    """An object's URL contains the bucket and the key."""
    assert bucket.url(KEY) == "s3://artifacts/lamina/parts/x"


def test_reads_a_range(bucket: Bucket) -> None:
    """A range is read from its first byte. An object that is too short yields nothing."""
    put(bucket, CONTENT)

    assert b"".join(bucket.read(KEY, 2, 5)) == b"23456"
    assert b"".join(bucket.read(KEY, 2, 50)) == b""
    assert b"".join(bucket.read("lamina/parts/y", 0, 1)) == b""


@pytest.mark.parametrize(("present", "keep", "sent", "left"), [
    (None, False, True, CONTENT),
    (b"same", True, False, b"same"),
    (b"damaged", False, True, CONTENT),
])  # fmt: skip
def test_writes_once(bucket: Bucket, present: bytes | None, keep: bool, sent: bool, left: bytes) -> None:
    """An existing object is kept if it may be kept, and replaced otherwise."""
    if present is not None:
        put(bucket, present)
    written = bucket.write(KEY, io.BytesIO(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest(), keep=lambda: keep)

    assert sent == written
    assert left == bucket.objects.get(KEY)


def test_a_conflict_starts_another_upload(bucket: Bucket, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another writer is faster but fails, the object is uploaded again, and the first upload is aborted."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    complete, uploads = bucket.objects.complete, list[str]()

    def conflict(key: str, upload: str, parts: Sequence[SentPart]) -> bool:
        uploads.append(upload)
        return len(uploads) > 1 and complete(key, upload, parts)

    monkeypatch.setattr(bucket.objects, "complete", conflict)
    bucket.compose(KEY, lambda upload: [bucket.objects.send_part(KEY, upload, 1, CONTENT, sha256=sha256)])

    assert bucket.objects.get(KEY) == CONTENT
    assert len(set(uploads)) == 2
    assert {} == cloud.uploads


def test_composes_or_aborts(bucket: Bucket, cloud: Cloud) -> None:
    """An object is composed of the uploaded parts, and the upload is aborted if a part fails."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()

    def fail(_: str) -> list[object]:
        raise AwsError("no part")

    with pytest.raises(AwsError) as caught:
        bucket.compose(KEY, fail)  # type: ignore[arg-type]  # it returns nothing

    assert str(caught.value) == "no part"
    assert {} == cloud.uploads

    bucket.compose(KEY, lambda upload: [bucket.objects.send_part(KEY, upload, 1, CONTENT, sha256=sha256)])

    assert bucket.objects.get(KEY) == CONTENT
