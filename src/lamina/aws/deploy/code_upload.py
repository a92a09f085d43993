"""
How the code of functions travels: in the call that takes it, or through the bucket.

Through the bucket goes what a call cannot carry, and what several functions get: that is sent once, and Lambda takes it from there
for each of them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lamina.aws.api.functions import S3Code, Zip

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from lamina.aws.api.protocols import Objects
    from lamina.aws.publish.naming import Keys

__all__ = ["CodeUploader"]


class CodeUploader:
    """Brings zips to where Lambda takes them from. Methods may be called from several threads at once, for different zips."""

    def __init__(
        self, objects: Objects | None, keys: Keys, *, direct_bytes: int, shared: Collection[str] = frozenset()
    ) -> None:
        """Carry in calls what has up to *direct_bytes* and whose SHA-256 is not in *shared*; everything, without a bucket."""
        self._objects = objects
        self._keys = keys
        self._direct_bytes = direct_bytes
        self._shared = shared

    def bring(self, path: Path) -> int:
        """
        Store the zip at *path* in the bucket, if that is the way it goes, and return how many bytes were sent.

        Raises AwsError and its kinds.
        """
        sha256 = _sha256(path)
        if self._objects is None or not self._goes_through_bucket(path, sha256):
            return 0
        key, size = self._keys.package(sha256), path.stat().st_size
        with path.open("rb") as file:
            sent = self._objects.put(key, file, sha256=sha256)
            stored = None if sent else self._objects.head(key)
            if not sent and (stored is None or (stored.size, stored.sha256) != (size, sha256)):
                # What stands there under its name is something else.
                file.seek(0)
                sent = self._objects.put(key, file, sha256=sha256, absent=False)
        return size if sent else 0

    def code(self, path: Path) -> Zip | S3Code:
        """Return the zip at *path* as a call names it; where it goes through the bucket, it has to be there."""
        sha256 = _sha256(path)
        if self._objects is None or not self._goes_through_bucket(path, sha256):
            return Zip(content=path.read_bytes())
        return S3Code(bucket=self._objects.bucket, key=self._keys.package(sha256))

    def sent_bytes(self, path: Path) -> int:
        """Return how many bytes a call with the zip at *path* sends of it."""
        code = self.code(path)
        return len(code.content) if isinstance(code, Zip) else 0

    def _goes_through_bucket(self, path: Path, sha256: str) -> bool:
        return path.stat().st_size > self._direct_bytes or sha256 in self._shared


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
