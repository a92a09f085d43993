"""Format deployment plans and results as text and as JSON values. This module calls no AWS API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from lamina.aws.api.functions import PUBLISHED
from lamina.aws.deploy.plan import (
    CreateFunction,
    DetachLayers,
    KeepFunction,
    UpdateCode,
    UpdateFunction,
    UpdateSettings,
    states,
)
from lamina.aws.destination.planlines import PlanLine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.aws.api.account import Account
    from lamina.aws.api.functions import Settings
    from lamina.aws.deploy.apply import DeployOutcome, Progress
    from lamina.aws.deploy.plan import Update
    from lamina.aws.deploy.survey import FunctionStep
    from lamina.core.errors import LaminaError


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceOutcome:
    """What a deployment did in one account and region."""

    account: Account
    progress: Progress
    functions: tuple[DeployOutcome, ...]
    error: LaminaError | None = None

    @property
    def outcome(self) -> str:
        """The outcome in one word: that of the deployment, or ``unchanged`` if nothing had to change."""
        changes = any(each.step.action.is_change for each in self.functions)
        return self.progress.value if changes or self.error is not None else "unchanged"

    def lines(self) -> Iterator[PlanLine]:
        """Yield what happened to each function, with the version that callers of the alias use now."""
        for each in self.functions:
            words = self.progress.value if each.step.action.is_change else "unchanged"
            if each.version is not None:
                words += f", version {each.version}"
            yield PlanLine(noun="function", name=each.step.action.desired.name, place=str(self.account), words=words)


def planned(steps: Sequence[FunctionStep], account: Account) -> Iterator[PlanLine]:
    """Yield the action of each of *steps* in *account*, unchanged functions first."""
    for step in sorted(steps, key=lambda step: not isinstance(step.action, KeepFunction)):
        details = step.action.notes
        match step.action:
            case KeepFunction():
                words = "keep"
            case CreateFunction() as action:
                words = "create" if action.alias is None else f"create with alias {action.alias}"
            case UpdateFunction() as action:
                words = _doing(action)
                details = (*(() if action.window is None else (action.window,)), *action.notes)
            case _:
                assert_never(step.action)
        yield PlanLine(
            noun="function",
            name=step.action.desired.name,
            place=str(account),
            words=f"{words} ({step.action.reason})",
            details=details,
        )


def _doing(action: UpdateFunction) -> str:
    words = _updates(action)
    if action.alias is not None:
        words += ["publish a version", f"move alias {action.alias}"]
    if action.found.latest.is_managed:
        words.append(f"publish {PUBLISHED}")
    return ("update " if action.updates else "") + ", then ".join(words)


def _updates(action: UpdateFunction) -> list[str]:
    return [_word(update, before.settings) for update, before in zip(action.updates, states(action), strict=False)]


def _word(update: Update, present: Settings) -> str:
    match update:
        case UpdateCode():
            return "code"
        case UpdateSettings():
            # The same call changes layers, handler and runtime; any of them may be unchanged.
            return "layers" if update.settings.layers != present.layers else "settings"
        case DetachLayers():
            return "no layers"
        case _:
            assert_never(update)


def planned_rows(steps: Sequence[FunctionStep], account: Account) -> list[dict[str, object]]:
    """Return the plan as JSON objects, one for each function."""
    return [_row(step, account) for step in steps]


def deployed_rows(deployed: Sequence[DeployOutcome], account: Account) -> list[dict[str, object]]:
    """Return the results as JSON objects, one for each function."""
    return [
        _row(each.step, account) | {"function_version": each.version, "sent_bytes": each.sent_bytes}
        for each in deployed
    ]


def _row(step: FunctionStep, account: Account) -> dict[str, object]:
    action, desired = step.action, step.action.desired
    row: dict[str, object] = {
        "name": desired.function,
        "function_name": desired.name,
        "account": account.id,
        "region": account.region,
        "reason": action.reason,
        "change": action.is_change,
        "code_sha256": desired.code_sha256,
        "layers": list(desired.references),
        "alias": None,
        "window": None,
        "updates": [],
        "notes": list(action.notes),
        "drift": [],
    }
    match action:
        case KeepFunction():
            return row | {"action": "keep", "drift": list(action.drift)}
        case CreateFunction():
            return row | {"action": "create", "alias": action.alias, "layers": list(action.settings.layers)}
        case UpdateFunction():
            return row | {
                "action": "deploy",
                "alias": action.alias,
                "window": action.window,
                "layers": list(action.settings.layers),
                "updates": _updates(action),
                "drift": list(action.drift),
            }
        case _:
            assert_never(action)


def migration(steps: Sequence[FunctionStep], *, limit: int) -> Iterator[str]:
    """Yield the lines of a Markdown guide for moving the functions' dependencies from their zips into layers, with lamina or other tools."""
    moving = [step.action for step in steps if isinstance(step.action, UpdateFunction) and step.action.updates]
    if not moving:
        yield "Nothing to migrate: every function already has this code and these layers, or does not exist yet."
        return
    yield "| function | current code (bytes, unzipped) | new layers (bytes, unzipped) | total (bytes) | share of the limit |"
    yield "| --- | --: | --: | --: | --: |"
    tight = []
    for action in moving:
        layers, code = action.desired.layers_unzipped_bytes(action.found), action.found.code_unzipped_bytes
        together = None if code is None or layers is None else code + layers
        if together is None or together > limit:
            tight.append(action)
        share = "unknown" if together is None else f"{together / limit:.0%}"
        yield f"| {action.desired.name} | {_bytes(code)} | {_bytes(layers)} | {_bytes(together)} | {share} |"
    yield ""
    yield f"Lambda limits a function with all its layers to {limit:,} bytes unzipped. It checks the limit whenever code or layers change."
    yield ""
    yield "## With lamina"
    yield ""
    yield "`lamina deploy` makes these changes to each function, and rolls all functions back if a change fails:"
    yield ""
    for action in moving:
        yield f"- {action.desired.name}: {_doing(action)}"
        if action.window is not None:
            yield f"  ({action.window})"
    yield ""
    yield from _elsewhere(tight)


def _elsewhere(tight: Sequence[UpdateFunction]) -> Iterator[str]:
    yield "## With CloudFormation, SAM, CDK or Terraform"
    yield ""
    yield "These tools change layers before code, so each function briefly has its current code and the new layers."
    yield ""
    if not tight:
        yield "The total is within the limit for every function, so one deployment with the new code and the layers is enough."
        return
    yield f"The total exceeds the limit or is unknown for: {', '.join(f'`{action.desired.name}`' for action in tight)}"
    yield ""
    yield "Deploy these functions twice:"
    yield ""
    yield "1. Deploy the new code without layers. Until the second deployment, the new code cannot import its dependencies, so"
    yield "   traffic must go through an alias that stays on the current version:"
    yield "   - CloudFormation, SAM, CDK: set the new `Code`, remove `Layers`, and leave the alias's `FunctionVersion` unchanged (no `AutoPublishAlias`)"
    yield "   - Terraform: set the new `filename` and `source_code_hash`, `layers = []`, `publish = false`"
    yield "2. Attach the layers, publish a version, and move the alias:"
    yield "   - CloudFormation, SAM, CDK: set `Layers`, add an `AWS::Lambda::Version`, and point the alias's `FunctionVersion` to it"
    yield '   - Terraform: set `layers = ["arn:…"]`, `publish = true`, and the alias\'s `function_version`'
    if without := [action.desired.name for action in tight if action.found.alias is None]:
        yield ""
        yield f"No alias was found for {', '.join(f'`{name}`' for name in without)}, so callers would see errors"
        yield "between the two deployments. Either create an alias first and let callers use it, or run `lamina deploy`, which makes both changes within seconds."


def _bytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size:,}"
