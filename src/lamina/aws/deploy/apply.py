"""
Apply a plan to functions, and roll all of them back if one fails.

A deployment has these phases: change `$LATEST`, publish versions, wait for them, move aliases. Every function completes a phase before
the next phase starts. Before the first phase, the code to be replaced is saved. If a deployment was killed, run `lamina deploy` again.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from lamina.aws.deploy.code_upload import CodeUploader
from lamina.aws.deploy.function_change import Creation, FunctionChange, Patience
from lamina.aws.deploy.plan import KeepFunction, UpdateFunction
from lamina.aws.destination.destination import Cancellation
from lamina.aws.destination.parallel import in_parallel
from lamina.core.errors import ChangedMeanwhileError, DeployError, LaminaError, StoppedError
from lamina.core.reporter import SILENT
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from lamina.aws.api.functions import Functions
    from lamina.aws.deploy.claim import Claim
    from lamina.aws.deploy.survey import FunctionStep
    from lamina.aws.destination.bucket import Bucket
    from lamina.core.reporter import Reporter

_WORKERS = 8
_LATER_PHASES = (
    FunctionChange.publish,
    FunctionChange.await_version,
    FunctionChange.republish,
    FunctionChange.move_alias,
)


class Progress(Enum):
    """What a deployment has done to the functions of one account and region."""

    UNTOUCHED = "untouched"
    """It ended before it changed any function."""
    DEPLOYED = "deployed"
    ROLLED_BACK = "rolled back"
    FAILED = "failed"
    """It changed functions, and could not roll all of them back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployOutcome:
    """The result of deploying one function."""

    step: FunctionStep
    version: str | None = None
    """The version to which the alias points now; ``None`` if the function is unchanged, if no alias was moved, or if the version is unknown."""
    sent_bytes: int = 0


class Deployment:
    """One execution of a plan in one account and region."""

    def __init__(
        self,
        functions: Functions,
        steps: Sequence[FunctionStep],
        *,
        directory: Path,
        bucket: Bucket | None,
        claim: Claim | None = None,
        creation: Creation | None = None,
        patience: Patience | None = None,
        direct_bytes: int | None = None,
        stop: Cancellation | None = None,
        reporter: Reporter = SILENT,
    ) -> None:
        """
        Prepare the changes without making any.

        *directory* receives the zips of the functions' old code; code that it already contains is not downloaded again. Zips larger
        than *direct_bytes* (by default Lambda's limit for an API call) go through *bucket*. *claim* keeps other deployers away. *stop* is
        checked between two steps; a stop request rolls all functions back.
        """
        self.progress = Progress.UNTOUCHED
        self._begun: FunctionChange | None = None
        self._steps = steps
        self._claim = claim
        self._stop = stop or Cancellation()
        self._reporter = reporter
        new_code = Counter(step.package.sha256 for step in steps if step.action.brings_code)
        uploader = CodeUploader(
            bucket,
            direct_bytes=quotas().direct_upload_bytes if direct_bytes is None else direct_bytes,
            shared={sha256 for sha256, count in new_code.items() if count > 1},
        )
        self._changes = {
            step.action.desired.name: FunctionChange(
                functions=functions,
                action=step.action,
                package=step.package,
                directory=directory,
                uploader=uploader,
                creation=creation,
                patience=patience or Patience(),
                check=self._check,
                reporter=reporter,
            )
            for step in steps
            if not isinstance(step.action, KeepFunction)
        }

    def run(self) -> tuple[DeployOutcome, ...]:
        """
        Apply the plan, and return the outcome of each function, in the plan's order.

        Raises `AwsError` if saving the old code or uploading the new code fails, before any function is changed. After a later
        failure, rolls all functions back, then raises `DeployError`, or `StoppedError` if a stop was requested. The message lists each
        function that could not be rolled back.
        """
        changes = self._sorted_changes
        if self._begun is None:
            self._prepare(changes)
        with self._undone():
            if self._begun is None:
                self._each(FunctionChange.create, changes, workers=1)
            self._each(FunctionChange.change_latest, (each for each in changes if each is not self._begun))
            for phase in _LATER_PHASES:
                self._each(phase, changes)
        self.progress = Progress.DEPLOYED
        return self.outcomes()

    def begin(self, claim: Claim) -> bool:
        """
        Create the first function, take *claim* with it, and create the others. Call this before `run` if no function of the service exists.

        Return ``False`` if another deployer creates or deploys functions of the service at the same time. Nothing of this deployment is
        left then; wait for the other one, and plan again. Raises the same errors as `run`.
        """
        changes = self._sorted_changes
        self._prepare(changes)
        first, *others = changes
        with self._undone():
            self._each(FunctionChange.create, [first])
            if first.touched and self._is_first(first, claim):
                self._begun = first
                self._each(FunctionChange.create, others, workers=1)
                if all(each.touched for each in changes):
                    return True
        if problems := self._put_back():
            lost = ChangedMeanwhileError(
                "another run deploys functions of this service at the same time", hint="run `lamina deploy` again"
            )
            raise _explained(lost, problems, changes)
        return False

    def _is_first(self, created: FunctionChange, claim: Claim) -> bool:
        """Take *claim* with the function *created*. Return whether no other deployer has done so, or deploys other functions."""
        try:
            self._each(FunctionChange.change_latest, [created])
        except ChangedMeanwhileError:
            is_alone = False
        else:
            is_alone = claim.begin(created.name)
        # If another deployer has begun to change the function, it must not be deleted.
        created.touched = claim.is_held and created.is_untouched()
        return is_alone and created.touched

    def _prepare(self, changes: Sequence[FunctionChange]) -> None:
        """Save the old code, and upload the new code to the bucket."""
        if changes:
            self._reporter.stage("deploying functions", total=len(changes))
        try:
            self._each(FunctionChange.save_code, changes)
            bringing = [each for each in reversed(changes) if each.action.brings_code]
            new_code = {(each.package.sha256, each.storage.storage): each for each in bringing}
            self._each(FunctionChange.upload_code, new_code.values())
        except StoppedError as error:
            raise StoppedError(f"{error}; no function was changed") from error

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Roll all functions back if the ``with`` block fails, and add the result to its error."""
        try:
            yield
        except BaseException as error:
            problems = self._put_back()
            if isinstance(error, LaminaError):
                raise _explained(error, problems, tuple(self._changes.values())) from error
            raise

    def _put_back(self) -> tuple[str, ...]:
        """Roll the functions back, aliases first, and return one message for each rollback step that failed."""
        touched = [each for each in self._changes.values() if each.touched]
        self.progress = Progress.FAILED if touched else Progress.UNTOUCHED
        problems: list[str | None] = []
        for undo in (FunctionChange.put_back_alias, FunctionChange.put_back_latest):
            problems += in_parallel(partial(self._attempt, undo), touched, workers=_WORKERS)
        # Both steps of a function may fail for the same reason.
        found = tuple(dict.fromkeys(each for each in problems if each is not None))
        if touched and not found:
            self.progress = Progress.ROLLED_BACK
        return found

    def _attempt(self, undo: Callable[[FunctionChange], None], change: FunctionChange) -> str | None:
        """Roll *change* back, and return a message if that failed."""
        # A requested stop must not interrupt the rollback. If the claim is lost, another deployer is responsible for the functions.
        change.check = self._check_claim
        try:
            undo(change)
        except LaminaError as error:
            return f"`{change.name}` could not be rolled back: {error}"
        return None

    def abandon(self) -> tuple[str, ...]:
        """Return the names of the functions that would be half deployed if the process ended now, after a request to stop."""
        left = tuple(each.name for each in self._changes.values() if each.touched and not each.is_back)
        if self.progress is Progress.DEPLOYED or not left:
            return ()
        self.progress = Progress.FAILED
        return left

    @property
    def _sorted_changes(self) -> Sequence[FunctionChange]:
        """The changes by the names of the functions: of two deployers that create the same functions, one is the first at all of them."""
        return sorted(self._changes.values(), key=lambda each: each.name)

    def outcomes(self) -> tuple[DeployOutcome, ...]:
        """Return the outcome of each function after `run`, even if it failed, in the plan's order."""
        return tuple(self._outcome(step) for step in self._steps)

    def _check(self) -> None:
        self._stop.check()
        self._check_claim()

    def _check_claim(self) -> None:
        if self._claim is not None:
            self._claim.check()

    def _outcome(self, step: FunctionStep) -> DeployOutcome:
        change = self._changes.get(step.action.desired.name)
        if change is None:
            return DeployOutcome(step=step)
        version = change.version if self.progress is Progress.DEPLOYED else None
        if self.progress in {Progress.UNTOUCHED, Progress.ROLLED_BACK}:
            version = previous_version(step)
        return DeployOutcome(step=step, version=version, sent_bytes=change.sent_bytes)

    def _each(
        self, phase: Callable[[FunctionChange], None], changes: Iterable[FunctionChange], *, workers: int | None = None
    ) -> None:
        """Run *phase* on *changes* in parallel. After a failure, start no further change, wait for the running ones, then raise the error."""

        def checked(change: FunctionChange) -> None:
            self._check()
            phase(change)

        in_parallel(checked, changes, workers=workers or _WORKERS)


def previous_version(step: FunctionStep) -> str | None:
    """Return the version to which the alias pointed before the deployment; ``None`` if there is no alias, or if nothing changes."""
    alias = step.action.found.alias if isinstance(step.action, UpdateFunction) else None
    return None if alias is None else alias.version


def _explained(
    error: LaminaError, problems: Sequence[str], changes: Sequence[FunctionChange]
) -> DeployError | StoppedError:
    """Return *error* with the result of the rollback added to its message."""
    kind = type(error) if isinstance(error, DeployError | StoppedError) else DeployError
    if problems:
        return kind("\n  ".join((f"{error}; some functions could not be rolled back", *problems)), hint=error.hint)
    touched = any(each.touched for each in changes)
    outcome = "all functions and aliases were rolled back" if touched else "nothing was changed"
    if doubtful := [f"`{each.name}`" for each in changes if each.doubtful]:
        outcome += (
            f", but {'function' if len(doubtful) == 1 else 'functions'} {' and '.join(doubtful)} may have been created"
        )
    return kind(f"{error}; {outcome}", hint=error.hint)
