"""Define destinations (one account in one region, with its bucket), and run work at several destinations in parallel."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from threading import Event
from typing import TYPE_CHECKING, Generic, TypeVar

from lamina.aws.destination.bucket import Bucket
from lamina.aws.destination.naming import Keys, fill
from lamina.core.errors import AwsError, LaminaError, StoppedError, WrongRegionError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from concurrent.futures import Future

    from lamina.aws.api.account import Services

_Result = TypeVar("_Result")
_TICK_SECONDS = 0.5
_REPEATED_SECONDS = 1.0


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


@dataclass(frozen=True, kw_only=True)
class Attempt(Generic[_Result]):
    """The result of the same work at several destinations, some of which may have failed."""

    results: Mapping[Destination, _Result]
    """The results of the destinations that succeeded."""
    errors: Mapping[Destination, LaminaError]
    """The errors of the other destinations."""
    error: LaminaError | None
    """All *errors* as one, as `everywhere` raises it; also set if the user interrupted the work and every destination completed it."""


def attempt(work: Callable[[Destination], _Result], destinations: Iterable[Destination]) -> Attempt[_Result]:
    """
    Run *work* once at each of *destinations* in parallel, and return the results and the errors by destination.

    A failure at one destination does not stop the work at other destinations. A keyboard interrupt cancels all destinations and waits
    for them; a later second one is raised. An exception that is not a `LaminaError` is raised unchanged, when all have ended.
    """
    distinct = list(dict.fromkeys(destinations))
    pool = ThreadPoolExecutor(max(1, len(distinct)), "lamina-place")
    interrupted = False
    try:
        futures = {destination: pool.submit(work, destination) for destination in distinct}
        try:
            _await(futures.values())
        except KeyboardInterrupt:
            interrupted = True
            for destination in distinct:
                destination.stop.request()
            _await_again(futures.values())
    finally:
        pool.shutdown(wait=False)
    errors = _errors(futures)
    error = _combined(errors, len(futures)) if errors else StoppedError("interrupted") if interrupted else None
    results = {each: future.result() for each, future in futures.items() if each not in errors}
    return Attempt(results=results, errors=errors, error=error)


def _await(futures: Collection[Future[_Result]]) -> None:
    """Wait until all *futures* have ended."""
    # The main thread would not notice a signal that arrives just before it starts to wait, so it waits for short times.
    while wait(futures, _TICK_SECONDS).not_done:
        pass


def _await_again(futures: Collection[Future[_Result]]) -> None:
    """Wait as `_await` does after an interruption. Another one at the same time is the same one, sent to the process and to its group."""
    interrupted_at = time.monotonic()
    while True:
        try:
            return _await(futures)
        except KeyboardInterrupt:
            if time.monotonic() - interrupted_at > _REPEATED_SECONDS:
                raise


def everywhere(
    work: Callable[[Destination], _Result], destinations: Iterable[Destination]
) -> Mapping[Destination, _Result]:
    """
    Run *work* as `attempt` does, and return the results by destination. Raises an error if any destination fails.

    The error of an only destination is raised unchanged. With several, the error lists each that failed with its account and region. It
    has the class of a single failure; that of several is `AwsError`, or `StoppedError` if all of them are `StoppedError`, or the class
    of the first if any is of another type. After a keyboard interrupt, failures are raised instead of the interrupt, because they are
    more specific.
    """
    attempted = attempt(work, destinations)
    if attempted.error is not None:
        raise attempted.error
    return attempted.results


def collect(
    work: Callable[[Destination], Iterable[_Result]], destinations: Iterable[Destination]
) -> tuple[_Result, ...]:
    """Run *work* as `everywhere` does, and return its results as one flat tuple. Raises the same errors."""
    return tuple(chain.from_iterable(everywhere(work, destinations).values()))


def _errors(futures: Mapping[Destination, Future[_Result]]) -> dict[Destination, LaminaError]:
    errors: dict[Destination, LaminaError] = {}
    for destination, future in futures.items():
        error = future.exception()
        if isinstance(error, LaminaError):
            errors[destination] = error
        elif error is not None:
            raise error
    return errors


def _combined(errors: Mapping[Destination, LaminaError], total: int) -> LaminaError:
    first = next(iter(errors.values()))
    if total == 1:
        return first
    ours = [error for error in errors.values() if isinstance(error, AwsError | StoppedError)]
    lines = [f"{each.services.account}: {error}" for each, error in errors.items()]
    # Different failures have different cures.
    hint = "\n".join(dict.fromkeys(error.hint for error in errors.values() if error.hint)) or None
    text = "\n  ".join((f"{len(errors)} of {total} destinations failed", *lines))
    if len(errors) == 1 or len(ours) < len(errors):
        return _reworded(first, text, hint)
    kind = StoppedError if all(isinstance(error, StoppedError) for error in ours) else AwsError
    return kind(text, hint=hint)


def _reworded(error: LaminaError, text: str, hint: str | None) -> LaminaError:
    """Return an error of the same class as *error*, whose constructor may have other parameters."""
    found = type(error).__new__(type(error), text)
    found.__dict__.update(error.__dict__)
    found.hint = hint
    found.__cause__ = error
    return found
