"""
Send the code of functions: in the call that takes it, or through the bucket.

Code that is too large for a call goes through the bucket, and so does code that several functions get: it is sent once, and Lambda
takes it from there for each of them.
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
    """Sends zips to where Lambda takes them from. Methods may be called from several threads at once, for different zips."""

    def __init__(self, bucket: Bucket | None, *, direct_bytes: int, shared: Collection[str] = frozenset()) -> None:
        """Send in calls what has up to *direct_bytes* and whose SHA-256 is not in *shared*; everything, without a bucket."""
        self._bucket = bucket
        self._direct_bytes = direct_bytes
        self._shared = shared

    def upload(self, path: Path) -> int:
        """
        Store the zip at *path* in the bucket, unless a call carries it, and return how many bytes were sent.

        Raises AwsError and its kinds.
        """
        sha256, size = file_sha256(path), path.stat().st_size
        bucket = self._bucket_for(path, sha256)
        if bucket is None:
            return 0
        with path.open("rb") as file:
            return size if bucket.write(bucket.keys.package(sha256), file, sha256=sha256) else 0

    def code(self, path: Path) -> Zip | S3Code:
        """Return the zip at *path* as a call names it; where it goes through the bucket, it has to be there."""
        sha256 = file_sha256(path)
        bucket = self._bucket_for(path, sha256)
        if bucket is None:
            return Zip(content=path.read_bytes())
        return S3Code(bucket=bucket.name, key=bucket.keys.package(sha256))

    def sent_bytes(self, path: Path) -> int:
        """Return how many bytes a call with the zip at *path* sends of it."""
        code = self.code(path)
        return len(code.content) if isinstance(code, Zip) else 0

    def _bucket_for(self, path: Path, sha256: str) -> Bucket | None:
        through_bucket = path.stat().st_size > self._direct_bytes or sha256 in self._shared
        return self._bucket if through_bucket else None
