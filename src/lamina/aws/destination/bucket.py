"""
Access the S3 bucket of a destination.

`Bucket` has the operations that several modules share: read ranges, write an object once, and compose an object of parts.
"""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.core.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from lamina.aws.api.s3 import Objects, SentPart
    from lamina.aws.destination.naming import Keys

_RANGE_BYTES = 8 << 20
_UPLOADS = 4
_WAIT_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """One S3 bucket: its objects, and the keys that lamina uses in it."""

    objects: Objects
    keys: Keys

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self.objects.bucket

    def url(self, key: str) -> str:
        """Return the ``s3://`` URL of the object at *key*."""
        return f"s3://{self.name}/{key}"

    def read(self, key: str, start: int, size: int) -> Iterator[bytes]:
        """Yield *size* bytes of an object in pieces, beginning at *start*. Stop early if the object is too short."""
        for first in range(start, start + size, _RANGE_BYTES):
            content = self.objects.get_range(key, first, min(_RANGE_BYTES, start + size - first))
            if content is None:
                return
            yield content

    def has(self, key: str, sha256: str) -> bool:
        """Return whether an object exists at *key* and S3 reports this *sha256* for it."""
        stored = self.objects.head(key)
        return stored is not None and stored.sha256 == sha256

    def write(self, key: str, body: BinaryIO, *, sha256: str, keep: Callable[[], bool] | None = None) -> bool:
        """
        Store *body* at *key*, and return whether it was uploaded.

        If an object already exists at *key*, keep it if it has the same *sha256*. If *keep* is given, its result decides instead.
        An existing object that is not kept is considered damaged, and is replaced.
        """
        if self.objects.put(key, body, sha256=sha256):
            return True
        if self.has(key, sha256) if keep is None else keep():
            return False
        body.seek(0)
        return self.objects.put(key, body, sha256=sha256, absent=False)

    def compose(self, key: str, send: Callable[[str], list[SentPart]]) -> None:
        """
        Compose the object at *key* with a multipart upload. *send* receives the upload ID, uploads or copies the parts, and returns them.

        An existing object at *key* is not replaced. If the completion conflicts with another writer, which may fail, start another upload.
        Each upload that is not completed is aborted. The caller must check the object. Raises `AwsError`.
        """
        for attempt in range(_UPLOADS):
            if self._is_composed(key, send) or self.objects.head(key) is not None:
                return
            # Jitter keeps two writers that collided from colliding again.
            time.sleep(_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1))  # noqa: S311

    def _is_composed(self, key: str, send: Callable[[str], list[SentPart]]) -> bool:
        """Upload the object once, and return whether this upload was completed."""
        upload = self.objects.begin(key)
        completed = False
        try:
            completed = self.objects.complete(key, upload, send(upload))
        finally:
            if not completed:
                # Report the first failure, not one of the cleanup. `lamina prune` deletes an upload that remains.
                with suppress(AwsError):
                    self.objects.abort(key, upload)
        return completed
