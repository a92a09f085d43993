"""
Carry out a plan for functions, and put everything back where it cannot be carried out.

Three phases, each for all functions before the next begins: change `$LATEST`; publish versions of it; move the aliases. Before anything
is changed there is a copy of the code that is to be replaced. What is interrupted for good, by the power say, is finished by running again.
"""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.aws.api.functions import LATEST, NewFunction, Settings
from lamina.aws.deploy.code_upload import CodeUploader
from lamina.aws.deploy.plan import CreateFunction, KeepFunction, LatestState, UpdateFunction, states
from lamina.aws.deploy.survey import backup
from lamina.core.errors import (
    AwsError,
    ChangedMeanwhileError,
    DeployError,
    LaminaError,
    StoppedError,
    UnavailableError,
    UnreachableError,
)
from lamina.core.reporter import SILENT
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from lamina.aws.api.functions import Functions, FunctionState
    from lamina.aws.api.protocols import Objects
    from lamina.aws.deploy.survey import FunctionStep
    from lamina.aws.publish.naming import Keys
    from lamina.core.reporter import Reporter

__all__ = ["Creation", "DeployOutcome", "Deployment", "Patience"]

_WORKERS = 4
_ATTEMPTS = 3
_DEFAULT_SIZES = (128, 3)
"""Lambda developer guide, "Create function": MB and seconds (read 2026-11-23)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How to wait for Lambda."""

    poll_seconds: float = 0.05
    """Before the second look; twice as long before each one after it."""
    longest_poll_seconds: float = 1.0
    limit_seconds: float = 300.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, kw_only=True, slots=True)
class Creation:
    """What a new function needs beside its code."""

    role: str
    """The ARN of the role that it runs as."""
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Memory (MB) and timeout (seconds) by the service's name for the function; Lambda's own defaults for others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployOutcome:
    """What became of one function."""

    step: FunctionStep
    version: str | None
    """The version that the alias points to now; ``None`` without an alias."""
    sent_bytes: int


@dataclass(slots=True)
class _Journal:
    """What was done to one function, so that it can be undone."""

    step: FunctionStep
    touched: bool = False
    doubtful: bool = False
    """Whether the function may have been made, and nobody told."""
    version: str | None = None
    alias_touched: bool = False
    sent_bytes: int = 0


class Deployment:
    """One run of a plan in one account and region."""

    def __init__(
        self,
        functions: Functions,
        steps: Sequence[FunctionStep],
        *,
        directory: Path,
        objects: Objects | None,
        keys: Keys,
        creation: Creation | None = None,
        patience: Patience | None = None,
        direct_bytes: int | None = None,
        check: Callable[[], None] | None = None,
        reporter: Reporter = SILENT,
    ) -> None:
        """
        Use *directory* for copies of the old code, some of which may be there, and *objects* for code that goes through the bucket.

        A call carries up to *direct_bytes*, which is Lambda's own limit if not given. *check* is called between two steps, and may
        raise; then everything is put back.
        """
        self._functions = functions
        self._journals = [_Journal(step=step) for step in steps]
        self._directory = directory
        self._creation = creation
        self._patience = patience or Patience()
        bringing = Counter(step.package.sha256 for step in steps if _brings_code(step))
        self._carriage = CodeUploader(
            objects,
            keys,
            direct_bytes=quotas().direct_upload_bytes if direct_bytes is None else direct_bytes,
            shared={sha256 for sha256, count in bringing.items() if count > 1},
        )
        self._reporter = reporter
        self._check = check or _go_on

    def run(self) -> tuple[DeployOutcome, ...]:
        """
        Do it, and return what became of each function, in the order of the plan.

        Raises DeployError, after everything has been put back that could be; its text says what could not.
        """
        changing = [each for each in self._journals if not isinstance(each.step.action, KeepFunction)]
        if changing:
            self._reporter.stage("Deploying", total=len(changing))
        # Before anything is changed.
        self._each(self._prepare, changing)
        new = {each.step.package.sha256: each for each in reversed(changing) if _brings_code(each.step)}
        self._each(self._bring, new.values())
        try:
            self._each(self._change_latest, changing)
            self._each(self._publish, changing)
            self._each(self._move_alias, changing)
        except BaseException as error:
            self._check = _go_on
            problems = self._put_back(changing)
            if isinstance(error, LaminaError):
                raise _undone(error, problems, changing) from error
            raise
        return tuple(
            DeployOutcome(step=each.step, version=each.version, sent_bytes=each.sent_bytes) for each in self._journals
        )

    def _each(self, work: Callable[[_Journal], None], journals: Iterable[_Journal]) -> None:
        """Do *work* for all; after a failure nothing more is begun, and what was begun has ended when this raises."""

        def checked(journal: _Journal) -> None:
            self._check()
            work(journal)

        pool = ThreadPoolExecutor(_WORKERS, "lamina-deploy")
        try:
            for future in [pool.submit(checked, journal) for journal in journals]:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _prepare(self, journal: _Journal) -> None:
        """Have the old code here, and in the bucket if a call cannot take it back."""
        action = journal.step.action
        if isinstance(action, UpdateFunction) and _brings_code(journal.step):
            path = backup(self._directory, action.wanted.name)
            if not path.exists():
                self._functions.download(action.wanted.name, path)
            self._carriage.bring(path)

    def _bring(self, journal: _Journal) -> None:
        """Have new code in the bucket, if that is the way it goes."""
        journal.sent_bytes += self._carriage.bring(journal.step.package.path)

    def _change_latest(self, journal: _Journal) -> None:
        match journal.step.action:
            case CreateFunction() as action:
                self._create(journal, action)
            case UpdateFunction() as action:
                chain = states(action)
                current = self._rested(action.wanted.name)
                if current is None or LatestState.of(current) != chain[0]:
                    raise _changed(action.wanted.name)
                for state in chain[1:]:
                    journal.touched = True
                    if state.code_sha256 != current.code_sha256:
                        journal.sent_bytes += self._carriage.sent_bytes(journal.step.package.path)
                    current = self._go(current, state, journal.step.package.path)
            case KeepFunction():
                return
        self._reporter.advance(1)

    def _create(self, journal: _Journal, action: CreateFunction) -> None:
        wanted, creation = action.wanted, self._creation
        if creation is None:
            raise DeployError(f"There is no role to make function `{wanted.name}` with", hint="--role ARN")
        memory, timeout = creation.sizes.get(wanted.function, _DEFAULT_SIZES)
        new = NewFunction(
            name=wanted.name,
            role=creation.role,
            code=self._carriage.code(journal.step.package.path),
            settings=_settings_of(action),
            architecture=wanted.architecture,
            memory_mb=memory,
            timeout_seconds=timeout,
        )
        try:
            # One that exists by now is ours where the reply got lost, and the SDK asked again; or somebody else has just made it.
            # So it is ours to delete only where we were told that it was made.
            journal.touched = self._functions.create(new)
        except (UnavailableError, UnreachableError):
            journal.doubtful = True
            raise
        journal.sent_bytes += self._carriage.sent_bytes(journal.step.package.path)
        made = self._settled(wanted.name)
        if made is None or LatestState.of(made) != _final(action):
            raise _changed(wanted.name)

    def _go(self, current: FunctionState, state: LatestState, code: Path) -> FunctionState:
        """Bring ``$LATEST`` from *current* to *state*, which differs in code or in settings, and wait for it."""
        self._check()
        name = current.name
        if (current.code_sha256, current.architecture) != (state.code_sha256, state.architecture):
            self._functions.update_code(
                name, self._carriage.code(code), architecture=state.architecture, revision=current.revision
            )
        else:
            self._functions.update_settings(name, state.settings, revision=current.revision)
        # A reply that got lost makes the SDK ask again, with a revision that its own change has outdated; so what counts
        # is what the function is now.
        reached = self._settled(name)
        if reached is None or LatestState.of(reached) != state:
            raise _changed(name)
        return reached

    def _settled(self, name: str, version: str = LATEST) -> FunctionState | None:
        """Return a version of a function once no change of it is under way."""
        patience = self._patience
        pause = patience.poll_seconds
        deadline = patience.clock() + patience.limit_seconds
        while True:
            found = self._functions.get(name, version)
            if found is None or not found.busy:
                break
            if patience.clock() > deadline:
                raise DeployError(
                    f"Function `{name}` is still being changed after {patience.limit_seconds:.0f} s",
                    hint="look at its state in the console, and run again",
                )
            self._check()
            patience.sleep(pause)
            pause = min(2 * pause, patience.longest_poll_seconds)
        if found is not None and found.failure is not None:
            doing = "change" if version == LATEST else f"publish version {version} of"
            raise DeployError(f"Lambda could not {doing} function `{name}`: {found.failure}")
        return found

    def _publish(self, journal: _Journal) -> None:
        """Publish what ``$LATEST`` is, and make sure that it is what was wanted: nothing else may get traffic."""
        action = journal.step.action
        if isinstance(action, KeepFunction) or action.alias is None:
            return
        name = action.wanted.name
        wanted = _final(action)
        for _ in range(_ATTEMPTS):
            latest = self._settled(name)
            if latest is None or LatestState.of(latest) != wanted:
                raise _changed(name)
            version = self._functions.publish_version(name, code_sha256=wanted.code_sha256, revision=latest.revision)
            if version is not None:
                break
        else:
            raise _changed(name)
        published = self._settled(name, version)
        if published is None or LatestState.of(published) != wanted:
            raise _changed(name)
        journal.version = version

    def _move_alias(self, journal: _Journal) -> None:
        action, version = journal.step.action, journal.version
        if isinstance(action, KeepFunction) or action.alias is None or version is None:
            return
        name, alias = action.wanted.name, action.alias
        before = action.found.alias if isinstance(action, UpdateFunction) else None
        journal.alias_touched = True
        journal.touched = journal.touched or isinstance(action, UpdateFunction)
        try:
            if before is None:
                self._functions.create_alias(name, alias, version)
            elif before.version != version:
                self._functions.move_alias(name, alias, version, revision=before.revision)
        except AwsError:
            # As above: an alias that is there by now, and points to the version, is what was asked for.
            there = self._functions.alias(name, alias)
            if there is None or there.version != version:
                raise
        now = self._functions.alias(name, alias)
        if now is None or now.version != version:
            raise ChangedMeanwhileError(
                f"Somebody else moved alias `{alias}` of function `{name}` at the same time", hint="run again"
            )

    def _put_back(self, journals: Sequence[_Journal]) -> tuple[str, ...]:
        """Undo what was done, aliases first; return what could not be."""
        problems: list[str] = []
        touched = [each for each in journals if each.touched]
        for undo in (self._put_back_alias, self._put_back_latest):
            for journal in touched:
                name = journal.step.action.wanted.name
                try:
                    undo(journal)
                except LaminaError as error:
                    problems.append(f"`{name}` could not be put back: {error}")
        return tuple(problems)

    def _put_back_alias(self, journal: _Journal) -> None:
        action = journal.step.action
        if not journal.alias_touched or not isinstance(action, UpdateFunction) or action.alias is None:
            return
        name, before = action.wanted.name, action.found.alias
        now = self._functions.alias(name, action.alias)
        # Where it points to something else, somebody else has moved it.
        if now is None or now.version != journal.version:
            return
        if before is None:
            self._functions.delete_alias(name, action.alias)
        elif before.version != now.version:
            self._functions.move_alias(name, action.alias, before.version, revision=now.revision)

    def _put_back_latest(self, journal: _Journal) -> None:
        action = journal.step.action
        if isinstance(action, CreateFunction):
            self._functions.delete(action.wanted.name)
            return
        if not isinstance(action, UpdateFunction):
            return
        name, chain = action.wanted.name, states(action)
        current = self._rested(name)
        if current is None or LatestState.of(current) not in chain:
            raise _changed(name)
        # Back the same way: every state on it fits.
        for state in reversed(chain[: chain.index(LatestState.of(current))]):
            current = self._go(current, state, backup(self._directory, name))

    def _rested(self, name: str) -> FunctionState | None:
        """Return a function once no change is under way, whether the last one failed or not."""
        try:
            return self._settled(name)
        except DeployError:
            return self._functions.get(name)


def _brings_code(step: FunctionStep) -> bool:
    """Return whether the function gets code: another one, or its own for another architecture."""
    action = step.action
    if isinstance(action, UpdateFunction):
        latest, wanted = action.found.latest, action.wanted
        return (latest.code_sha256, latest.architecture) != (wanted.code_sha256, wanted.architecture)
    return isinstance(action, CreateFunction)


def _go_on() -> None:
    pass


def _settings_of(action: CreateFunction) -> Settings:
    wanted = action.wanted
    return Settings(
        layers=tuple(layer.reference for layer in wanted.layers), handler=wanted.handler, runtime=wanted.runtime
    )


def _final(action: CreateFunction | UpdateFunction) -> LatestState:
    wanted = action.wanted
    settings = _settings_of(action) if isinstance(action, CreateFunction) else action.settings
    return LatestState(code_sha256=wanted.code_sha256, architecture=wanted.architecture, settings=settings)


def _changed(name: str) -> ChangedMeanwhileError:
    return ChangedMeanwhileError(f"Somebody else changed function `{name}` at the same time", hint="run again")


def _undone(error: LaminaError, problems: Sequence[str], journals: Sequence[_Journal]) -> DeployError | StoppedError:
    """Return what to tell after *error*: what went wrong, and how things stand now."""
    kind = type(error) if isinstance(error, DeployError | StoppedError) else DeployError
    if problems:
        return kind("\n  ".join((f"{error}; not everything could be put back", *problems)), hint=error.hint)
    touched = any(each.touched for each in journals)
    standing = "everything was put back: functions and aliases are as they were" if touched else "nothing was changed"
    if doubtful := [f"`{each.step.action.wanted.name}`" for each in journals if each.doubtful]:
        standing += f", though {' and '.join(doubtful)} may have been made"
    return kind(f"{error}; {standing}", hint=error.hint)
