"""
Send the code of functions to Lambda, inside the API call or through the bucket.

Code that is too large for an API call goes through the bucket. So does code that several functions share: lamina uploads it once, and
Lambda copies it from the bucket for each function.

Lambda keeps no copy of the code of a function that is stored by reference. Such code always goes through a bucket with versioning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.aws.api.functions import S3Code, Storage, Zip
from lamina.core.errors import DeployError
from lamina.core.files import file_sha256

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from lamina.aws.destination.bucket import Bucket


class CodeUploader:
    """Uploads function packages. Methods may be called from several threads at once, for different packages."""

    def __init__(self, bucket: Bucket | None, *, direct_bytes: int, shared: Collection[str] = frozenset()) -> None:
        """
        Use *bucket* for code larger than *direct_bytes* and for code with a SHA-256 in *shared*.

        All other code is sent inside the API call, and so is all code if *bucket* is ``None``.
        """
        self._bucket = bucket
        self._direct_bytes = direct_bytes
        self._shared = shared

    def upload(self, path: Path, storage: Storage = Storage.COPY) -> int:
        """
        Upload the zip at *path* to the bucket, unless it is sent inside the API call.

        Return the number of bytes uploaded, which is 0 if the bucket already has the zip. Raises `AwsError`, such as `DeployError` if
        *storage* requires a bucket with versioning and there is none.
        """
        sha256, size = file_sha256(path), path.stat().st_size
        bucket = self._bucket_for(path, sha256, storage)
        if bucket is None:
            return 0
        with path.open("rb") as file:
            sent = size if bucket.write(_key(bucket, sha256, storage), file, sha256=sha256) else 0
        if storage is Storage.REFERENCE:
            _version_id(bucket, _key(bucket, sha256, storage))
        return sent

    def code(self, path: Path, storage: Storage = Storage.COPY) -> Zip | S3Code:
        """
        Return the zip at *path* as the code of an API call: its content, or its location in the bucket. Call `upload` first.

        Raises the same errors as `upload`.
        """
        sha256 = file_sha256(path)
        bucket = self._bucket_for(path, sha256, storage)
        if bucket is None:
            return Zip(content=path.read_bytes())
        key = _key(bucket, sha256, storage)
        version_id = _version_id(bucket, key) if storage is Storage.REFERENCE else None
        return S3Code(bucket=bucket.name, key=key, storage=storage, version_id=version_id)

    def sent_bytes(self, path: Path, storage: Storage = Storage.COPY) -> int:
        """Return the size of the zip at *path* in bytes if it is sent inside the API call; 0 if it goes through the bucket."""
        size = path.stat().st_size
        return size if self._bucket_for(path, file_sha256(path), storage) is None else 0

    def _bucket_for(self, path: Path, sha256: str, storage: Storage) -> Bucket | None:
        if storage is Storage.REFERENCE and self._bucket is None:
            raise DeployError(
                "the function's code is stored by reference in a bucket, so its new code needs a bucket too",
                hint="set `bucket` in `[tool.lamina.publish]`",
            )
        through_bucket = (
            storage is Storage.REFERENCE or path.stat().st_size > self._direct_bytes or sha256 in self._shared
        )
        return self._bucket if through_bucket else None


def _version_id(bucket: Bucket, key: str) -> str:
    stored = bucket.objects.head(key)
    if stored is None or stored.version_id in {None, "null"}:
        raise DeployError(
            f"the function's code is stored by reference, but bucket `{bucket.name}` does not keep versions of its objects",
            hint=f"enable versioning: `aws s3api put-bucket-versioning --bucket {bucket.name} --versioning-configuration Status=Enabled`",
        )
    return str(stored.version_id)


def _key(bucket: Bucket, sha256: str, storage: Storage) -> str:
    return bucket.keys.referenced(sha256) if storage is Storage.REFERENCE else bucket.keys.package(sha256)
