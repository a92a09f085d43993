"""Refuse functions with layers of other accounts that the configuration does not allow. This module calls no AWS API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.aws.deploy.plan import KeepFunction
from lamina.core.errors import CheckFailedError
from lamina.pipeline.checks.common import listed
from lamina.project.publishers import cure, described

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lamina.aws.deploy.plan import Action
    from lamina.project.service import Service


def refuse_external(actions: Iterable[Action], service: Service, *, account: str) -> None:
    """
    Raise `CheckFailedError` if a function of *actions* has, or would keep, a layer that *service* refuses; the message lists all.

    The layers of *account*, to which the functions are deployed, are never refused.
    """
    users: dict[str, list[str]] = {}
    for action in actions:
        for arn in _layers(action):
            if service.refuses(arn, account):
                users.setdefault(arn, []).append(action.desired.name)
    refused = [
        f"{_subject(names)} the layer {described(arn)} of another account; {cure(arn)}" for arn, names in users.items()
    ]
    if refused:
        text = "\n  ".join((f"{len(refused)} layers of other accounts are not allowed:", *refused))
        raise CheckFailedError(
            refused[0] if len(refused) == 1 else text,
            hint="detach the layer, or allow it in the configuration, then run `lamina deploy` again; no function was changed",
        )


def _subject(names: Sequence[str]) -> str:
    return f"function {listed(names)} has" if len(names) == 1 else f"functions {listed(names)} have"


def _layers(action: Action) -> Sequence[str]:
    """Return the layers that the function has after *action*, except versions of the service's that are not published yet."""
    if isinstance(action, KeepFunction):
        return action.layers
    new = action.desired.references
    return [arn for arn in action.settings.layers if arn not in new]
