"""One bucket through a client: `interfaces.Objects`."""

from __future__ import annotations

import base64
import datetime as dt
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from lamina.aws.api.protocols import BucketState, CopySource, Listed, SentPart, Stored, Unfinished
from lamina.core.errors import MissingBucketError
from lamina.core.values import code_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from lamina.aws.api.errors import Caller

__all__ = ["S3Bucket"]

_MISSING = frozenset({"missing"})
_PRESENT = frozenset({"present"})
# What is gone is answered otherwise than what changed, and means the same here.
_CHANGED = frozenset({"present", "missing"})
_NO_RANGE = frozenset({"missing", "out-of-range"})


class S3Bucket:
    """One bucket."""

    def __init__(self, call: Caller, bucket: str) -> None:
        """Ask through *call*."""
        self._call = call
        self.bucket = bucket

    def region(self) -> str | None:
        """Return the region that the bucket is in; raises MissingBucketError."""
        response = self._call(
            "HeadBucket", doing=f"look at bucket `{self.bucket}`", expected=_MISSING, Bucket=self.bucket
        )
        if response is None:
            raise MissingBucketError(
                f"There is no bucket `{self.bucket}`", hint="create it, or name another in `[tool.lamina.publish]`"
            )
        region = response.get("BucketRegion")
        return str(region) if region else None

    def state(self) -> BucketState:
        """Return what using the bucket by reference depends on."""
        versioning = self._call(
            "GetBucketVersioning", doing=f"see whether bucket `{self.bucket}` is versioned", Bucket=self.bucket
        )
        policy = self._call(
            "GetBucketPolicy",
            doing=f"read the policy of bucket `{self.bucket}`",
            expected=_MISSING,
            Bucket=self.bucket,
        )
        return BucketState(
            region=self.region(),
            versioned=(versioning or {}).get("Status") == "Enabled",
            policy=None if policy is None else str(policy["Policy"]),
        )

    def head(self, key: str) -> Stored | None:
        """Return what is known of the object, or nothing where there is none."""
        response = self._call(
            "HeadObject",
            doing=self._doing("look at", key),
            expected=_MISSING,
            Bucket=self.bucket,
            Key=key,
            ChecksumMode="ENABLED",
        )
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
        token: dict[str, Any] = {}
        while True:
            page = (
                self._call(
                    "ListObjectsV2", doing=self._doing("list", f"{prefix}*"), Bucket=self.bucket, Prefix=prefix, **token
                )
                or {}
            )
            for row in page.get("Contents", ()):
                yield Listed(key=row["Key"], size=row["Size"], age_seconds=_age(page, row["LastModified"]))
            if not page.get("NextContinuationToken"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def get(self, key: str, *, most: int | None = None) -> bytes | None:
        """Return a small object's content, or nothing where there is none; of more than *most* bytes not one."""
        return self._call.read(
            "GetObject", doing=self._doing("read", key), expected=_MISSING, most=most, Bucket=self.bucket, Key=key
        )

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
        response = self._call(
            "PutObject",
            doing=self._doing("store", key),
            expected=_CHANGED if replacing is not None else _PRESENT,
            Bucket=self.bucket,
            Key=key,
            Body=body,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=code_sha256(sha256),
            **condition,
        )
        return response is not None

    def delete(self, key: str) -> None:
        """Delete an object, or nothing."""
        self._call("DeleteObject", doing=self._doing("delete", key), Bucket=self.bucket, Key=key)

    def begin(self, key: str) -> str:
        """Begin a multipart upload and return its id."""
        response = self._call(
            "CreateMultipartUpload",
            doing=self._doing("begin", key),
            Bucket=self.bucket,
            Key=key,
            ChecksumAlgorithm="SHA256",
        )
        return str((response or {})["UploadId"])

    def copy_part(self, key: str, upload: str, source: CopySource) -> SentPart:
        """Make a stored object, or a range of it, a part."""
        span: dict[str, Any] = {} if source.size is None else {"CopySourceRange": _span(source.start, source.size)}
        response = self._call(
            "UploadPartCopy",
            doing=self._doing("copy a part into", key),
            Bucket=self.bucket,
            Key=key,
            UploadId=upload,
            PartNumber=source.number,
            CopySource={"Bucket": self.bucket, "Key": source.key},
            **span,
        )
        return _sent(source.number, (response or {})["CopyPartResult"])

    def send_part(self, key: str, upload: str, number: int, body: BinaryIO | bytes, *, sha256: str) -> SentPart:
        """Send a part."""
        response = self._call(
            "UploadPart",
            doing=self._doing("send a part of", key),
            Bucket=self.bucket,
            Key=key,
            UploadId=upload,
            PartNumber=number,
            Body=body,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=code_sha256(sha256),
        )
        return _sent(number, response or {})

    def complete(self, key: str, upload: str, parts: Sequence[SentPart]) -> bool:
        """Put the object together; say whether it was, which it is not where something stands at *key*."""
        rows = [
            {"PartNumber": part.number, "ETag": part.etag}
            | ({"ChecksumSHA256": code_sha256(part.sha256)} if part.sha256 is not None else {})
            for part in parts
        ]
        response = self._call(
            "CompleteMultipartUpload",
            doing=self._doing("put together", key),
            # Where the reply got lost, the SDK asks again, and the upload has become the object.
            expected=_CHANGED,
            Bucket=self.bucket,
            Key=key,
            UploadId=upload,
            MultipartUpload={"Parts": rows},
            IfNoneMatch="*",
        )
        return response is not None

    def abort(self, key: str, upload: str) -> None:
        """Give an upload up, with what was sent of it."""
        self._call(
            "AbortMultipartUpload",
            doing=self._doing("give up the upload of", key),
            expected=_MISSING,
            Bucket=self.bucket,
            Key=key,
            UploadId=upload,
        )

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the uploads that nobody finished of all keys that begin with *prefix*, page by page."""
        doing = self._doing("list uploads of", f"{prefix}*")
        markers: dict[str, Any] = {}
        while True:
            page = self._call("ListMultipartUploads", doing=doing, Bucket=self.bucket, Prefix=prefix, **markers) or {}
            for row in page.get("Uploads", ()):
                yield Unfinished(key=row["Key"], id=row["UploadId"], age_seconds=_age(page, row["Initiated"]))
            if not page.get("IsTruncated"):
                return
            markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _doing(self, verb: str, key: str) -> str:
        return f"{verb} `s3://{self.bucket}/{key}`"


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
