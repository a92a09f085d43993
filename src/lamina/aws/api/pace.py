"""
Limit the rate of requests to Lambda, so that other users of the account are not throttled.

If Lambda throttles a request all the same, because of the others, all threads slow down, and the request is repeated.
"""

from __future__ import annotations

import math
import random
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lamina.aws.api.facts import calls_per_second
from lamina.core.errors import ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamina.aws.api.errors import Call


_ATTEMPTS = 5
_FIRST_WAIT_SECONDS = 1.0
"""With botocore's own retries of each attempt, lamina repeats a throttled request for about a minute."""
_SLOWEST = 4
"""How many times longer than without throttling the pause between two requests becomes at most."""


class Pace:
    """A rate limit for API calls. Several threads may share it."""

    def __init__(
        self,
        per_second: float | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Limit the rate to *per_second* calls per second, by default half of Lambda's limit. *sleep* and *clock* are for tests."""
        self.interval = 1 / (per_second or calls_per_second())
        """The pause between two calls, in seconds."""
        self._longest = _SLOWEST * self.interval
        self._sleep = sleep
        self._clock = clock
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait until the rate limit allows the next call. Each waiting thread has its own turn."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self.interval
        if now < turn:
            self._sleep(turn - now)

    def slow_down(self) -> None:
        """Halve the rate, down to a quarter of the initial one."""
        with self._lock:
            self.interval = min(2 * self.interval, self._longest)


class LambdaPace:
    """The rate limits of one account in one region. ``GetFunction`` has its own, all other operations of Lambda share one."""

    def __init__(self, shared: Pace | None = None, reads: Pace | None = None) -> None:
        """Use *shared* and, for ``GetFunction``, *reads*; by default, half of Lambda's limits."""
        self.shared = shared or Pace()
        self._reads = reads or Pace(calls_per_second("lambda-get-function"))

    @classmethod
    def of(cls, endpoint: str) -> LambdaPace:
        """Return the limits for Lambda at the URL *endpoint*: none for an emulator on this machine, which has no other users."""
        host = urlsplit(endpoint).hostname or ""
        if host == "localhost" or host.startswith("127.") or host == "::1":
            return cls(Pace(math.inf), Pace(math.inf))
        return cls()

    def limit(self, call: Call, *, repeats: bool = True, sleep: Callable[[float], None] = time.sleep) -> Call:
        """Return *call* with the rate limits. A throttled call slows down the others, and is repeated unless *repeats* is false."""

        def limited(operation: str, **parameters: Any) -> dict[str, Any] | None:
            pace = self._reads if operation == "GetFunction" else self.shared
            for attempt in range(_ATTEMPTS):
                pace.wait()
                try:
                    return call(operation, **parameters)
                except ThrottledError:
                    pace.slow_down()
                    if not repeats or attempt == _ATTEMPTS - 1:
                        raise
                    # Jitter keeps the throttled threads from calling at the same time again.
                    sleep(_FIRST_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
            raise AssertionError(operation)  # pragma: no cover - the last attempt returns or raises

        return limited
