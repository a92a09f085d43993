"""
Change one function step by step, and roll it back. `lamina.aws.deploy.apply` decides when each step runs.

Every change names the revision that it is based on: the one of the plan, or of the reply to the previous change. If the reply to a change
is lost, the SDK repeats the request. Lambda then rejects it, because the first request has already changed the function's revision. So a
step that is rejected reads the function again, and compares it with the planned state.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.aws.api.facts import waiter_seconds
from lamina.aws.api.functions import LATEST, PUBLISHED, CodeStorage, NewFunction
from lamina.aws.deploy.plan import CreateFunction, LatestState, UpdateFunction, states
from lamina.aws.deploy.survey import backup
from lamina.core.errors import (
    AwsError,
    ChangedMeanwhileError,
    DeployError,
    LaminaError,
    UnavailableError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lamina.aws.api.functions import AliasState, Functions, FunctionState
    from lamina.aws.deploy.code_upload import CodeUploader
    from lamina.core.reporter import Reporter
    from lamina.core.values import Package

_ATTEMPTS = 3
_DEFAULT_SIZES = (128, 3)
"""Lambda's default memory (MB) and timeout (seconds); Lambda developer guide, "Create function" (read 2026-11-23)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """The polling intervals and the time limits for waiting until Lambda has completed a change; the limits are those of AWS's own waiters."""

    poll_seconds: float = 0.7
    """The pause before the first poll; each later pause is 1.5 times as long, up to `longest_poll_seconds`."""
    longest_poll_seconds: float = 5.0
    change_seconds: float = field(default_factory=lambda: waiter_seconds("FunctionUpdated"))
    """The time limit for a change of ``$LATEST``."""
    version_seconds: float = field(default_factory=lambda: waiter_seconds("PublishedVersionActive"))
    """The time limit for a published version. With SnapStart, Lambda first takes a snapshot."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, kw_only=True, slots=True)
class Creation:
    """The settings that only a new function needs: its role, memory and timeout."""

    role: str
    """The ARN of the function's execution role."""
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Memory (MB) and timeout (seconds) by the function's name in the project; functions not listed have Lambda's defaults."""


@dataclass(kw_only=True, slots=True)
class FunctionChange:
    """The creation or update of one function, with the progress that a rollback needs."""

    functions: Functions
    action: CreateFunction | UpdateFunction
    package: Package
    directory: Path
    """The directory for copies of the old code."""
    uploader: CodeUploader
    creation: Creation | None
    patience: Patience
    check: Callable[[], None]
    """Called before each change and while waiting. Raises an error if the deployment, or its rollback, must change nothing more."""
    reporter: Reporter
    touched: bool = False
    """Whether a change was accepted, or may have been."""
    doubtful: bool = False
    """Whether the function may have been created although no reply confirmed it."""
    latest: FunctionState | None = None
    """The state of ``$LATEST`` after this deployment's latest change; ``None`` if unknown."""
    published: FunctionState | None = None
    """The new version, which may still be busy; ``None`` until its publication is started."""
    published_at: float = 0.0
    """The time by `Patience.clock` at which the publication was started."""
    storage: CodeStorage = field(default_factory=CodeStorage)
    """How Lambda keeps the old code, and so the new code too."""
    republished: bool = False
    """Whether `PUBLISHED` was replaced."""
    alias_touched: bool = False
    moved: AliasState | None = None
    """The alias after this deployment moved or created it; ``None`` if no reply confirmed that."""
    sent_bytes: int = 0
    is_back: bool = False
    """Whether a rollback is complete."""

    @property
    def name(self) -> str:
        """The function's name in Lambda."""
        return self.action.desired.name

    @property
    def version(self) -> str | None:
        """The number of the new version; ``None`` until its publication is started."""
        return None if self.published is None or self.action.alias is None else self.published.version

    def save_code(self) -> None:
        """
        Save the old code for a rollback, if the deployment replaces it: download it, unless a copy exists.

        Code that is too large for an API call is also uploaded to the bucket.
        """
        if isinstance(self.action, UpdateFunction) and self.action.brings_code:
            path = backup(self.directory, self.name)
            self.storage = self.action.found.code_storage or self.functions.download(self.name, path)
            self.uploader.upload(path, self.storage.storage)

    def upload_code(self) -> None:
        """Upload the new code to the bucket, unless it is sent inside the API call."""
        self.sent_bytes += self.uploader.upload(self.package.path, self.storage.storage)

    def create(self) -> None:
        """Start creating the function, if it is to be created."""
        if not isinstance(self.action, CreateFunction):
            return
        action, desired, creation = self.action, self.action.desired, self.creation
        if creation is None:
            raise DeployError(f"creating function `{self.name}` requires an execution role", hint="pass `--role ARN`")
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
        self.check()
        try:
            # "The function exists" has two causes: the first reply was lost and the SDK repeated the request, or someone else has just
            # created the function. So a rollback deletes the function only if the reply confirms that it was created.
            self.touched = self.functions.create(new)
        except (UnavailableError, UnreachableError):
            self.doubtful = True
            raise
        self.sent_bytes += self.uploader.sent_bytes(self.package.path, self.storage.storage)

    def change_latest(self) -> None:
        """Wait until a new function is created, or change ``$LATEST`` to each state of the plan in turn."""
        match self.action:
            case CreateFunction() as action:
                self.latest = self._expect(self._settled(), action.final)
            case UpdateFunction() as action:
                self._update(action)
        self.reporter.advance(1)

    def is_untouched(self) -> bool:
        """Return whether ``$LATEST`` still is as this deployment left it."""
        now = self.functions.get(self.name)
        return now is not None and self.latest is not None and now.revision == self.latest.revision

    def _update(self, action: UpdateFunction) -> None:
        found, *following = states(action)
        planned = action.found.latest
        current = self._expect(self._rested() if planned.busy else planned, found)
        for state in following:
            if state.code_sha256 != current.code_sha256:
                self.sent_bytes += self.uploader.sent_bytes(self.package.path, self.storage.storage)
            current = self._go(current, state, self.package.path)
        self.latest = current

    def _go(self, current: FunctionState, state: LatestState, code: Path) -> FunctionState:
        """Change either the code (to the zip *code*) or the settings of ``$LATEST`` from *current* to *state*, and wait for completion."""
        was, self.touched = self.touched, True
        try:
            started = self._start(current, state, code)
            if started is None:
                found = self._settled()
                if found is not None and LatestState.of(found) == state:
                    return found
                started = self._start(self._expect(found, LatestState.of(current)), state, code)
        except (UnavailableError, UnreachableError):
            raise
        except LaminaError:
            # An earlier request, whose reply was lost, may have been accepted.
            found = self.functions.get(self.name)
            self.touched = was or (found is not None and LatestState.of(found) == state)
            raise
        return self._expect(self._settled(started=started), state)

    def _start(self, current: FunctionState, state: LatestState, code: Path) -> FunctionState | None:
        """Start the change, and return the state; ``None`` if ``$LATEST`` no longer has the revision of *current*."""
        self.check()
        if (current.code_sha256, current.architecture) == (state.code_sha256, state.architecture):
            return self.functions.update_settings(self.name, state.settings, revision=current.revision)
        return self.functions.update_code(
            self.name,
            self.uploader.code(code, self.storage.storage),
            architecture=state.architecture,
            revision=current.revision,
            kms_key=self.storage.kms_key,
        )

    def publish(self) -> None:
        """
        Start publishing ``$LATEST`` as a version, if an alias is to be moved.

        Raises `ChangedMeanwhileError` if the state of ``$LATEST`` is not the planned one.
        """
        if self.action.alias is not None:
            self.published = self._publish(self.action.final)
            self.published_at = self.patience.clock()

    def await_version(self) -> None:
        """Wait until the published version can run. With SnapStart, that takes minutes, so all functions' versions are published first."""
        if self.published is not None:
            self._expect(self._settled(self.published.version, self.published, self.published_at), self.action.final)

    def republish(self) -> None:
        """Publish ``$LATEST`` as `PUBLISHED`, if the function has that version, and wait for it."""
        if isinstance(self.action, UpdateFunction) and self.action.found.latest.is_managed:
            self._republish(self.action.final)

    def _republish(self, state: LatestState) -> None:
        self._expect(self._settled(PUBLISHED, self._publish(state, to=PUBLISHED)), state)

    def _publish(self, state: LatestState, to: str | None = None) -> FunctionState:
        """Start publishing ``$LATEST``, which must be in *state*, as a version, and return the version's state."""
        for attempt in range(_ATTEMPTS):
            revision = self._expect(self._settled(started=None if attempt else self.latest), state).revision
            self.check()
            version = self._start_publishing(state, revision, to)
            if version is not None:
                return version
        raise self._changed()

    def _start_publishing(self, state: LatestState, revision: str, to: str | None) -> FunctionState | None:
        """Ask for the version, and note whether `PUBLISHED` was replaced, or may have been."""
        was = self.touched, self.republished
        if to == PUBLISHED:
            self.touched = self.republished = True
        try:
            return self.functions.publish_version(self.name, code_sha256=state.code_sha256, revision=revision, to=to)
        except (UnavailableError, UnreachableError):
            raise
        except LaminaError:
            self.touched, self.republished = was
            raise

    def move_alias(self) -> None:
        """Point the alias to the new version, or create it. Raises `ChangedMeanwhileError` if it then points to another version."""
        alias, version = self.action.alias, self.version
        if alias is None or version is None:
            return
        before = self.action.found.alias if isinstance(self.action, UpdateFunction) else None
        self.check()
        self.alias_touched = True
        self.touched = self.touched or isinstance(self.action, UpdateFunction)
        moved = None
        try:
            if before is None:
                moved = self.moved = self.functions.create_alias(self.name, alias, version)
            elif before.version != version:
                moved = self.moved = self.functions.move_alias(self.name, alias, version, revision=before.revision)
        except AwsError:
            if not self._points(alias, version):
                raise
        if moved is None and not self._points(alias, version):
            raise ChangedMeanwhileError(
                f"alias `{alias}` of function `{self.name}` was moved by someone else during the deployment",
                hint="run `lamina deploy` again",
            )

    def _points(self, alias: str, version: str) -> bool:
        found = self.functions.alias(self.name, alias)
        return found is not None and found.version == version

    def put_back_alias(self) -> None:
        """Point the alias to the old version again, or delete it if it is new. Leave an alias that someone else has moved."""
        action = self.action
        if not self.alias_touched or not isinstance(action, UpdateFunction) or action.alias is None:
            return
        # A deletion names no revision. So the claim is renewed first if it is old, and nothing comes between reading and deleting.
        self.check()
        before, now = action.found.alias, self.functions.alias(self.name, action.alias)
        if (
            now is None
            or now.version != self.version
            or (self.moved is not None and now.revision != self.moved.revision)
        ):
            return
        self.check()
        if before is None:
            self.functions.delete_alias(self.name, action.alias)
        elif before.version != now.version:
            self.functions.move_alias(self.name, action.alias, before.version, revision=now.revision)

    def put_back_latest(self) -> None:
        """
        Restore ``$LATEST`` through the states of the deployment in reverse, or delete a function that the deployment created.

        All these states are within Lambda's size limit. Raises `ChangedMeanwhileError` if someone else has changed the function.
        """
        self._put_back_latest()
        self.is_back = True

    def _put_back_latest(self) -> None:
        current = self._rested()
        is_last = current is None or self.published is not None or self.latest is None
        if current is not None and self.latest is not None and current.revision == self.latest.revision:
            is_last = True
        if isinstance(self.action, CreateFunction):
            if current is not None:
                self._delete(self._expect(current if is_last else None, self.action.final))
            return
        chain = states(self.action)
        if current is None or LatestState.of(current) not in chain or not is_last:
            raise self._changed()
        for state in reversed(chain[: chain.index(LatestState.of(current))]):
            current = self._go(current, state, backup(self.directory, self.name))
        self.latest = current
        if self.republished and self.action.found.published is not None:
            self._republish(chain[0])

    def _delete(self, found: FunctionState) -> None:
        """
        Delete the function, which this deployment created, if it still is as it was *found*.

        A deletion names no revision. So the claim is renewed first if it is old, and nothing comes between reading and deleting.
        """
        self.check()
        now = self.functions.get(self.name)
        if now is None:
            return
        if now.revision != found.revision:
            raise self._changed()
        self.check()
        self.functions.delete(self.name)

    def _rested(self) -> FunctionState | None:
        """Wait as `_settled` does, but return the state of ``$LATEST`` even if the change failed or timed out."""
        try:
            return self._settled()
        except DeployError:
            return self.functions.get(self.name)

    def _settled(
        self, version: str = LATEST, started: FunctionState | None = None, since: float | None = None
    ) -> FunctionState | None:
        """
        Wait until no change of *version* is in progress; return its state, or ``None`` if it does not exist.

        *started* is the reply that started the change; without it, the state is read at once. *since* is the time at which the change was
        started, if it is not now. Raises `DeployError` if the change failed or timed out.
        """
        patience = self.patience
        pause = patience.poll_seconds
        limit = patience.change_seconds if version == LATEST else patience.version_seconds
        deadline = (patience.clock() if since is None else since) + limit
        found = started or self.functions.get(self.name, version)
        while found is not None and found.busy:
            if patience.clock() > deadline:
                doing = "changing" if version == LATEST else f"preparing version {version} of"
                raise DeployError(
                    f"Lambda is still {doing} function `{self.name}` after {limit:,.0f} s: {found.unfinished}",
                    hint="check the function's state in the Lambda console, then run `lamina deploy` again; to wait longer, set `wait-seconds` in "
                    "`[tool.lamina.deploy]`",
                )
            self.check()
            patience.sleep(pause)
            pause = min(1.5 * pause, patience.longest_poll_seconds)
            found = self.functions.get(self.name, version)
        if found is not None and found.failure is not None:
            doing = "change" if version == LATEST else f"publish version {version} of"
            raise DeployError(f"Lambda could not {doing} function `{self.name}`: {found.failure}")
        return found

    def _expect(self, found: FunctionState | None, state: LatestState) -> FunctionState:
        """Return *found* if its state is *state*; raise `ChangedMeanwhileError` otherwise."""
        if found is None or LatestState.of(found) != state:
            raise self._changed()
        return found

    def _changed(self) -> ChangedMeanwhileError:
        return ChangedMeanwhileError(
            f"function `{self.name}` was changed by someone else during the deployment",
            hint="run `lamina deploy` again",
        )
