"""One account in one region, and the bucket for it, and how to work at several of them at once."""

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


class Cancellation:
    """A request to stop, which threads ask about between two steps, so that they end with whole things."""

    def __init__(self) -> None:
        """Start without a request."""
        self._requested = Event()

    def request(self) -> None:
        """Make every later `check` raise."""
        self._requested.set()

    def check(self) -> None:
        """Raise StoppedError if a stop was requested."""
        if self._requested.is_set():
            raise StoppedError("Interrupted")


class Destination:
    """One account in one region, and the bucket for it."""

    def __init__(self, services: Services, *, bucket: str | None, prefix: str) -> None:
        """Name the bucket by the template *bucket*."""
        self.services = services
        self.stop = Cancellation()
        self._template = bucket
        self._prefix = prefix

    @cached_property
    def bucket(self) -> Bucket | None:
        """
        The bucket, if one is configured.

        Raises MissingBucketError, and WrongRegionError for one whose objects Lambda would not take.
        """
        if self._template is None:
            return None
        account = self.services.account
        objects = self.services.bucket(fill(self._template, account))
        region = objects.region()
        if region is not None and region != account.region:
            raise WrongRegionError(
                f"Bucket `{objects.bucket}` is in {region}, and the layer is to be in {account.region}",
                hint="Lambda takes code from buckets of its own region; name one for each: "
                'bucket = "…-{region}" in `[tool.lamina.publish]`',
            )
        return Bucket(objects=objects, keys=Keys(self._prefix))


def everywhere(
    work: Callable[[Destination], _Result], destinations: Iterable[Destination]
) -> dict[Destination, _Result]:
    """
    Do *work* at all *destinations* at once and to the end, whatever happens at one of them; return the result of each.

    Raises the only failure, or AwsError naming all of them. When interrupted it stops all destinations, and waits for that: their own
    errors say more than that the run was interrupted.
    """
    distinct = list(dict.fromkeys(destinations))
    pool = ThreadPoolExecutor(max(1, len(distinct)), "lamina-place")
    try:
        futures = {destination: pool.submit(work, destination) for destination in distinct}
        try:
            wait(futures.values())
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
    """Return all results of *work* at *destinations*, of which each counts once, in their order; raises as `everywhere` does."""
    return tuple(chain.from_iterable(everywhere(work, destinations).values()))


def _raise_failures(futures: Mapping[Destination, Future[_Result]]) -> None:
    failures = [(each, error) for each, future in futures.items() if (error := future.exception())]
    ours = [error for _, error in failures if isinstance(error, AwsError | StoppedError)]
    if len(failures) > 1 and len(ours) == len(failures):
        kind = StoppedError if all(isinstance(error, StoppedError) for error in ours) else AwsError
        lines = [f"{each.services.account}: {error}" for each, error in failures]
        raise kind("\n  ".join((f"{len(failures)} of {len(futures)} places failed", *lines)), hint=ours[0].hint)
    for _, error in failures:
        raise error
