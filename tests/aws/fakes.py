"""AWS in memory, implementing the protocols of `lamina.aws.api`. It can reject, lose replies, and simulate a kill at any call."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from aws.lambdafakes import FakeFunctions
from lamina.aws.api.account import Account
from lamina.aws.api.functions import Zip
from lamina.aws.api.inventory import CodeSize
from lamina.aws.api.layers import Grant, LayerVersion, Publication, PublishedVersion
from lamina.aws.api.s3 import BucketState, CopySource, Listed, SentPart, Stored, Unfinished
from lamina.aws.api.ssm import ParameterValue
from lamina.core.errors import AwsError
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lamina.aws.api.inventory import Attachment, StackLayers


class Killed(BaseException):
    """The simulated process was killed. Nothing that it does afterwards reaches AWS."""


@dataclass
class Object:
    """An object in a bucket."""

    content: bytes
    sha256: str | None
    written: float
    etag: str
    composite: str | None = None


@dataclass
class Version:
    number: int
    description: str
    content: bytes
    publication: Publication
    grants: dict[str, Grant] = field(default_factory=dict)
    visible: bool = True
    created: dt.datetime = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@dataclass
class Cloud:
    """The contents of one account in one region. Several publishers may share it."""

    account: Account = field(default_factory=lambda: Account(id="123456789012", partition="aws", region="eu-west-1"))
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    uploads: dict[str, tuple[str, str, float, dict[int, bytes]]] = field(default_factory=dict)
    versions: dict[str, list[Version]] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    earlier: dict[str, list[str]] = field(default_factory=dict)
    """The earlier values of parameters, oldest first."""
    bucket_region: str = "eu-west-1"
    bucket_state: BucketState = field(default_factory=lambda: BucketState(versioned=False, policy=None))
    attachments: list[Attachment] = field(default_factory=list)
    stacks: list[StackLayers] = field(default_factory=list)
    functions: FakeFunctions = field(default_factory=FakeFunctions)
    clock: float = 1000.0
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def connect(
        self,
        *,
        before: Callable[[str], None] | None = None,
        after: Callable[[str], None] | None = None,
        repeated: str = "",
    ) -> Fake:
        """

        Return one publisher's connection. *before* and *after* are called with the name of each operation, and may raise.

        Every reply to the operation *repeated* is lost, so that the SDK repeats the request.
        """
        return Fake(self, before or _nothing, after or _nothing, repeated)

    def pass_time(self, seconds: float) -> None:
        """Advance the clock of the servers."""
        with self.lock:
            self.clock += seconds

    def live(self, name: str) -> list[Version]:
        """Return the versions of a layer that have not been deleted."""
        return self.versions.get(name, [])

    def stored_keys(self) -> list[str]:
        """Return the keys of all objects in all buckets."""
        return sorted(key for _, key in self.objects)


def _nothing(_: str) -> None:
    pass


class Fake:
    """`Services`, `Layers`, `Objects` and `Parameters` of one publisher. It counts the bytes that it sends."""

    def __init__(
        self, cloud: Cloud, before: Callable[[str], None], after: Callable[[str], None], repeated: str
    ) -> None:
        self.cloud = cloud
        self.account = cloud.account
        self.bucket_name = ""
        self.calls: list[str] = []
        self.sent = 0
        self._before, self._after, self._repeated = before, after, repeated

    @property
    def layers(self) -> FakeLayers:
        return FakeLayers(self)

    @property
    def functions(self) -> FakeFunctions:
        return self.cloud.functions

    @property
    def inventory(self) -> FakeInventory:
        return FakeInventory(self)

    @property
    def parameters(self) -> FakeParameters:
        return FakeParameters(self)

    def bucket(self, name: str) -> FakeObjects:
        return FakeObjects(self, name)

    def do(self, operation: str, effect: Callable[[], object]) -> object:
        self._before(operation)
        with self.cloud.lock:
            self.calls.append(operation)
            result = effect()
            if operation == self._repeated:
                result = effect()
        self._after(operation)
        return result


def _read(body: BinaryIO | bytes) -> bytes:
    return body if isinstance(body, bytes) else body.read()


class FakeLayers:
    """An implementation of `Layers` that stores the layers in memory."""

    def __init__(self, fake: Fake) -> None:
        self.fake = fake

    def versions(self, name: str) -> Sequence[LayerVersion]:
        def effect() -> list[LayerVersion]:
            return [
                LayerVersion(
                    name=name,
                    number=each.number,
                    arn=self._arn(name, each.number),
                    description=each.description,
                    created=each.created,
                )
                for each in reversed(self.fake.cloud.live(name))
                if each.visible
            ]

        return self.fake.do("ListLayerVersions", effect)  # type: ignore[return-value]

    def version(self, name: str, number: int) -> PublishedVersion | None:
        def effect() -> PublishedVersion | None:
            found = [each for each in self.fake.cloud.live(name) if each.number == number]
            return self._published(name, found[0]) if found else None

        return self.fake.do("GetLayerVersion", effect)  # type: ignore[return-value]

    def publish(self, publication: Publication) -> PublishedVersion:
        def effect() -> PublishedVersion:
            cloud = self.fake.cloud
            if isinstance(publication.code, Zip):
                content = publication.code.content
                self.fake.sent += len(content)
            else:
                content = cloud.objects[publication.code.bucket, publication.code.key].content
            version = Version(
                number=next(cloud.numbers),
                description=publication.description,
                content=content,
                publication=publication,
            )
            cloud.versions.setdefault(publication.name, []).append(version)
            return self._published(publication.name, version)

        return self.fake.do("PublishLayerVersion", effect)  # type: ignore[return-value]

    def delete(self, name: str, number: int) -> None:
        def effect() -> None:
            versions = self.fake.cloud.versions
            versions[name] = [each for each in versions.get(name, []) if each.number != number]

        self.fake.do("DeleteLayerVersion", effect)

    def granted(self, name: str, number: int) -> frozenset[str]:
        def effect() -> frozenset[str]:
            return frozenset(sid for each in self.fake.cloud.live(name) if each.number == number for sid in each.grants)

        return self.fake.do("GetLayerVersionPolicy", effect)  # type: ignore[return-value]

    def grant(self, name: str, number: int, grant: Grant) -> None:
        def effect() -> None:
            (version,) = (each for each in self.fake.cloud.live(name) if each.number == number)
            version.grants[grant.statement_id] = grant

        self.fake.do("AddLayerVersionPermission", effect)

    def _arn(self, name: str, number: int) -> str:
        account = self.fake.account
        return f"arn:{account.partition}:lambda:{account.region}:{account.id}:layer:{name}:{number}"

    def _published(self, name: str, version: Version) -> PublishedVersion:
        return PublishedVersion(
            number=version.number,
            arn=self._arn(name, version.number),
            code_sha256=base64.b64encode(hashlib.sha256(version.content).digest()).decode(),
            code_bytes=len(version.content),
            description=version.description,
        )


class FakeInventory:
    """The layers, functions and stacks of the account. The test sets functions and stacks."""

    def __init__(self, fake: Fake) -> None:
        self.fake = fake

    def layers(self) -> Iterator[tuple[str, str]]:
        for name, versions in sorted(self.fake.cloud.versions.items()):
            yield name, versions[-1].description if versions else ""

    def versions(self, name: str) -> Sequence[LayerVersion]:
        return self.fake.layers.versions(name)

    def attachments(self) -> Iterator[Attachment]:
        yield from self.fake.do("ListFunctions", lambda: list(self.fake.cloud.attachments))  # type: ignore[misc]

    def stacks(self) -> Sequence[StackLayers]:
        return self.fake.do("DescribeStacks", lambda: list(self.fake.cloud.stacks))  # type: ignore[return-value]

    def code_size(self, name: str, number: int) -> CodeSize | None:
        found = self.fake.layers.version(name, number)
        unzipped = None if found is None else self.fake.cloud.functions.layer_bytes.get(found.arn)
        return None if found is None else CodeSize(zipped_bytes=found.code_bytes, unzipped_bytes=unzipped)

    def is_shared(self, name: str, number: int) -> bool:
        return bool(self.fake.layers.granted(name, number))

    def delete(self, name: str, number: int) -> None:
        self.fake.layers.delete(name, number)


class FakeParameters:
    """An implementation of `Parameters` that stores the values in memory."""

    def __init__(self, fake: Fake) -> None:
        self.fake = fake

    def get(self, name: str) -> str | None:
        return self.fake.do("GetParameter", lambda: self.fake.cloud.parameters.get(name))  # type: ignore[return-value]

    def below(self, path: str) -> Iterator[ParameterValue]:
        def effect() -> list[ParameterValue]:
            found = [name for name in self.fake.cloud.parameters if name.startswith(f"{path.rstrip('/')}/")]
            return [self._values(name)[-1] for name in found]

        yield from self.fake.do("GetParametersByPath", effect)  # type: ignore[misc]

    def history(self, name: str) -> Iterator[ParameterValue]:
        yield from self.fake.do("GetParameterHistory", lambda: self._values(name))  # type: ignore[misc]

    def _values(self, name: str) -> list[ParameterValue]:
        values = [*self.fake.cloud.earlier.get(name, ()), self.fake.cloud.parameters[name]]
        return [ParameterValue(name=name, value=value, number=number) for number, value in enumerate(values, 1)]

    def put(self, name: str, value: str) -> None:
        def effect() -> None:
            cloud = self.fake.cloud
            if name in cloud.parameters:
                cloud.earlier.setdefault(name, []).append(cloud.parameters[name])
            cloud.parameters[name] = value

        self.fake.do("PutParameter", effect)


class FakeObjects:
    """A bucket in memory that checks conditions, checksums and part sizes as strictly as S3."""

    def __init__(self, fake: Fake, bucket: str) -> None:
        self.fake = fake
        self.bucket = bucket

    def region(self) -> str | None:
        return self.fake.do("HeadBucket", lambda: self.fake.cloud.bucket_region)  # type: ignore[return-value]

    def state(self) -> BucketState:
        return self.fake.do("GetBucketPolicy", lambda: self.fake.cloud.bucket_state)  # type: ignore[return-value]

    def head(self, key: str) -> Stored | None:
        def effect() -> Stored | None:
            found = self.fake.cloud.objects.get((self.bucket, key))
            if found is None:
                return None
            age = self.fake.cloud.clock - found.written
            return Stored(
                size=len(found.content),
                sha256=found.sha256,
                etag=found.etag,
                version_id="v1" if self.fake.cloud.bucket_state.versioned else None,
                age_seconds=age,
                composite_sha256=found.composite,
            )

        return self.fake.do("HeadObject", effect)  # type: ignore[return-value]

    def listed(self, prefix: str) -> Iterator[Listed]:
        def effect() -> list[Listed]:
            cloud = self.fake.cloud
            return [
                Listed(key=key, size=len(found.content), age_seconds=cloud.clock - found.written)
                for (bucket, key), found in sorted(cloud.objects.items())
                if bucket == self.bucket and key.startswith(prefix)
            ]

        yield from self.fake.do("ListObjectsV2", effect)  # type: ignore[misc]

    def get(self, key: str, *, most: int | None = None) -> bytes | None:
        def effect() -> bytes | None:
            found = self.fake.cloud.objects.get((self.bucket, key))
            if found is None:
                return None
            return b"" if most is not None and len(found.content) > most else found.content

        return self.fake.do("GetObject", effect)  # type: ignore[return-value]

    def get_range(self, key: str, start: int, size: int) -> bytes | None:
        def effect() -> bytes | None:
            found = self.fake.cloud.objects.get((self.bucket, key))
            content = b"" if found is None else found.content[start : start + size]
            return content if len(content) == size else None

        return self.fake.do("GetObject", effect)  # type: ignore[return-value]

    def put(
        self, key: str, body: BinaryIO | bytes, *, sha256: str, absent: bool = True, replacing: str | None = None
    ) -> bool:
        content = _read(body)

        def effect() -> bool:
            found = self.fake.cloud.objects.get((self.bucket, key))
            if replacing is not None:
                if found is None or found.etag != replacing:
                    return False
            elif absent and found is not None:
                return False
            self._check(content, sha256)
            self.fake.sent += len(content)
            self._store(key, content, sha256)
            return True

        return self.fake.do("PutObject", effect)  # type: ignore[return-value]

    def delete(self, key: str) -> None:
        self.fake.do("DeleteObject", lambda: self.fake.cloud.objects.pop((self.bucket, key), None))

    def begin(self, key: str) -> str:
        def effect() -> str:
            cloud = self.fake.cloud
            upload = f"upload-{next(cloud.numbers)}"
            cloud.uploads[upload] = (self.bucket, key, cloud.clock, {})
            return upload

        return self.fake.do("CreateMultipartUpload", effect)  # type: ignore[return-value]

    def copy_part(self, key: str, upload: str, source: CopySource) -> SentPart:
        def effect() -> SentPart:
            cloud = self.fake.cloud
            content = cloud.objects[self.bucket, source.key].content
            if source.size is not None:
                if len(content) <= quotas().multipart_part_bytes:
                    raise AwsError("InvalidRequest: ranges of large objects only")
                if not 0 <= source.start < source.start + source.size <= len(content):
                    raise AwsError("InvalidArgument: range")
                content = content[source.start : source.start + source.size]
            self._parts(upload)[source.number] = content
            return self._sent(source.number, content)

        return self.fake.do("UploadPartCopy", effect)  # type: ignore[return-value]

    def send_part(self, key: str, upload: str, number: int, body: BinaryIO | bytes, *, sha256: str) -> SentPart:
        content = _read(body)

        def effect() -> SentPart:
            self._check(content, sha256)
            self.fake.sent += len(content)
            self._parts(upload)[number] = content
            return self._sent(number, content)

        return self.fake.do("UploadPart", effect)  # type: ignore[return-value]

    def complete(self, key: str, upload: str, parts: Sequence[SentPart]) -> bool:
        def effect() -> bool:
            cloud = self.fake.cloud
            if (self.bucket, key) in cloud.objects:
                return False
            pieces = [cloud.uploads[upload][3][part.number] for part in parts]
            if any(len(piece) < quotas().multipart_part_bytes for piece in pieces[:-1]):
                raise AwsError("EntityTooSmall")
            del cloud.uploads[upload]
            self._store(key, b"".join(pieces), None)
            digests = b"".join(hashlib.sha256(piece).digest() for piece in pieces)
            cloud.objects[self.bucket, key].composite = hashlib.sha256(digests).hexdigest()
            return True

        return self.fake.do("CompleteMultipartUpload", effect)  # type: ignore[return-value]

    def abort(self, key: str, upload: str) -> None:
        self.fake.do("AbortMultipartUpload", lambda: self.fake.cloud.uploads.pop(upload, None))

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        def effect() -> list[Unfinished]:
            cloud = self.fake.cloud
            return [
                Unfinished(key=key, id=upload, age_seconds=cloud.clock - begun)
                for upload, (bucket, key, begun, _) in cloud.uploads.items()
                if bucket == self.bucket and key.startswith(prefix)
            ]

        yield from self.fake.do("ListMultipartUploads", effect)  # type: ignore[misc]

    def _parts(self, upload: str) -> dict[int, bytes]:
        if upload not in self.fake.cloud.uploads:
            raise AwsError("NoSuchUpload")
        return self.fake.cloud.uploads[upload][3]

    def _check(self, content: bytes, sha256: str) -> None:
        if hashlib.sha256(content).hexdigest() != sha256:
            raise AwsError("BadDigest")

    def _store(self, key: str, content: bytes, sha256: str | None) -> None:
        cloud = self.fake.cloud
        etag = f'"{next(cloud.numbers)}"'
        cloud.objects[self.bucket, key] = Object(content=content, sha256=sha256, written=cloud.clock, etag=etag)

    @staticmethod
    def _sent(number: int, content: bytes) -> SentPart:
        return SentPart(number=number, etag=f'"{number}"', sha256=hashlib.sha256(content).hexdigest())
