"""Simple `.gitignore` patterns give the same results as with pathspec, and lamina's own rules match few other files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from lamina.project.ignore import _is_simple, _simple_spec, rule_for

PIECES = st.sampled_from(
    ["a", "b", "ab", ".a", "*", "?", "*.a", "a*", "a.*b", "#", "!", "[a]", "**", "\\\\", " ", ".", ".."]
)
LINES = st.lists(st.lists(st.one_of(PIECES, st.just("/")), min_size=1, max_size=5).map("".join), min_size=1, max_size=3)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", ".a", "b.a", "a.b", "#"]), min_size=1, max_size=4).map("/".join)


def is_rule(line: str) -> bool:
    """Return whether git would accept *line* as a pattern."""
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return bool(line.strip()) and not line.startswith("#")


@given(LINES.map(lambda lines: list(filter(is_rule, lines))), PATHS, st.booleans())
def test_same_as_pathspec(lines: list[str], path: str, is_directory: bool) -> None:
    """For simple lines, lamina's expression and pathspec agree on every path."""
    if all(map(_is_simple, lines)):
        whole = f"{path}/" if is_directory else path
        expected = GitIgnoreSpec.from_lines(lines).check_file(whole).include

        assert expected is (True if _simple_spec(lines).fullmatch(whole) else None)


@pytest.mark.parametrize(
    "line", ["__pycache__/", ".venv", "*.pyc", "/build/", "cdk.out", "docs/_build/", "*$py.class", "*.egg-info/", "a?b"]
)
def test_simple(line: str) -> None:
    """Common lines of `.gitignore` files are simple."""
    assert _is_simple(line)


@pytest.mark.parametrize(
    "line", ["!a", "a/**/b", "**/a", "*.py[cod]", "a\\\\ ", "a b", "a//b", "//a", "./a", "../a", "/", "\\\\#a"]
)
def test_not_simple(line: str) -> None:
    """Lines with special syntax are not simple."""
    assert not _is_simple(line)


def test_installed_distributions() -> None:
    """Of the thousands of file names in the installed distributions, only certificates and keys count as secrets."""
    found = {
        os.path.splitext(name)[1]
        for _, _, names in os.walk(Path(pytest.__file__).parents[1])
        for name in names
        if (rule := rule_for(name, is_directory=False)) is not None and rule.is_secret
    }

    assert found <= {".pem", ".key"}
