"""
Carry out a plan for functions, and put everything back where it cannot be carried out.

Three phases, each for all functions before the next begins: change `$LATEST`; publish versions of it; move the aliases. Before anything
is changed there is a copy of the code that is to be replaced. What is interrupted for good, by the power say, is finished by running again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.deploy.code_upload import CodeUploader
from lamina.aws.deploy.function_change import Creation, FunctionChange, Patience
from lamina.aws.deploy.plan import KeepFunction
from lamina.aws.destination.destination import Cancellation
from lamina.aws.destination.parallel import in_parallel
from lamina.core.errors import DeployError, LaminaError, StoppedError
from lamina.core.reporter import SILENT
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from lamina.aws.api.functions import Functions
    from lamina.aws.deploy.survey import FunctionStep
    from lamina.aws.destination.bucket import Bucket
    from lamina.core.reporter import Reporter

_WORKERS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployOutcome:
    """What became of one function."""

    step: FunctionStep
    version: str | None = None
    """The version that the alias points to now; ``None`` without an alias."""
    sent_bytes: int = 0


class Deployment:
    """One run of a plan in one account and region."""

    def __init__(
        self,
        functions: Functions,
        steps: Sequence[FunctionStep],
        *,
        directory: Path,
        bucket: Bucket | None,
        creation: Creation | None = None,
        patience: Patience | None = None,
        direct_bytes: int | None = None,
        stop: Cancellation | None = None,
        reporter: Reporter = SILENT,
    ) -> None:
        """
        Use *directory* for copies of the old code, some of which may be there, and *bucket* for code that is too large for a call.

        A call carries up to *direct_bytes*, which is Lambda's own limit if not given. *stop* is asked between two steps; then
        everything is put back.
        """
        self._steps = steps
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
                stop=self._stop,
                reporter=reporter,
            )
            for step in steps
            if not isinstance(step.action, KeepFunction)
        }

    def run(self) -> tuple[DeployOutcome, ...]:
        """
        Do it, and return what became of each function, in the order of the plan.

        Raises DeployError, after everything has been put back that could be; its text says what could not.
        """
        changes = list(self._changes.values())
        if changes:
            self._reporter.stage("Deploying", total=len(changes))
        new_code = {each.package.sha256: each for each in reversed(changes) if each.action.brings_code}
        self._each(FunctionChange.save_code, changes)
        self._each(FunctionChange.upload_code, new_code.values())
        try:
            for phase in (FunctionChange.change_latest, FunctionChange.publish, FunctionChange.move_alias):
                self._each(phase, changes)
        except BaseException as error:
            problems = _put_back(changes)
            if isinstance(error, LaminaError):
                raise _undone(error, problems, changes) from error
            raise
        return tuple(self._outcome(step) for step in self._steps)

    def _outcome(self, step: FunctionStep) -> DeployOutcome:
        change = self._changes.get(step.action.desired.name)
        if change is None:
            return DeployOutcome(step=step)
        return DeployOutcome(step=step, version=change.version, sent_bytes=change.sent_bytes)

    def _each(self, phase: Callable[[FunctionChange], None], changes: Iterable[FunctionChange]) -> None:
        """Take all *changes* through *phase*; after a failure none is begun, and those that were begun have ended when this raises."""

        def checked(change: FunctionChange) -> None:
            self._stop.check()
            phase(change)

        in_parallel(checked, changes, workers=_WORKERS)


def _put_back(changes: Sequence[FunctionChange]) -> tuple[str, ...]:
    """Undo what was done, aliases first; return what could not be."""
    problems: list[str] = []
    touched = [each for each in changes if each.touched]
    for undo in (FunctionChange.put_back_alias, FunctionChange.put_back_latest):
        for change in touched:
            # A request to stop must not interrupt this.
            change.stop = Cancellation()
            try:
                undo(change)
            except LaminaError as error:
                problems.append(f"`{change.name}` could not be put back: {error}")
    return tuple(problems)


def _undone(
    error: LaminaError, problems: Sequence[str], changes: Sequence[FunctionChange]
) -> DeployError | StoppedError:
    """Return *error* with what was put back, and what was not."""
    kind = type(error) if isinstance(error, DeployError | StoppedError) else DeployError
    if problems:
        return kind("\n  ".join((f"{error}; not everything could be put back", *problems)), hint=error.hint)
    touched = any(each.touched for each in changes)
    outcome = "everything was put back: functions and aliases are as they were" if touched else "nothing was changed"
    if doubtful := [f"`{each.name}`" for each in changes if each.doubtful]:
        outcome += f", though {' and '.join(doubtful)} may have been made"
    return kind(f"{error}; {outcome}", hint=error.hint)
