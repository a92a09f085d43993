"""Test how the readers of deploy descriptions check and limit the settings of a function."""

from __future__ import annotations

from typing import Any

import pytest

from lamina.project.templates.settings import FunctionSettings, Unknown, not_python, shown
from lamina.project.templates.types import LayerReference

ARN = "arn:aws:lambda:eu-west-1:123456789012:layer:x:1"


def test_first_reason() -> None:
    """The first reason for a setting counts."""
    settings = FunctionSettings()
    settings.mark_unknown("source", "one")
    settings.text("handler", Unknown(reason="two"))
    settings.mark_unknown("source", "three")

    assert [("source", "one"), ("handler", "two")] == [(each.setting, each.reason) for each in settings.unknown]


@pytest.mark.parametrize(
    ("value", "number", "reason"),
    [
        (None, None, None),
        (128, 128, None),
        ("128", 128, None),
        (1_000_001, None, "expected a whole number from 0 to 1,000,000, found a number"),
        ("-1", None, "`-1` is not a whole number from 0 to 1,000,000"),
        (True, None, "expected a whole number from 0 to 1,000,000, found a boolean"),
        (10**5000, None, "expected a whole number from 0 to 1,000,000, found a number"),
    ],
    ids=["missing", "number", "text", "large", "negative", "boolean", "huge"],
)
def test_number(value: Any, number: int | None, reason: str | None) -> None:
    """A number is a whole number that Lambda may accept, or a text with its digits."""
    settings = FunctionSettings()

    assert (number, reason) == (settings.number("memory", value), settings.reasons.get("memory"))


@pytest.mark.parametrize(
    ("value", "architecture", "reason"),
    [
        (None, None, None),
        ([], None, None),
        ("arm64", "arm64", None),
        (["x86_64"], "x86_64", None),
        (["x86_64", "arm64"], None, "expected an architecture of Lambda, found a list"),
        (["sparc"], None, "`sparc` is not an architecture of Lambda"),
    ],
)
def test_architecture(value: Any, architecture: str | None, reason: str | None) -> None:
    """A function has one architecture, in a list or not."""
    settings = FunctionSettings()

    assert (architecture, reason) == (settings.architecture(value), settings.reasons.get("architecture"))


def test_names() -> None:
    """The names in several mappings are sorted; too many are unknown."""
    settings = FunctionSettings()

    assert ("A", "B") == settings.names({"B": 1}, None, {"A": 2}, dict.fromkeys(map(str, range(1000))))
    assert {"environment": "more than 1,000 variables"} == settings.reasons


def test_layers() -> None:
    """Layers that are not set are left out, and so are unknown ones; too many are unknown."""
    settings = FunctionSettings()

    assert (LayerReference(name=ARN),) == settings.layers([None, ARN, Unknown(reason="why")], lambda value: value)
    assert {"layers": "why"} == settings.reasons

    many = FunctionSettings()

    assert () == many.layers([ARN] * 51, lambda value: value)
    assert {"layers": "more than 50 layers"} == many.reasons


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [
        (None, None),
        (Unknown(reason="why"), None),
        ("python3.13", None),
        ("nodejs22.x", "runtime nodejs22.x is not Python"),
        (3.13, "runtime a number is not Python"),
    ],
)
def test_not_python(runtime: Any, reason: str | None) -> None:
    """Only a runtime that is known to be another one is not Python."""
    assert reason == not_python(runtime)


def test_shown() -> None:
    """Messages show texts in one line, with at most 100 characters."""
    assert "a b" == shown("a\n  b")
    assert f"{'x' * 99}…" == shown("x" * 101)
