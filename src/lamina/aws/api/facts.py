"""
What AWS's interfaces ask for and answer: IAM actions, error codes, forms of names.

The facts are in ``data/aws.toml``, each with its source and the day it was read; this module is its only reader.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from lamina.core.toml import read_data


@cache
def actions(service: str, operation: str) -> tuple[str, ...]:
    """Return the IAM actions that *operation* of *service* needs; of one that is not listed, what its name suggests."""
    for row in _data()["operation"]:
        if (row["service"], row["name"]) == (service, operation):
            return tuple(row["actions"])
    return (f"{service}:{operation}",)


@cache
def meaning(code: str) -> str | None:
    """Return what the error *code* means, by the names in the data, or ``None``."""
    return next((row["name"] for row in _data()["meaning"] if code in row["codes"]), None)


def fits(kind: str, text: str) -> bool:
    """Return whether *text* has the form of a *kind* of name."""
    return _pattern(kind).fullmatch(text) is not None


@cache
def calls_per_second() -> float:
    """Return how many calls a second leave room for others in what Lambda takes of an account."""
    return next(float(row["value"]) / 2 for row in _data()["rate"] if row["name"] == "lambda-control-plane")


@cache
def unsettled_stack_statuses() -> tuple[str, ...]:
    """Return the statuses in which a CloudFormation stack may still go back to an earlier state."""
    (row,) = _data()["stack"]
    return tuple(row["unsettled"])


@cache
def _pattern(kind: str) -> re.Pattern[str]:
    return next(re.compile(row["pattern"]) for row in _data()["pattern"] if row["name"] == kind)


@cache
def _data() -> dict[str, Any]:
    return read_data("aws.toml")
