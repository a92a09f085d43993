"""
Change one function, step by step, and put it back. `lamina.aws.deploy.apply` decides when which step is taken.

A reply that got lost makes the SDK ask again, with a revision that its own change has outdated. So no step relies on what a call
answers: what counts is what the function is afterwards.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.aws.api.functions import LATEST, NewFunction
from lamina.aws.deploy.plan import CreateFunction, LatestState, UpdateFunction, states
from lamina.aws.deploy.survey import backup
from lamina.core.errors import AwsError, ChangedMeanwhileError, DeployError, UnavailableError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lamina.aws.api.functions import Functions, FunctionState
    from lamina.aws.deploy.code_upload import CodeUploader
    from lamina.aws.destination.destination import Cancellation
    from lamina.core.reporter import Reporter
    from lamina.core.values import Package

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


@dataclass(kw_only=True, slots=True)
class FunctionChange:
    """One function that is created or updated, and what was done to it so far, so that it can be put back."""

    functions: Functions
    action: CreateFunction | UpdateFunction
    package: Package
    directory: Path
    """Where copies of the old code are kept."""
    uploader: CodeUploader
    creation: Creation | None
    patience: Patience
    stop: Cancellation
    reporter: Reporter
    touched: bool = False
    doubtful: bool = False
    """Whether the function may have been created, and no reply said so."""
    version: str | None = None
    """The new version, once it is published."""
    alias_touched: bool = False
    sent_bytes: int = 0

    @property
    def name(self) -> str:
        """The function's, in Lambda."""
        return self.action.desired.name

    def save_code(self) -> None:
        """Have the old code here, and in the bucket if a call cannot take it back."""
        if isinstance(self.action, UpdateFunction) and self.action.brings_code:
            path = backup(self.directory, self.name)
            if not path.exists():
                self.functions.download(self.name, path)
            self.uploader.upload(path)

    def upload_code(self) -> None:
        """Have the new code in the bucket, if it goes through the bucket."""
        self.sent_bytes += self.uploader.upload(self.package.path)

    def change_latest(self) -> None:
        """Create the function, or bring ``$LATEST`` through all states of the plan."""
        match self.action:
            case CreateFunction() as action:
                self._create(action)
            case UpdateFunction() as action:
                self._update(action)
        self.reporter.advance(1)

    def _create(self, action: CreateFunction) -> None:
        desired, creation = action.desired, self.creation
        if creation is None:
            raise DeployError(f"There is no role to make function `{self.name}` with", hint="--role ARN")
        memory, timeout = creation.sizes.get(desired.function, _DEFAULT_SIZES)
        new = NewFunction(
            name=self.name,
            role=creation.role,
            code=self.uploader.code(self.package.path),
            settings=action.settings,
            architecture=desired.architecture,
            memory_mb=memory,
            timeout_seconds=timeout,
        )
        try:
            # One that exists by now is ours where the reply got lost, and the SDK asked again; or somebody else has just created it.
            # So it is ours to delete only where the reply says that it was created.
            self.touched = self.functions.create(new)
        except (UnavailableError, UnreachableError):
            self.doubtful = True
            raise
        self.sent_bytes += self.uploader.sent_bytes(self.package.path)
        self._expect(self._settled(), action.final)

    def _update(self, action: UpdateFunction) -> None:
        found, *following = states(action)
        current = self._expect(self._rested(), found)
        for state in following:
            self.touched = True
            if state.code_sha256 != current.code_sha256:
                self.sent_bytes += self.uploader.sent_bytes(self.package.path)
            current = self._go(current, state, self.package.path)

    def _go(self, current: FunctionState, state: LatestState, code: Path) -> FunctionState:
        """Bring ``$LATEST`` from *current* to *state*, which differs in code or in settings, and wait for it."""
        self.stop.check()
        revision = current.revision
        if (current.code_sha256, current.architecture) != (state.code_sha256, state.architecture):
            sent = self.uploader.code(code)
            self.functions.update_code(self.name, sent, architecture=state.architecture, revision=revision)
        else:
            self.functions.update_settings(self.name, state.settings, revision=revision)
        return self._expect(self._settled(), state)

    def publish(self) -> None:
        """Publish what ``$LATEST`` is, and make sure that it is what was planned: nothing else may get traffic."""
        if self.action.alias is None:
            return
        final = self.action.final
        for _ in range(_ATTEMPTS):
            revision = self._expect(self._settled(), final).revision
            version = self.functions.publish_version(self.name, code_sha256=final.code_sha256, revision=revision)
            if version is not None:
                break
        else:
            raise self._changed()
        self._expect(self._settled(version), final)
        self.version = version

    def move_alias(self) -> None:
        """Point the alias to the new version, and make it where it is missing."""
        alias, version = self.action.alias, self.version
        if alias is None or version is None:
            return
        before = self.action.found.alias if isinstance(self.action, UpdateFunction) else None
        self.alias_touched = True
        self.touched = self.touched or isinstance(self.action, UpdateFunction)
        try:
            if before is None:
                self.functions.create_alias(self.name, alias, version)
            elif before.version != version:
                self.functions.move_alias(self.name, alias, version, revision=before.revision)
        except AwsError:
            if not self._points(alias, version):
                raise
        if not self._points(alias, version):
            raise ChangedMeanwhileError(
                f"Somebody else moved alias `{alias}` of function `{self.name}` at the same time", hint="run again"
            )

    def _points(self, alias: str, version: str) -> bool:
        found = self.functions.alias(self.name, alias)
        return found is not None and found.version == version

    def put_back_alias(self) -> None:
        """Point the alias to the old version again, or delete it, unless somebody else has moved it."""
        action = self.action
        if not self.alias_touched or not isinstance(action, UpdateFunction) or action.alias is None:
            return
        before, now = action.found.alias, self.functions.alias(self.name, action.alias)
        if now is None or now.version != self.version:
            return
        if before is None:
            self.functions.delete_alias(self.name, action.alias)
        elif before.version != now.version:
            self.functions.move_alias(self.name, action.alias, before.version, revision=now.revision)

    def put_back_latest(self) -> None:
        """Bring ``$LATEST`` back the same way, because every state on it fits; delete a function that was created."""
        if isinstance(self.action, CreateFunction):
            self.functions.delete(self.name)
            return
        chain, current = states(self.action), self._rested()
        if current is None or LatestState.of(current) not in chain:
            raise self._changed()
        for state in reversed(chain[: chain.index(LatestState.of(current))]):
            current = self._go(current, state, backup(self.directory, self.name))

    def _rested(self) -> FunctionState | None:
        """Return the function once no change is under way, whether the last one failed or not."""
        try:
            return self._settled()
        except DeployError:
            return self.functions.get(self.name)

    def _settled(self, version: str = LATEST) -> FunctionState | None:
        """Return a version of the function once no change of it is under way."""
        patience = self.patience
        pause = patience.poll_seconds
        deadline = patience.clock() + patience.limit_seconds
        while (found := self.functions.get(self.name, version)) is not None and found.busy:
            if patience.clock() > deadline:
                raise DeployError(
                    f"Function `{self.name}` is still being changed after {patience.limit_seconds:.0f} s",
                    hint="look at its state in the console, and run again",
                )
            self.stop.check()
            patience.sleep(pause)
            pause = min(2 * pause, patience.longest_poll_seconds)
        if found is not None and found.failure is not None:
            doing = "change" if version == LATEST else f"publish version {version} of"
            raise DeployError(f"Lambda could not {doing} function `{self.name}`: {found.failure}")
        return found

    def _expect(self, found: FunctionState | None, state: LatestState) -> FunctionState:
        """Return what was *found* if that is *state*; raises ChangedMeanwhileError otherwise."""
        if found is None or LatestState.of(found) != state:
            raise self._changed()
        return found

    def _changed(self) -> ChangedMeanwhileError:
        return ChangedMeanwhileError(f"Somebody else changed function `{self.name}` at the same time", hint="run again")
