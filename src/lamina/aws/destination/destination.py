"""Define destinations (one account in one region, with its bucket), and run work at several destinations in parallel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from functools import cached_property
from itertools import chain
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from lamina.aws.destination.bucket import Bucket
from lamina.aws.destination.naming import Keys, fill
from lamina.core.errors import AwsError, StoppedError, WrongRegionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Future

    from lamina.aws.api.account import Services

_Result = TypeVar("_Result")
_TICK_SECONDS = 0.5


class Cancellation:
    """A cancellation flag. Threads check it between steps, so that no step is left half done."""

    def __init__(self) -> None:
        self._requested = Event()

    def request(self) -> None:
        """Cancel: every later call of `check` raises `StoppedError`."""
        self._requested.set()

    def check(self) -> None:
        """Raise `StoppedError` if cancellation was requested."""
        if self._requested.is_set():
            raise StoppedError("interrupted")


class Destination:
    """One account in one region, with its bucket."""

    def __init__(self, services: Services, *, bucket: str | None, prefix: str) -> None:
        """*bucket* is the template of the bucket's name, or ``None`` for no bucket. All of lamina's keys in the bucket start with *prefix*."""
        self.services = services
        self.stop = Cancellation()
        self._template = bucket
        self._prefix = prefix

    @cached_property
    def bucket(self) -> Bucket | None:
        """
        The destination's bucket, or ``None`` if no bucket is configured.

        Raises `MissingBucketError` if the bucket does not exist, and `WrongRegionError` if it is not in the destination's region.
        """
        if self._template is None:
            return None
        account = self.services.account
        objects = self.services.bucket(fill(self._template, account))
        region = objects.region()
        if region is not None and region != account.region:
            raise WrongRegionError(
                f"bucket `{objects.bucket}` is in {region}, but Lambda in {account.region} reads only buckets in its own region",
                hint='use one bucket for each region: set, for example, `bucket = "artifacts-{region}"` in `[tool.lamina.publish]`',
            )
        return Bucket(objects=objects, keys=Keys(self._prefix))


def everywhere(
    work: Callable[[Destination], _Result], destinations: Iterable[Destination]
) -> dict[Destination, _Result]:
    """
    Run *work* once at each of *destinations* in parallel, and return the results by destination.

    A failure at one destination does not stop the work at other destinations. A single failure is raised unchanged. Several are
    raised as one `AwsError` that lists them, or as one `StoppedError` if all of them are `StoppedError`. If any of several is of
    another type, the first failure is raised unchanged. A keyboard interrupt cancels all destinations and waits for them. If they
    fail then, their failures are raised instead of the interrupt, because they are more specific.
    """
    distinct = list(dict.fromkeys(destinations))
    pool = ThreadPoolExecutor(max(1, len(distinct)), "lamina-place")
    try:
        futures = {destination: pool.submit(work, destination) for destination in distinct}
        try:
            # The main thread would not notice a signal that arrives just before it starts to wait, so it waits for short times.
            while wait(futures.values(), _TICK_SECONDS).not_done:
                pass
        except KeyboardInterrupt:
            for destination in distinct:
                destination.stop.request()
            wait(futures.values())
            _raise_failures(futures)
            raise
    finally:
        pool.shutdown(wait=False)
    _raise_failures(futures)
    return {destination: future.result() for destination, future in futures.items()}


def collect(
    work: Callable[[Destination], Iterable[_Result]], destinations: Iterable[Destination]
) -> tuple[_Result, ...]:
    """Run *work* as `everywhere` does, and return its results as one flat tuple. Raises the same errors."""
    return tuple(chain.from_iterable(everywhere(work, destinations).values()))


def _raise_failures(futures: Mapping[Destination, Future[_Result]]) -> None:
    failures = [(each, error) for each, future in futures.items() if (error := future.exception())]
    ours = [error for _, error in failures if isinstance(error, AwsError | StoppedError)]
    if len(failures) > 1 and len(ours) == len(failures):
        kind = StoppedError if all(isinstance(error, StoppedError) for error in ours) else AwsError
        lines = [f"{each.services.account}: {error}" for each, error in failures]
        # Different failures have different cures.
        hints = dict.fromkeys(error.hint for error in ours if error.hint)
        raise kind(
            "\n  ".join((f"{len(failures)} of {len(futures)} destinations failed", *lines)),
            hint="\n".join(hints) or None,
        )
    for _, error in failures:
        raise error
