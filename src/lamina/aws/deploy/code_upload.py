"""
Send the code of functions to Lambda, inside the API call or through the bucket.

Code that is too large for an API call goes through the bucket. So does code that several functions share: lamina uploads it once, and
Lambda copies it from the bucket for each function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.aws.api.functions import S3Code, Zip
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

    def upload(self, path: Path) -> int:
        """
        Upload the zip at *path* to the bucket, unless it is sent inside the API call.

        Return the number of bytes uploaded, which is 0 if the bucket already has the zip. Raises `AwsError`.
        """
        sha256, size = file_sha256(path), path.stat().st_size
        bucket = self._bucket_for(path, sha256)
        if bucket is None:
            return 0
        with path.open("rb") as file:
            return size if bucket.write(bucket.keys.package(sha256), file, sha256=sha256) else 0

    def code(self, path: Path) -> Zip | S3Code:
        """Return the zip at *path* as the code of an API call: its content, or its location in the bucket. Call `upload` first."""
        sha256 = file_sha256(path)
        bucket = self._bucket_for(path, sha256)
        if bucket is None:
            return Zip(content=path.read_bytes())
        return S3Code(bucket=bucket.name, key=bucket.keys.package(sha256))

    def sent_bytes(self, path: Path) -> int:
        """Return the size of the zip at *path* in bytes if it is sent inside the API call; 0 if it goes through the bucket."""
        code = self.code(path)
        return len(code.content) if isinstance(code, Zip) else 0

    def _bucket_for(self, path: Path, sha256: str) -> Bucket | None:
        through_bucket = path.stat().st_size > self._direct_bytes or sha256 in self._shared
        return self._bucket if through_bucket else None
