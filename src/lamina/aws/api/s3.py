"""Read and write the objects of one S3 bucket: the `Objects` protocol, its value classes, and the client that implements it."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

from lamina.aws.api.errors import pages, parsing
from lamina.core.errors import MissingBucketError
from lamina.core.values import code_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from lamina.aws.api.errors import Caller

_SERVICE = "s3"
_MISSING = frozenset({"missing"})
_PRESENT = frozenset({"present"})
# S3 returns different errors for a deleted and for a changed object; both mean that the condition failed.
_CHANGED = frozenset({"present", "missing"})
# After a conflict with another writer, S3 requires a new upload (API reference, CompleteMultipartUpload, 2026-11).
_NOT_COMPLETED = _CHANGED | {"conflict"}
_NO_RANGE = frozenset({"missing", "out-of-range"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """The metadata of an object in S3."""

    size: int
    sha256: str | None
    """The hexadecimal SHA-256 of the content, verified by S3; ``None`` for multipart objects and objects without a checksum."""
    etag: str
    version_id: str | None
    age_seconds: float
    """The object's age in seconds, by the server's clock."""
    composite_sha256: str | None = None
    """For a multipart object, the hexadecimal SHA-256 of its parts' concatenated SHA-256 hashes; ``None`` if S3 does not report it."""

    def proves(self, sha256: str, size: int) -> bool:
        """Return whether S3 reports this *size* and *sha256*. Always false for multipart objects with several parts."""
        if self.size != size:
            return False
        return self.sha256 == sha256 or self.composite_sha256 == hashlib.sha256(bytes.fromhex(sha256)).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """An object in a bucket listing."""

    key: str
    size: int
    age_seconds: float
    """The object's age in seconds, by the server's clock."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketState:
    """The bucket settings that ``storage = "reference"`` depends on."""

    versioned: bool
    policy: str | None
    """The bucket policy as JSON; ``None`` if the bucket has no policy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CopySource:
    """An object or a range of an object, to copy as part *number* of a multipart upload."""

    number: int
    key: str
    start: int = 0
    size: int | None = None
    """The size of the range in bytes, which begins at *start*; ``None`` for the whole object."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SentPart:
    """A part of a multipart upload that S3 has received or copied."""

    number: int
    etag: str
    sha256: str | None
    """The part's hexadecimal SHA-256, or ``None`` if S3 did not report it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unfinished:
    """A multipart upload that was started but neither completed nor aborted."""

    key: str
    """The key of the object that the upload would create."""
    id: str
    age_seconds: float
    """The upload's age in seconds, by the server's clock."""


class Objects(Protocol):
    """The objects of one S3 bucket."""

    @property
    def bucket(self) -> str:
        """The bucket's name."""

    def region(self) -> str | None:
        """Return the bucket's region, or ``None`` if S3 does not report it. Raises `MissingBucketError` if the bucket does not exist."""

    def state(self) -> BucketState:
        """Return the bucket's versioning state and policy."""

    def head(self, key: str) -> Stored | None:
        """Return the object's metadata, or ``None`` if the object does not exist."""

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Yield all objects whose keys start with *prefix*, reading the listing page by page."""

    def get(self, key: str, *, most: int | None = None) -> bytes | None:
        """Return an object's content, or ``None`` if the object does not exist. Return empty bytes if the content exceeds *most* bytes."""

    def get_range(self, key: str, start: int, size: int) -> bytes | None:
        """Return *size* bytes of an object, beginning at *start*, or ``None`` if the object is missing or too short."""

    def put(
        self, key: str, body: BinaryIO | bytes, *, sha256: str, absent: bool = True, replacing: str | None = None
    ) -> bool:
        """
        Store *body*, and return whether it was stored. S3 checks the content against *sha256*.

        *absent*: do not overwrite an existing object. *replacing*: only overwrite an existing object that has this ETag; *absent* is
        then ignored.
        """

    def delete(self, key: str) -> None:
        """Delete the object at *key*, if it exists."""

    def begin(self, key: str) -> str:
        """Start a multipart upload to *key*, and return its ID."""

    def copy_part(self, key: str, upload: str, source: CopySource) -> SentPart:
        """Copy *source*, which is in the same bucket, into a multipart upload as a part."""

    def send_part(self, key: str, upload: str, number: int, body: BinaryIO | bytes, *, sha256: str) -> SentPart:
        """Upload *body* as part *number* of a multipart upload. S3 checks the content against *sha256*."""

    def complete(self, key: str, upload: str, parts: Sequence[SentPart]) -> bool:
        """
        Complete a multipart upload, and return whether this request completed it.

        It does not if an object exists at *key*, if the upload does not exist, or if somebody writes to *key* at the same time.
        """

    def abort(self, key: str, upload: str) -> None:
        """Abort a multipart upload, if it exists. S3 deletes the parts that it has received."""

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the unfinished multipart uploads to keys that start with *prefix*, reading the listing page by page."""


class S3Bucket:
    """The `Objects` protocol over the S3 API."""

    def __init__(self, call: Caller, bucket: str) -> None:
        self._call = call
        self.bucket = bucket

    def region(self) -> str | None:
        """Return the bucket's region, or ``None`` if S3 does not report it. Raises `MissingBucketError` if the bucket does not exist."""
        doing = f"access bucket `{self.bucket}`"
        response = self._call("HeadBucket", doing=doing, expected=_MISSING, Bucket=self.bucket)
        if response is None:
            raise MissingBucketError(
                f"bucket `{self.bucket}` does not exist",
                hint="create the bucket, or set another `bucket` in `[tool.lamina.publish]`",
            )
        return str(response.get("BucketRegion") or "") or None

    def state(self) -> BucketState:
        """Return the bucket's versioning state and policy."""
        doing = f"read the versioning state of bucket `{self.bucket}`"
        versioning = self._call("GetBucketVersioning", doing=doing, Bucket=self.bucket) or {}
        doing = f"read the policy of bucket `{self.bucket}`"
        policy = self._call("GetBucketPolicy", doing=doing, expected=_MISSING, Bucket=self.bucket)
        return BucketState(
            versioned=versioning.get("Status") == "Enabled",
            policy=None if policy is None else str(policy["Policy"]),
        )

    def head(self, key: str) -> Stored | None:
        """Return the object's metadata, or ``None`` if the object does not exist."""
        response = self._ask("HeadObject", "read the metadata of", key, expected=_MISSING, ChecksumMode="ENABLED")
        if response is None:
            return None
        # The ETag of a multipart object ends with the number of parts, and its checksum is the hash of the parts' hashes.
        composed, checksum = "-" in response["ETag"], response.get("ChecksumSHA256")
        with parsing(_SERVICE, self._doing("read the metadata of", key)):
            return Stored(
                size=response["ContentLength"],
                sha256=None if composed else _hexadecimal(checksum),
                composite_sha256=_hexadecimal(checksum.partition("-")[0]) if composed and checksum else None,
                etag=response["ETag"],
                version_id=response.get("VersionId"),
                age_seconds=_age(response, response["LastModified"]),
            )

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Yield all objects whose keys start with *prefix*, reading the listing page by page."""
        for page in self._pages("ListObjectsV2", "list", prefix):
            for row in page.get("Contents", ()):
                with parsing(_SERVICE, self._doing("list", f"{prefix}*")):
                    age = _age(page, row["LastModified"])
                yield Listed(key=row["Key"], size=row["Size"], age_seconds=age)

    def get(self, key: str, *, most: int | None = None) -> bytes | None:
        """Return an object's content, or ``None`` if the object does not exist. Return empty bytes if the content exceeds *most* bytes."""
        doing = self._doing("read", key)
        return self._call.read("GetObject", doing=doing, expected=_MISSING, most=most, Bucket=self.bucket, Key=key)

    def get_range(self, key: str, start: int, size: int) -> bytes | None:
        """Return *size* bytes of an object, beginning at *start*, or ``None`` if the object is missing or too short."""
        content = self._call.read(
            "GetObject",
            doing=self._doing("read", key),
            expected=_NO_RANGE,
            # A server that does not support ranges would send the whole object.
            most=size,
            Bucket=self.bucket,
            Key=key,
            Range=_span(start, size),
        )
        return content if content is not None and len(content) == size else None

    def put(
        self, key: str, body: BinaryIO | bytes, *, sha256: str, absent: bool = True, replacing: str | None = None
    ) -> bool:
        """
        Store *body*, and return whether it was stored. S3 checks the content against *sha256*.

        *absent*: do not overwrite an existing object. *replacing*: only overwrite an existing object that has this ETag; *absent* is
        then ignored.
        """
        condition = {"IfMatch": replacing} if replacing is not None else {"IfNoneMatch": "*"} if absent else {}
        expected = _CHANGED if replacing is not None else _PRESENT
        checked = _checked(body, sha256)
        return self._ask("PutObject", "store", key, expected=expected, **checked, **condition) is not None

    def delete(self, key: str) -> None:
        """Delete the object at *key*, if it exists."""
        self._ask("DeleteObject", "delete", key)

    def begin(self, key: str) -> str:
        """Start a multipart upload to *key*, and return its ID."""
        response = self._ask("CreateMultipartUpload", "start the upload of", key, ChecksumAlgorithm="SHA256") or {}
        return str(response["UploadId"])

    def copy_part(self, key: str, upload: str, source: CopySource) -> SentPart:
        """Copy *source*, which is in the same bucket, into a multipart upload as a part."""
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
        with parsing(_SERVICE, self._doing("copy a part into", key)):
            return _sent(source.number, (response or {})["CopyPartResult"])

    def send_part(self, key: str, upload: str, number: int, body: BinaryIO | bytes, *, sha256: str) -> SentPart:
        """Upload *body* as part *number* of a multipart upload. S3 checks the content against *sha256*."""
        checked = _checked(body, sha256)
        response = self._ask("UploadPart", "send a part of", key, UploadId=upload, PartNumber=number, **checked)
        with parsing(_SERVICE, self._doing("send a part of", key)):
            return _sent(number, response or {})

    def complete(self, key: str, upload: str, parts: Sequence[SentPart]) -> bool:
        """
        Complete a multipart upload, and return whether this request completed it.

        It does not if an object exists at *key*, if the upload does not exist, or if somebody writes to *key* at the same time.
        """
        rows = [
            {"PartNumber": part.number, "ETag": part.etag}
            | ({"ChecksumSHA256": code_sha256(part.sha256)} if part.sha256 is not None else {})
            for part in parts
        ]
        response = self._ask(
            "CompleteMultipartUpload",
            "complete the upload of",
            key,
            # If the reply is lost, the SDK repeats the request. By then the upload no longer exists, because the object does.
            expected=_NOT_COMPLETED,
            UploadId=upload,
            MultipartUpload={"Parts": rows},
            IfNoneMatch="*",
        )
        return response is not None

    def abort(self, key: str, upload: str) -> None:
        """Abort a multipart upload, if it exists. S3 deletes the parts that it has received."""
        self._ask("AbortMultipartUpload", "abort the upload of", key, expected=_MISSING, UploadId=upload)

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the unfinished multipart uploads to keys that start with *prefix*, reading the listing page by page."""
        for page in self._pages("ListMultipartUploads", "list the uploads of", prefix):
            for row in page.get("Uploads", ()):
                with parsing(_SERVICE, self._doing("list the uploads of", f"{prefix}*")):
                    age = _age(page, row["Initiated"])
                yield Unfinished(key=row["Key"], id=row["UploadId"], age_seconds=age)

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
    return None if checksum is None or "-" in checksum else base64.b64decode(checksum, validate=True).hex()


def _age(response: dict[str, Any], since: dt.datetime) -> float:
    """Return the seconds since *since*, by the date of the *response*, or by this machine's clock if the response has no date."""
    said = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    now = parsedate_to_datetime(said) if said else dt.datetime.now(tz=dt.UTC)
    return (now - since).total_seconds()
