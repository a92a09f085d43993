"""
Let one deployer at a time change the functions of a service.

The claim is an alias of the first and of the last function of the service that exist, by name. Lambda creates an alias only if there is none
of that name, so of several deployers exactly one gets the claim, with and without a bucket. The others wait. Anyone who has the claim
reads the functions again. Deployers may know different functions of the service, for example if one of them has a new function: they meet
at the end that both know. Everyone goes through the functions in the order of their names, and waits only for claims on later functions
than those that it has claimed, so no two wait for each other.

The description of the alias has the time of the latest renewal by AWS's clock. A deployer may be killed, so another one takes over a claim
that is too old. A deployer that was only slow finds that its claim is lost before its next change, and changes nothing more.

The revision that a change names is always read before the claim is checked. So if another deployer takes over right after the check,
Lambda rejects the change.
"""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.api.functions import LATEST
from lamina.core.errors import AwsError, ChangedMeanwhileError, DeployError, LaminaError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from lamina.aws.api.account import Account
    from lamina.aws.api.functions import AliasState, Functions
    from lamina.aws.destination.destination import Cancellation
    from lamina.core.reporter import Reporter

CLAIM = "lamina-deploying"
"""The name of the alias. It points to ``$LATEST``, and no caller uses it."""

_DESCRIPTION = re.compile(r"lamina deploy ([0-9a-f]+), renewed ([0-9]+):")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimTimes:
    """How long a claim is valid, and how often it is renewed and asked for."""

    valid_seconds: float = 30.0
    """The age in seconds above which another deployer may take over a claim."""
    sure_seconds: float = 15.0
    """The age in seconds up to which no other deployer can take over a claim while a change that follows is carried out."""
    renew_seconds: float = 6.0
    poll_seconds: float = 1.0
    conflicts: int = 30
    """
    How often in a row Lambda may say that there is a claim when it is taken, and that there is none when it is read; how often to look
    whether another deployer retreats; and how often to retreat.
    """
    sleep: Callable[[float], None] = time.sleep


class Turns:
    """
    The order in which one deployer takes its claims at several places.

    All deployers have the same order, and take each claim before they release an earlier one. So of two deployers at once, the same one is
    the last at every place.
    """

    def __init__(self, places: Iterable[Account]) -> None:
        """Take the claims in the order of the names of *places*."""
        self._order = sorted(set(places), key=str)
        self._taken = [threading.Event() for _ in self._order]

    @contextmanager
    def turn(self, place: Account) -> Iterator[None]:
        """Wait until the claims before that of *place* are taken, or could not be; the ``with`` block takes the one of *place*."""
        number = self._order.index(place)
        if number:
            self._taken[number - 1].wait()
        try:
            yield
        finally:
            self._taken[number].set()


class _Waiting:
    """Pauses while another deployer has the claim."""

    def __init__(self, stop: Cancellation, reporter: Reporter, times: ClaimTimes) -> None:
        self._stop, self._reporter, self._times = stop, reporter, times
        self._noted = False

    def pause(self) -> None:
        """Raise `StoppedError` if a stop is requested."""
        if not self._noted:
            self._reporter.note("another run is deploying functions of this service; waiting for it to finish")
        self._noted = True
        try:
            self._stop.check()
        except StoppedError as error:
            raise StoppedError(f"{error}; no function was changed") from error
        self._times.sleep(self._times.poll_seconds)


@dataclass(kw_only=True, slots=True)
class _Alias:
    """The claim on one function."""

    function: str
    revision: str
    renewed_at: float
    """The time in seconds since 1970, by AWS's clock, before the latest renewal."""
    is_lost: bool = False


class Claim:
    """The claim of one deployer to the functions of a service in one account and region."""

    def __init__(
        self,
        functions: Functions,
        names: Collection[str],
        *,
        existing: Collection[str],
        stop: Cancellation,
        reporter: Reporter,
        times: ClaimTimes | None = None,
    ) -> None:
        """
        Claim the functions *names*, which are all functions of the service that this deployer knows.

        *existing* are those that are known to exist; lamina looks for the others.
        """
        self._functions = functions
        self._names = sorted(names)
        self._existing = frozenset(existing)
        self._stop = stop
        self._times = times or ClaimTimes()
        self._token = os.urandom(8).hex()
        self._held: tuple[_Alias, ...] = ()
        self._conflicts = 0
        self._retreats = 0
        self._waiting = _Waiting(stop, reporter, self._times)
        self._ended = threading.Event()
        self._renewing = threading.Lock()
        self._renewal: threading.Thread

    @property
    def is_held(self) -> bool:
        """Whether this deployer has taken the claim. It has none as long as no function of the service exists."""
        return bool(self._held)

    @property
    def is_lost(self) -> bool:
        """Whether another deployer has taken over the claim, or may have released it since."""
        return any(each.is_lost for each in self._held)

    def check(self) -> None:
        """
        Make sure that no other deployer can have the claim for the next few seconds. Call this before each change.

        This needs a request only if the latest renewal is not recent, for example after the process was stopped. Raises
        `ChangedMeanwhileError` if the claim is lost, and `AwsError` if it cannot be renewed.
        """
        for each in self._held:
            self._ensure(each)
            if each.is_lost:
                raise ChangedMeanwhileError(
                    f"another run took over the claim on function `{each.function}`, because this one did not renew it in time",
                    hint="run `lamina deploy` again",
                )

    @contextmanager
    def hold(self) -> Iterator[None]:
        """
        Hold the claim during the ``with`` block. A plan that is older than the claim may be out of date.

        If no function of the service exists, there is nothing to claim yet: see `begin`. Raises `AwsError`, and `StoppedError` if a stop is
        requested while waiting.
        """
        try:
            self._wait()
            yield
        finally:
            self._release()

    def begin(self, name: str) -> bool:
        """
        Take the claim on the function *name*, which this deployer has just created because none existed.

        Return ``False`` if another deployer creates or deploys functions of the service at the same time: then do not go on. Of two that
        have created different functions, the one with the later name retreats, and the other one waits for that.
        """
        place = self._names.index(name)
        if not self.take(name) or any(map(self._exists, self._names[:place])):
            return False
        for _ in range(self._times.conflicts):
            if not any(map(self._exists, self._names[place + 1 :])):
                return True
            self._stop.check()
            self._times.sleep(self._times.poll_seconds)
        return False

    def retreat(self) -> None:
        """
        Pause before the next attempt to create functions that another deployer creates at the same time.

        Raises `ChangedMeanwhileError` after too many attempts, and `StoppedError` if a stop is requested.
        """
        self._retreats += 1
        if self._retreats > self._times.conflicts:
            raise ChangedMeanwhileError(
                "another run creates functions of this service at the same time; nothing was changed",
                hint="run `lamina deploy` again",
            )
        self._waiting.pause()

    def _wait(self) -> None:
        """Take the claim, and wait until no other deployer has one on any function that this one knows."""
        while True:
            ends = self._ends()
            if not self._take_all(ends):
                return
            # While this deployer waited, the other one may have created or deleted functions.
            self._existing = frozenset()
            for each in self._held:
                self._renew(each)
            if not self.is_lost and tuple(each.function for each in self._held) == self._ends():
                return
            self._release()

    def _ends(self) -> tuple[str, ...]:
        """Return the first and the last function that exist, which may be the same; nothing if none exists."""
        first = next(filter(self._exists, self._names), None)
        if first is None:
            return ()
        later = self._names[self._names.index(first) + 1 :]
        last = next(filter(self._exists, reversed(later)), None)
        return (first,) if last is None else (first, last)

    def _exists(self, name: str) -> bool:
        return name in self._existing or self._functions.get(name) is not None

    def _take_all(self, ends: Sequence[str]) -> bool:
        """
        Take the claims on *ends*, and wait for other claims on the functions between them, in the order of their names.

        Return whether the result may be out of date, because this deployer had to wait, or because a function was deleted.
        """
        if not ends:
            return False
        waited = False
        for name in self._names[self._names.index(ends[0]) : self._names.index(ends[-1]) + 1]:
            try:
                while not (self.take(name) if name in ends else self._is_free(name)):
                    waited = True
                    self._waiting.pause()
            except AwsError:
                # A deployer deletes a function that it has created if a later step fails.
                if self._functions.get(name) is not None:
                    raise
                return True
        return waited

    def take(self, name: str) -> bool:
        """
        Take the claim on the function *name*, an alias, unless another deployer has it. Return whether it was taken.

        Raises `DeployError` if the alias is not lamina's.
        """
        now = self._functions.now()
        claimed = self._functions.create_alias(name, CLAIM, LATEST, description=self._description())
        if claimed is None:
            claimed = self._taken_over(name)
        if claimed is None:
            return False
        with self._renewing:
            self._held = (*self._held, _Alias(function=name, revision=claimed.revision, renewed_at=now))
        if len(self._held) == 1:
            self._renewal = threading.Thread(target=self._keep, name="lamina-claim", daemon=True)
            self._renewal.start()
        return True

    def _taken_over(self, name: str) -> AliasState | None:
        """Return the claim if this deployer has it already, because a reply was lost, or if it is too old and so can be taken over."""
        found = self._functions.alias(name, CLAIM)
        if found is None:
            # Another deployer may just have released it, or Lambda is still creating the function.
            function = self._functions.get(name)
            self._conflicts += function is None or not function.busy
            if self._conflicts > self._times.conflicts:
                raise DeployError(
                    f"Lambda reports that alias `{CLAIM}` of function `{name}` exists when lamina creates it, and that it does not when "
                    "lamina reads it; nothing was changed",
                    hint=f"check the function's state: `aws lambda get-function --function-name {name}`",
                )
            return None
        self._conflicts = 0
        if self._token in found.description:
            return found
        return self._moved(name, found.revision) if self._is_too_old(name, found) else None

    def _is_free(self, name: str) -> bool:
        """Return whether no other deployer has a claim on the function *name*; delete one that is too old, so that its owner loses it."""
        if self._functions.get(name, CLAIM) is None:
            return True
        found = self._functions.alias(name, CLAIM)
        if found is None or not self._is_too_old(name, found):
            return found is None
        # A deletion names no revision. Taking the claim over does, so a claim that is renewed after all is not deleted.
        if self._moved(name, found.revision) is None:
            return False
        self._functions.delete_alias(name, CLAIM)
        return True

    def _is_too_old(self, name: str, found: AliasState) -> bool:
        parts = _DESCRIPTION.match(found.description)
        if parts is None:
            raise DeployError(
                f"function `{name}` has an alias `{CLAIM}`, which lamina needs as its claim during a deployment",
                hint=f"delete the alias: `aws lambda delete-alias --function-name {name} --name {CLAIM}`",
            )
        return self._functions.now() - int(parts[2]) > self._times.valid_seconds

    def _keep(self) -> None:
        """Renew the claim until it is released or lost."""
        while not self.is_lost and not self._ended.wait(self._times.renew_seconds):
            for each in self._held:
                # A renewal that fails is repeated in time. If none succeeds, `check` says so before the next change.
                with suppress(LaminaError):
                    self._renew(each)

    def _ensure(self, claim: _Alias) -> None:
        """Renew *claim* if its latest renewal is not recent."""
        if not claim.is_lost and self._functions.now() - claim.renewed_at > self._times.sure_seconds:
            self._renew(claim)

    def _renew(self, claim: _Alias) -> None:
        """Renew *claim*, or note that it is lost. Raises `AwsError` if neither is known."""
        with self._renewing:
            now = self._functions.now()
            try:
                claimed = self._moved(claim.function, claim.revision)
            except AwsError:
                # The alias may no longer exist.
                if self._functions.alias(claim.function, CLAIM) is not None:
                    raise
                claimed = None
            if claimed is None:
                claimed = self._functions.alias(claim.function, CLAIM)
                if claimed is None or self._token not in claimed.description:
                    claim.is_lost = True
                    return
            claim.revision, claim.renewed_at = claimed.revision, now

    def _moved(self, name: str, revision: str) -> AliasState | None:
        return self._functions.move_alias(
            name, CLAIM, LATEST, revision=revision, description=self._description(), repeats=False
        )

    def _release(self) -> None:
        """Delete the claim, unless it is lost."""
        if not self._held:
            return
        self._ended.set()
        self._renewal.join()
        self._ended.clear()
        for each in self._held:
            # If the claim remains, the next deployer only has to wait until it is too old.
            with suppress(LaminaError):
                # A deletion names no revision, so the claim must certainly be this deployer's.
                self._ensure(each)
                if not each.is_lost:
                    self._functions.delete_alias(each.function, CLAIM)
        self._held = ()

    def _description(self) -> str:
        return f"lamina deploy {self._token}, renewed {self._functions.now():.0f}: deleted when the deployment ends"
