"""The objects of one bucket: what lamina asks of S3, as a protocol and its values, and the client that answers."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

from lamina.aws.api.errors import pages
from lamina.core.errors import MissingBucketError
from lamina.core.values import code_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from lamina.aws.api.errors import Caller

_MISSING = frozenset({"missing"})
_PRESENT = frozenset({"present"})
# What is gone is answered otherwise than what changed, and means the same here.
_CHANGED = frozenset({"present", "missing"})
_NO_RANGE = frozenset({"missing", "out-of-range"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What is known of an object."""

    size: int
    sha256: str | None
    """Hexadecimal, of its whole content, as S3 checked it; ``None`` for composed objects and those without checksum."""
    etag: str
    version_id: str | None
    age_seconds: float
    """By the server's own clock."""
    composite_sha256: str | None = None
    """Hexadecimal, of a composed object: the SHA-256 of the SHA-256 of its parts, where S3 knows it."""

    def proves(self, sha256: str, size: int) -> bool:
        """Return whether S3 itself says that the content has this SHA-256 and *size*, put there as it is or composed of one part."""
        if self.size != size:
            return False
        return self.sha256 == sha256 or self.composite_sha256 == hashlib.sha256(bytes.fromhex(sha256)).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """An object as it is listed."""

    key: str
    size: int
    age_seconds: float
    """By the server's own clock."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketState:
    """What decides whether a bucket will do."""

    versioned: bool
    policy: str | None
    """The bucket policy's JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CopySource:
    """A stored object, or a range of it, that is to be part *number* of another."""

    number: int
    key: str
    start: int = 0
    size: int | None = None
    """Of the range from *start* on; all of the object, if it is not given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SentPart:
    """A part that S3 has for an upload."""

    number: int
    etag: str
    sha256: str | None
    """Hexadecimal, where S3 said what it computed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unfinished:
    """A multipart upload that was begun."""

    key: str
    """Of the object that it was to become."""
    id: str
    age_seconds: float
    """By the server's own clock."""


class Objects(Protocol):
    """One bucket."""

    @property
    def bucket(self) -> str:
        """Its name."""

    def region(self) -> str | None:
        """Return the region that the bucket is in; raises MissingBucketError."""

    def state(self) -> BucketState:
        """Return what using the bucket by reference depends on."""

    def head(self, key: str) -> Stored | None:
        """Return what is known of the object, or nothing where there is none."""

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Yield all objects whose keys begin with *prefix*, page by page."""

    def get(self, key: str, *, most: int | None = None) -> bytes | None:
        """Return a small object's content, or nothing where there is none; of more than *most* bytes not one."""

    def get_range(self, key: str, start: int, size: int) -> bytes | None:
        """Return *size* bytes of an object from *start* on, or nothing where it has not so many."""

    def put(
        self, key: str, body: BinaryIO | bytes, *, sha256: str, absent: bool = True, replacing: str | None = None
    ) -> bool:
        """
        Store *body*, whose SHA-256 S3 is to check; say whether it was stored.

        It is not where *absent* is asked for and something is there, or where *replacing* is not its ETag any more.
        """

    def delete(self, key: str) -> None:
        """Delete an object, or nothing."""

    def begin(self, key: str) -> str:
        """Begin a multipart upload and return its id."""

    def copy_part(self, key: str, upload: str, source: CopySource) -> SentPart:
        """Make a stored object, or a range of it, a part."""

    def send_part(self, key: str, upload: str, number: int, body: BinaryIO | bytes, *, sha256: str) -> SentPart:
        """Send a part."""

    def complete(self, key: str, upload: str, parts: Sequence[SentPart]) -> bool:
        """Put the object together; say whether it was, which it is not where something is at *key*."""

    def abort(self, key: str, upload: str) -> None:
        """Give an upload up, with what was sent of it."""

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the uploads that nobody finished of all keys that begin with *prefix*, page by page."""


class S3Bucket:
    """One bucket."""

    def __init__(self, call: Caller, bucket: str) -> None:
        """Ask through *call*."""
        self._call = call
        self.bucket = bucket

    def region(self) -> str | None:
        """Return the region that the bucket is in; raises MissingBucketError."""
        doing = f"look at bucket `{self.bucket}`"
        response = self._call("HeadBucket", doing=doing, expected=_MISSING, Bucket=self.bucket)
        if response is None:
            raise MissingBucketError(
                f"There is no bucket `{self.bucket}`", hint="create it, or name another in `[tool.lamina.publish]`"
            )
        return str(response.get("BucketRegion") or "") or None

    def state(self) -> BucketState:
        """Return what using the bucket by reference depends on."""
        doing = f"see whether bucket `{self.bucket}` is versioned"
        versioning = self._call("GetBucketVersioning", doing=doing, Bucket=self.bucket) or {}
        doing = f"read the policy of bucket `{self.bucket}`"
        policy = self._call("GetBucketPolicy", doing=doing, expected=_MISSING, Bucket=self.bucket)
        return BucketState(
            versioned=versioning.get("Status") == "Enabled",
            policy=None if policy is None else str(policy["Policy"]),
        )

    def head(self, key: str) -> Stored | None:
        """Return what is known of the object, or nothing where there is none."""
        response = self._ask("HeadObject", "look at", key, expected=_MISSING, ChecksumMode="ENABLED")
        if response is None:
            return None
        # That of a composed object, whose ETag counts the parts, is the checksum of checksums.
        composed, checksum = "-" in response["ETag"], response.get("ChecksumSHA256")
        return Stored(
            size=response["ContentLength"],
            sha256=None if composed else _hexadecimal(checksum),
            composite_sha256=_hexadecimal(checksum.partition("-")[0]) if composed and checksum else None,
            etag=response["ETag"],
            version_id=response.get("VersionId"),
            age_seconds=_age(response, response["LastModified"]),
        )

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Yield all objects whose keys begin with *prefix*, page by page."""
        for page in self._pages("ListObjectsV2", "list", prefix):
            for row in page.get("Contents", ()):
                yield Listed(key=row["Key"], size=row["Size"], age_seconds=_age(page, row["LastModified"]))

    def get(self, key: str, *, most: int | None = None) -> bytes | None:
        """Return a small object's content, or nothing where there is none; of more than *most* bytes not one."""
        doing = self._doing("read", key)
        return self._call.read("GetObject", doing=doing, expected=_MISSING, most=most, Bucket=self.bucket, Key=key)

    def get_range(self, key: str, start: int, size: int) -> bytes | None:
        """Return *size* bytes of an object from *start* on, or nothing where it has not so many."""
        content = self._call.read(
            "GetObject",
            doing=self._doing("read", key),
            expected=_NO_RANGE,
            # Whoever does not understand ranges would send everything.
            most=size,
            Bucket=self.bucket,
            Key=key,
            Range=_span(start, size),
        )
        return content if content is not None and len(content) == size else None

    def put(
        self, key: str, body: BinaryIO | bytes, *, sha256: str, absent: bool = True, replacing: str | None = None
    ) -> bool:
        """Store *body*, whose SHA-256 S3 is to check; say whether it was stored."""
        condition = {"IfMatch": replacing} if replacing is not None else {"IfNoneMatch": "*"} if absent else {}
        expected = _CHANGED if replacing is not None else _PRESENT
        checked = _checked(body, sha256)
        return self._ask("PutObject", "store", key, expected=expected, **checked, **condition) is not None

    def delete(self, key: str) -> None:
        """Delete an object, or nothing."""
        self._ask("DeleteObject", "delete", key)

    def begin(self, key: str) -> str:
        """Begin a multipart upload and return its id."""
        response = self._ask("CreateMultipartUpload", "begin", key, ChecksumAlgorithm="SHA256") or {}
        return str(response["UploadId"])

    def copy_part(self, key: str, upload: str, source: CopySource) -> SentPart:
        """Make a stored object, or a range of it, a part."""
        span: dict[str, Any] = {} if source.size is None else {"CopySourceRange": _span(source.start, source.size)}
        response = self._ask(
            "UploadPartCopy",
            "copy a part into",
            key,
            UploadId=upload,
            PartNumber=source.number,
            CopySource={"Bucket": self.bucket, "Key": source.key},
            **span,
        )
        return _sent(source.number, (response or {})["CopyPartResult"])

    def send_part(self, key: str, upload: str, number: int, body: BinaryIO | bytes, *, sha256: str) -> SentPart:
        """Send a part."""
        checked = _checked(body, sha256)
        response = self._ask("UploadPart", "send a part of", key, UploadId=upload, PartNumber=number, **checked)
        return _sent(number, response or {})

    def complete(self, key: str, upload: str, parts: Sequence[SentPart]) -> bool:
        """Put the object together; say whether it was, which it is not where something is at *key*."""
        rows = [
            {"PartNumber": part.number, "ETag": part.etag}
            | ({"ChecksumSHA256": code_sha256(part.sha256)} if part.sha256 is not None else {})
            for part in parts
        ]
        response = self._ask(
            "CompleteMultipartUpload",
            "put together",
            key,
            # Where the reply got lost, the SDK asks again, and the upload has become the object.
            expected=_CHANGED,
            UploadId=upload,
            MultipartUpload={"Parts": rows},
            IfNoneMatch="*",
        )
        return response is not None

    def abort(self, key: str, upload: str) -> None:
        """Give an upload up, with what was sent of it."""
        self._ask("AbortMultipartUpload", "give up the upload of", key, expected=_MISSING, UploadId=upload)

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the uploads that nobody finished of all keys that begin with *prefix*, page by page."""
        for page in self._pages("ListMultipartUploads", "list uploads of", prefix):
            for row in page.get("Uploads", ()):
                yield Unfinished(key=row["Key"], id=row["UploadId"], age_seconds=_age(page, row["Initiated"]))

    def _ask(
        self, operation: str, verb: str, key: str, *, expected: frozenset[str] = frozenset(), **parameters: Any
    ) -> dict[str, Any] | None:
        doing = self._doing(verb, key)
        return self._call(operation, doing=doing, expected=expected, Bucket=self.bucket, Key=key, **parameters)

    def _pages(self, operation: str, verb: str, prefix: str) -> Iterator[dict[str, Any]]:
        doing = self._doing(verb, f"{prefix}*")
        return pages(self._call, operation, doing=doing, Bucket=self.bucket, Prefix=prefix)

    def _doing(self, verb: str, key: str) -> str:
        return f"{verb} `s3://{self.bucket}/{key}`"


def _checked(body: BinaryIO | bytes, sha256: str) -> dict[str, Any]:
    return {"Body": body, "ChecksumAlgorithm": "SHA256", "ChecksumSHA256": code_sha256(sha256)}


def _span(start: int, size: int) -> str:
    return f"bytes={start}-{start + size - 1}"


def _sent(number: int, response: dict[str, Any]) -> SentPart:
    return SentPart(number=number, etag=response["ETag"], sha256=_hexadecimal(response.get("ChecksumSHA256")))


def _hexadecimal(checksum: str | None) -> str | None:
    return None if checksum is None or "-" in checksum else base64.b64decode(checksum).hex()


def _age(response: dict[str, Any], since: dt.datetime) -> float:
    """Return how long ago *since* was for the server, whatever this machine's clock says."""
    said = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    now = parsedate_to_datetime(said) if said else dt.datetime.now(tz=dt.UTC)
    return (now - since).total_seconds()
