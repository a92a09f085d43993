"""Plans over several functions and places have one line for each action, with a count."""

from __future__ import annotations

import pytest

from lamina.aws.destination.planlines import PlanLine, merged

_NEAR, _FAR = "111122223333 in eu-west-1", "111122223333 in us-east-1"


def _line(name: str, place: str = _NEAR, words: str = "keep (unchanged)", *details: str) -> PlanLine:
    return PlanLine(noun="function", name=name, place=place, words=words, details=details)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([], []),
        ([_line("a")], [f"function a, {_NEAR}: keep (unchanged)"]),
        ([_line(name) for name in "abcd"], [f"4 functions (a, b, c, d), {_NEAR}: keep (unchanged)"]),
        ([_line(name) for name in "abcdefghij"], [f"10 functions (a, b, c and 7 more), {_NEAR}: keep (unchanged)"]),
        (
            [_line(name, place) for place in (_NEAR, _FAR) for name in "ab"],
            [f"2 functions (a, b), 2 places ({_NEAR}, {_FAR}): keep (unchanged)"],
        ),
        (
            [_line("a"), _line("b", _FAR), _line("c", _NEAR, "create (new)"), _line("a", _FAR)],
            [
                f"function a, {_NEAR}: keep (unchanged)",
                f"2 functions (b, a), {_FAR}: keep (unchanged)",
                f"function c, {_NEAR}: create (new)",
            ],
        ),
        (
            [
                _line("a", _NEAR, "update", "for seconds"),
                _line("b", _NEAR, "update", "for seconds"),
                _line("c", _NEAR, "update"),
            ],
            [f"2 functions (a, b), {_NEAR}: update", "  for seconds", f"function c, {_NEAR}: update"],
        ),
    ],
)
def test_lines_with_the_same_action_become_one(lines: list[PlanLine], text: list[str]) -> None:
    """Only lines with the same action, details and place become one; then equal ones of several places."""
    assert text == list(merged(lines))


def test_verbose_names_all() -> None:
    """With `--verbose`, no name is left out."""
    assert [f"6 functions (a, b, c, d, e, f), {_NEAR}: keep (unchanged)"] == list(
        merged([_line(name) for name in "abcdef"], verbose=True)
    )
