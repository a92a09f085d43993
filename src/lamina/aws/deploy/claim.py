"""
Let one deployer at a time change the functions of a service.

The claim is an alias of the service's first function. Lambda creates an alias only if there is none of that name, so of several
deployers exactly one gets the claim, with and without a bucket. The others wait. Whoever has the claim reads the functions again. The
description of the alias has the time of the latest renewal by AWS's clock. A deployer may be killed, so another one takes over a claim that is too old.
If the first deployer was only slow, Lambda rejects its next change, because each change names the revision that it is based on.
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
from lamina.core.errors import AwsError, DeployError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

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
    renew_seconds: float = 6.0
    poll_seconds: float = 1.0
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
        Claim the functions *names*, which are all functions of the service, by the first one that exists.

        *existing* are those that are known to exist; lamina looks for the others.
        """
        self._functions = functions
        self._names = sorted(names)
        self._existing = frozenset(existing)
        self._stop = stop
        self._reporter = reporter
        self._times = times or ClaimTimes()
        self._token = os.urandom(8).hex()
        self._name: str | None = None
        self._revision = ""
        self._ended = threading.Event()
        self._renewal = threading.Thread(target=self._renew, name="lamina-claim", daemon=True)

    @property
    def is_held(self) -> bool:
        """Whether this deployer has the claim. It has none as long as no function of the service exists."""
        return self._name is not None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """
        Hold the claim during the ``with`` block. A plan that is older than the claim may be out of date.

        Raises `AwsError`, and `StoppedError` if a stop is requested while waiting.
        """
        self._wait()
        try:
            yield
        finally:
            self._release()

    def _wait(self) -> None:
        waited = False
        for name in self._names:
            while name in self._existing or self._functions.get(name) is not None:
                if self.take(name):
                    return
                # The other deployer deletes a function that it has created if a later step fails.
                self._existing = frozenset()
                if not waited:
                    self._reporter.note("another run is deploying functions of this service; waiting for it to finish")
                waited = True
                self._stop.check()
                self._times.sleep(self._times.poll_seconds)

    def take(self, name: str) -> bool:
        """
        Take the claim, which is an alias of the function *name*, unless another deployer has it. Return whether it was taken.

        Raises `DeployError` if the alias is not lamina's.
        """
        claimed = self._functions.create_alias(name, CLAIM, LATEST, description=self._description())
        if claimed is None:
            claimed = self._taken_over(name)
        if claimed is None:
            return False
        self._name, self._revision = name, claimed.revision
        self._renewal.start()
        return True

    def _taken_over(self, name: str) -> AliasState | None:
        """Return the claim if this deployer has it already, because a reply was lost, or if it is too old and so can be taken over."""
        found = self._functions.alias(name, CLAIM)
        if found is None:
            return None
        parts = _DESCRIPTION.match(found.description)
        if parts is None:
            raise DeployError(
                f"function `{name}` has an alias `{CLAIM}`, which lamina needs as its claim during a deployment",
                hint=f"delete the alias: `aws lambda delete-alias --function-name {name} --name {CLAIM}`",
            )
        if parts[1] == self._token:
            return found
        if self._functions.now() - int(parts[2]) <= self._times.valid_seconds:
            return None
        return self._renewed(name, found.revision)

    def _renew(self) -> None:
        while self._name is not None and not self._ended.wait(self._times.renew_seconds):
            # A request that fails is repeated in time: the claim is valid for several renewals.
            with suppress(AwsError):
                claimed = self._renewed(self._name, self._revision)
                if claimed is None and (claimed := self._functions.alias(self._name, CLAIM)) is None:
                    return
                self._revision = claimed.revision if self._token in claimed.description else self._revision

    def _renewed(self, name: str, revision: str) -> AliasState | None:
        return self._functions.move_alias(name, CLAIM, LATEST, revision=revision, description=self._description())

    def _release(self) -> None:
        if self._name is None:
            return
        self._ended.set()
        self._renewal.join()
        # If the claim remains, the next deployer only has to wait until it is too old.
        with suppress(AwsError):
            found = self._functions.alias(self._name, CLAIM)
            if found is not None and self._token in found.description:
                self._functions.delete_alias(self._name, CLAIM)

    def _description(self) -> str:
        return f"lamina deploy {self._token}, renewed {self._functions.now():.0f}: deleted when the deployment ends"
