"""Poetry's constraints are converted to PEP 440 specifiers as Poetry documents them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.lock.poetryversions import parse


@pytest.mark.parametrize(
    ("constraint", "taken", "refused"),
    [
        ("^1.2.3", ("1.2.3", "1.9", "1.99.9.post1"), ("1.2.2", "2.0.0a1", "2.0.0", "2.0.0.dev1")),
        ("^1.2", ("1.2.0", "1.9"), ("1.1", "2.0")),
        ("^1", ("1.0", "1.9"), ("0.9", "2.0")),
        ("^0.2.3", ("0.2.3", "0.2.9"), ("0.2.2", "0.3.0")),
        ("^0.0.3", ("0.0.3", "0.0.3.1"), ("0.0.4", "0.0.2")),
        ("^0.0", ("0.0.3",), ("0.1.0",)),
        ("^0", ("0.0.3", "0.9"), ("1.0",)),
        ("~1.2.3", ("1.2.3", "1.2.9"), ("1.3.0", "1.2.2")),
        ("~1.2", ("1.2.0", "1.2.9"), ("1.3.0",)),
        ("~1", ("1.0", "1.9"), ("2.0",)),
        ("~=1.4", ("1.4", "1.9"), ("2.0", "1.3")),
        ("*", ("0.1", "99"), ()),
        ("", ("0.1",), ()),
        ("1.2.*", ("1.2.0", "1.2.9"), ("1.3",)),
        ("1.2.3", ("1.2.3",), ("1.2.4",)),
        ("= 1.2.3", ("1.2.3",), ("1.2.4",)),
        (">= 1.2, < 1.5", ("1.2", "1.4.9"), ("1.5", "1.1")),
        (">=1.2 <1.5", ("1.2", "1.4.9"), ("1.5", "1.1")),
        (">=1.2,<1.5,!=1.3.*", ("1.2", "1.4"), ("1.3.1",)),
        ("<>1.3", ("1.2",), ("1.3",)),
        (">=1.*", ("1.0", "2.0"), ("0.9",)),
        ("^1.2 || ^2.1", ("1.2", "2.1"), ("2.0", "3.0")),
        (">=2.7,<2.8|>=3.4", ("2.7.5", "3.9"), ("2.8", "3.3")),
        ("v1.2", ("1.2",), ("1.3",)),
        ("^1!1.2", ("1!1.3",), ("1!2.0", "1.3")),
    ],
)
def test_constraints(constraint: str, taken: tuple[str, ...], refused: tuple[str, ...]) -> None:
    """A constraint allows the versions within its bounds, and no others."""
    parsed = parse(constraint)

    assert (taken, ()) == (
        tuple(version for version in (*taken, *refused) if parsed.contains(version)),
        tuple(version for version in refused if parsed.contains(version)),
    )


@pytest.mark.parametrize(
    ("constraint", "takes"),
    [
        ("^3.11", True),
        (">=3.11,<3.14", True),
        ("<3.13", True),
        ("<=3.12", True),
        (">3.11", True),
        (">3.12", False),
        ("~3.12", True),
        ("3.12.*", True),
        ("==3.12", True),
        ("<3.12.4", False),
        (">=3.12.7", True),
        (">=3.8,!=3.12.7", False),
        ("<3.9 || >=3.12", True),
        ("~2.7 || ^3.13", False),
    ],
)
def test_pythons(constraint: str, *, takes: bool) -> None:
    """A constraint on Python compares minor versions, unless it names a patch release."""
    assert takes == parse(constraint).allows_python("3.12.7")


@pytest.mark.parametrize("constraint", ["^", "(1)", "^abc", ">= ", "1.2; python"])
def test_nonsense(constraint: str) -> None:
    """An invalid constraint raises an error."""
    with pytest.raises(ValueError, match=r"is not a valid version"):
        parse(constraint)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=3))
def test_caret_and_tilde_take_their_own_version(parts: list[int]) -> None:
    """A caret or tilde constraint allows its own version, and the next patch release if the patch is not fixed."""
    version = ".".join(map(str, parts))

    assert parse(f"^{version}").contains(version)
    assert parse(f"~{version}").contains(version)
    assert parse(f"~{version}").contains(".".join(map(str, [*parts, *([0] * (2 - len(parts))), 1])))
