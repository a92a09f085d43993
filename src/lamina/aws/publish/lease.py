"""
Let one publisher at a time make a layer version: the others wait until there is one.

A claim is an object that S3 creates only where none stands. Its holder may be killed, so a claim that is older than the
lease, by the server's clock, may be taken over. Where that is a mistake, because the holder is only slow, two versions
come to be, and the younger is deleted again by its publisher.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.core.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lamina.aws.api.protocols import Objects

__all__ = ["Leases"]


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Leases:
    """How long claims hold, and how to wait for them."""

    lease_seconds: float = 60.0
    """Putting a layer together and publishing it takes a few seconds."""
    poll_seconds: float = 0.5
    sleep: Callable[[float], None] = time.sleep

    @contextmanager
    def hold(
        self, objects: Objects, key: str, *, waiting: Callable[[], None], check: Callable[[], None] = _nothing
    ) -> Iterator[None]:
        """
        Hold the claim *key*; call *waiting* once if somebody else does, and wait for their end or the lease's.

        *check* is called before each look, and may raise.
        """
        token = os.urandom(16)
        if not self._take(objects, key, token):
            waiting()
            while not self._take(objects, key, token):
                check()
                self.sleep(self.poll_seconds)
        try:
            yield
        finally:
            # A claim that stays costs the next publisher of the same layer a wait, and nobody anything else.
            with suppress(AwsError):
                objects.delete(key)

    def _take(self, objects: Objects, key: str, token: bytes) -> bool:
        sha256 = hashlib.sha256(token).hexdigest()
        if objects.put(key, token, sha256=sha256):
            return True
        # Where the reply to our own request got lost, the SDK repeated it and found our own claim.
        if objects.get(key) == token:
            return True
        held = objects.head(key)
        if held is None or held.age_seconds <= self.lease_seconds:
            return False
        return objects.put(key, token, sha256=sha256, replacing=held.etag) or objects.get(key) == token
