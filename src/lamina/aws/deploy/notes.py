"""
Describe what a deployment leaves to others: handlers of wrappers, and settings that were changed by hand. This module calls no AWS API.

The notes name environment variables, but never show their values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.aws.api.functions import LATEST, unversioned
from lamina.project.wrappers import dotted, known_wrapper

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from lamina.aws.api.functions import FunctionState


def wrapper_notes(
    handler: str, own: str, latest: FunctionState | None, *, function: str, is_foreign: bool
) -> Iterator[str]:
    """
    Yield what the user should know about *handler*, which a deployment sets, if it is not *own*, the function's own handler.

    If it is, yield a note if *is_foreign*: the present handler is in none of the function's files, so it may be an unknown wrapper.
    *function* is the function's name in the project.
    """
    present = None if latest is None else latest.settings.handler
    if handler == own:
        if is_foreign:
            yield (
                f"replaces the handler `{present}`, which is not in the function's code, so one of its layers has it; to keep it, set "
                f'`{function} = {{ handler = "{own}", wrapper = "{present}" }}` in `[tool.lamina.functions]`'
            )
        return
    wrapper = known_wrapper(handler)
    vendor = "" if wrapper is None else f" of {wrapper.vendor}"
    yield f"{'keeps' if handler == present else 'sets'} the handler `{handler}`{vendor}, which wraps the function's own"
    environment: Mapping[str, str] = {} if latest is None else latest.environment
    is_hidden = latest is not None and latest.has_hidden_environment
    if wrapper is not None and not is_hidden and dotted(environment.get(wrapper.variable, "")) != dotted(own):
        yield (
            f"the environment variable `{wrapper.variable}` is not `{own}`, so the wrapper does not call that handler: "
            "set the variable with the tool that manages the environment"
        )


def differences(old: FunctionState, new: FunctionState, own_layers: Collection[str]) -> tuple[str, ...]:
    """
    Return in which settings, except those that lamina deploys, the version *new* of a function differs from its version *old*.

    Layers are compared except *own_layers*, the ARNs without version of the service's own. Environment variables are not compared if
    AWS hides those of a version.
    """
    is_hidden = old.has_hidden_environment or new.has_hidden_environment
    variables = [] if is_hidden else _compared(old.environment, new.environment, "environment variable `{}`")
    settings = _compared(old.others, new.others, "{}")
    before, after = (dict.fromkeys(_foreign(each, own_layers), "") for each in (old, new))
    return (*variables, *settings, *_compared(before, after, "layer `{}`"))


def _foreign(function: FunctionState, own_layers: Collection[str]) -> list[str]:
    return [arn for arn in function.settings.layers if unversioned(arn) not in own_layers]


def _compared(old: Mapping[str, str], new: Mapping[str, str], words: str) -> list[str]:
    changes = {
        name: "removed" if name not in new else "added" if name not in old else "changed"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    }
    return [f"{words.format(name)} ({change})" for name, change in changes.items()]


def drift_note(changes: Collection[str], *, now: bool) -> str:
    """Return the note about *changes*, the result of `differences`, which this deployment publishes if *now*, else the next one."""
    return (
        f"{LATEST} was changed since callers got their version: {', '.join(changes)}; "
        f"{'this' if now else 'the next'} deployment publishes this too"
    )
