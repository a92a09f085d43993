"""
Apply a plan to functions, and roll all of them back if one fails.

A deployment has these phases: change `$LATEST`, publish versions, wait for them, move aliases. Every function completes a phase before
the next phase starts. Before the first phase, the code to be replaced is saved. If a deployment was killed, run `lamina deploy` again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
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
    from collections.abc import Callable, Iterable, Sequence
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
        than *direct_bytes* (by default Lambda's limit for an API call) go through *bucket*. *claim* keeps other deployers away; if
        it is not held yet, because no function of the service exists, it is taken with the first function. *stop* is checked between
        two steps; a stop request rolls all functions back.
        """
        self.progress = Progress.UNTOUCHED
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
        changes = list(self._changes.values())
        if changes:
            self._reporter.stage("deploying functions", total=len(changes))
        try:
            self._prepare(changes)
        except StoppedError as error:
            raise StoppedError(f"{error}; no function was changed") from error
        try:
            self._each(FunctionChange.change_latest, self._begin(changes))
            for phase in _LATER_PHASES:
                self._each(phase, changes)
        except BaseException as error:
            is_touched = any(each.touched for each in changes)
            self.progress = Progress.FAILED if is_touched else Progress.UNTOUCHED
            problems = _put_back(changes, self._check_claim)
            if is_touched and not problems:
                self.progress = Progress.ROLLED_BACK
            if isinstance(error, LaminaError):
                raise _undone(error, problems, changes) from error
            raise
        self.progress = Progress.DEPLOYED
        return self.outcomes()

    def _prepare(self, changes: Sequence[FunctionChange]) -> None:
        """Save the old code, and upload the new code to the bucket."""
        self._each(FunctionChange.save_code, changes)
        new_code = {
            (each.package.sha256, each.storage.storage): each for each in reversed(changes) if each.action.brings_code
        }
        self._each(FunctionChange.upload_code, new_code.values())

    def outcomes(self) -> tuple[DeployOutcome, ...]:
        """Return the outcome of each function after `run`, even if it failed, in the plan's order."""
        return tuple(self._outcome(step) for step in self._steps)

    def _begin(self, changes: Sequence[FunctionChange]) -> Sequence[FunctionChange]:
        """
        Create the first function alone if no function of the service exists, take the claim, and return the remaining changes.

        Raises `ChangedMeanwhileError` if another deployer creates the functions at the same time.
        """
        if not changes or self._claim is None or self._claim.is_held:
            return changes
        first = min(changes, key=lambda each: each.name)
        self._each(FunctionChange.change_latest, [first])
        if not self._claim.take(first.name):
            # The other deployer has begun to change the function, so a rollback must not delete it.
            first.touched = False
            raise ChangedMeanwhileError(
                f"another run deploys function `{first.name}` at the same time", hint="run `lamina deploy` again"
            )
        return [each for each in changes if each is not first]

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

    def _each(self, phase: Callable[[FunctionChange], None], changes: Iterable[FunctionChange]) -> None:
        """Run *phase* on *changes* in parallel. After a failure, start no further change, wait for the running ones, then raise the error."""

        def checked(change: FunctionChange) -> None:
            self._check()
            phase(change)

        in_parallel(checked, changes, workers=_WORKERS)


def previous_version(step: FunctionStep) -> str | None:
    """Return the version to which the alias pointed before the deployment; ``None`` if there is no alias, or if nothing changes."""
    alias = step.action.found.alias if isinstance(step.action, UpdateFunction) else None
    return None if alias is None else alias.version


def _put_back(changes: Sequence[FunctionChange], check: Callable[[], None]) -> tuple[str, ...]:
    """Roll the functions back, aliases first, and return one message for each rollback step that failed."""
    problems: list[str] = []
    touched = [each for each in changes if each.touched]
    for undo in (FunctionChange.put_back_alias, FunctionChange.put_back_latest):
        for change in touched:
            # A requested stop must not interrupt the rollback. If the claim is lost, another deployer is responsible for the functions.
            change.check = check
            try:
                undo(change)
            except LaminaError as error:
                problems.append(f"`{change.name}` could not be rolled back: {error}")
    # Both steps of a function may fail for the same reason.
    problems = list(dict.fromkeys(problems))
    return tuple(problems)


def _undone(
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
