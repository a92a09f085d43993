"""
Look up facts about the AWS APIs: required IAM actions, meanings of error codes, and formats of names.

The facts are in ``data/aws.toml``, each with its source and the date when it was checked. Only this module reads that file. The formats
of the names of functions and layers are those of the configuration.
"""

from __future__ import annotations

import re
from typing import Any

from lamina.core.facts import fact, read_facts
from lamina.project.functions import name_pattern


@fact
def actions(service: str, operation: str) -> tuple[str, ...]:
    """Return the IAM actions that *operation* of *service* requires: those in the data file, else the action of the same name."""
    for row in _data()["operation"]:
        if (row["service"], row["name"]) == (service, operation):
            return tuple(row["actions"])
    return (f"{service}:{operation}",)


@fact
def meaning(code: str) -> str | None:
    """Return the meaning of the AWS error *code*, such as ``throttled``, or ``None`` if the data file does not list the code."""
    return next((row["name"] for row in _data()["meaning"] if code in row["codes"]), None)


def fits(kind: str, text: str) -> bool:
    """Return whether *text* has the format that AWS requires for a *kind* of name, such as ``role`` or ``region``."""
    return _pattern(kind).fullmatch(text) is not None


@fact
def calls_per_second(limit: str = "lambda-control-plane") -> float:
    """Return the maximum number of Lambda API calls per second: half of AWS's *limit*, so that other clients are not throttled."""
    return next(float(row["value"]) / 2 for row in _data()["rate"] if row["name"] == limit)


@fact
def waiter_seconds(name: str) -> float:
    """Return how many seconds the AWS SDK's waiter *name*, such as ``FunctionUpdated``, waits at most."""
    return next(float(row["seconds"]) for row in _data()["waiter"] if row["name"] == name)


@fact
def progress(state: str, *, is_version: bool) -> str:
    """
    Return what a deployment does with ``$LATEST``, or a version, in *state*, such as ``Active``.

    The result is ``ready``, ``waiting`` or ``failed``. As AWS's waiters do, it waits in a state that the data file does not list.
    """
    row = next((row for row in _data()["state"] if row["name"] == state), None)
    return "waiting" if row is None else str(row["version" if is_version else "latest"])


@fact
def kept_settings() -> dict[str, str]:
    """
    Return the settings of a function that a published version keeps and that lamina never changes: the API's name, then the words for it.

    Environment variables are not among them.
    """
    (row,) = _data()["function"]
    return dict(row["kept"])


@fact
def unsettled_stack_statuses() -> tuple[str, ...]:
    """Return the statuses in which a CloudFormation stack may still roll back."""
    (row,) = _data()["stack"]
    return tuple(row["unsettled"])


@fact
def _pattern(kind: str) -> re.Pattern[str]:
    own = next((row["pattern"] for row in _data()["pattern"] if row["name"] == kind), None)
    return re.compile(name_pattern(kind.replace("-", "_")) if own is None else own)


@fact
def _data() -> dict[str, Any]:
    return read_facts("aws.toml")
