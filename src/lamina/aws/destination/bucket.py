"""
One bucket as lamina uses it: its objects, and the keys that lamina gives them.

What several modules ask of S3 is here: ranges, objects that are written once, and objects that S3 composes.
"""

from __future__ import annotations

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """The objects of a bucket, and the keys below lamina's prefix in it."""

    objects: Objects
    keys: Keys

    @property
    def name(self) -> str:
        """The bucket's."""
        return self.objects.bucket

    def url(self, key: str) -> str:
        """Return the address of the object at *key*."""
        return f"s3://{self.name}/{key}"

    def read(self, key: str, start: int, size: int) -> Iterator[bytes]:
        """Yield *size* bytes of an object from *start* on, in pieces; end early where the object has fewer."""
        for first in range(start, start + size, _RANGE_BYTES):
            content = self.objects.get_range(key, first, min(_RANGE_BYTES, start + size - first))
            if content is None:
                return
            yield content

    def has(self, key: str, sha256: str) -> bool:
        """Return whether there is an object at *key* of which S3 reports this *sha256*."""
        stored = self.objects.head(key)
        return stored is not None and stored.sha256 == sha256

    def write(self, key: str, body: BinaryIO, *, sha256: str, keep: Callable[[], bool] | None = None) -> bool:
        """
        Store *body* at *key*, and return whether it was sent.

        What is at *key* already stays if it has the same *sha256*, or if *keep* says so: another publisher was faster. Anything else is
        damaged, and replaced.
        """
        if self.objects.put(key, body, sha256=sha256):
            return True
        if self.has(key, sha256) if keep is None else keep():
            return False
        body.seek(0)
        return self.objects.put(key, body, sha256=sha256, absent=False)

    def compose(self, key: str, send: Callable[[str], list[SentPart]]) -> None:
        """
        Have S3 compose the object at *key* of the parts that *send* returns, given the id of the upload.

        An upload that fails is aborted. Raises AwsError and its kinds.
        """
        upload = self.objects.begin(key)
        completed = False
        try:
            self.objects.complete(key, upload, send(upload))
            completed = True
        finally:
            if not completed:
                # The first failure is the one to report; `lamina prune` finds an upload that is left.
                with suppress(AwsError):
                    self.objects.abort(key, upload)
