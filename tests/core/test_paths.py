"""Member paths: what is refused, and which stand in each other's way."""

from __future__ import annotations

import pytest

from lamina.core.errors import UnsafeMemberError
from lamina.core.paths import Clash, check_path, clashes, printable


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "Member path `` is not relative"),
        ("/etc/passwd", "Member path `/etc/passwd` is not relative"),
        ("//host/share", "Member path `//host/share` is not relative"),
        ("C:/windows", "Member path `C:/windows` is not relative"),
        ("c:evil", "Member path `c:evil` is not relative"),
        ("..\\evil", "Member path `..\\evil` is not relative"),
        ("a\\b", "Member path `a\\b` is not relative"),
        ("..", "Member path `..` has an empty, `.` or `..` component"),
        ("../evil", "Member path `../evil` has an empty, `.` or `..` component"),
        ("a/../../evil", "Member path `a/../../evil` has an empty, `.` or `..` component"),
        ("a/..", "Member path `a/..` has an empty, `.` or `..` component"),
        ("./a", "Member path `./a` has an empty, `.` or `..` component"),
        ("a/./b", "Member path `a/./b` has an empty, `.` or `..` component"),
        ("a//b", "Member path `a//b` has an empty, `.` or `..` component"),
        ("a/", "Member path `a/` has an empty, `.` or `..` component"),
        ("a\0b", "Member path `a\\x00b` holds a control character"),
        ("a\nb", "Member path `a\\nb` holds a control character"),
        ("a\x1b[2Jb", "Member path `a\\x1b[2Jb` holds a control character"),
        ("a\x7f", "Member path `a\\x7f` holds a control character"),
        ("a\x9b2J", "Member path `a\\x9b2J` holds a control character"),
        ("a/" + "b" * 256, f"Member path `a/{'b' * 256}` has a component over 255 bytes"),
        ("ü" * 128, f"Member path `{'ü' * 128}` has a component over 255 bytes"),
        ("/".join(["a" * 128] * 8), f"Member path `{'/'.join(['a' * 128] * 8)}` is over 1,024 bytes long"),
        ("a/" * 64 + "b", f"Member path `{'a/' * 64}b` is over 64 directories deep"),
    ],
)
def test_unsafe_path(path: str, message: str) -> None:
    """A path that any extractor could read as pointing elsewhere is refused, and shown without what steers terminals."""
    with pytest.raises(UnsafeMemberError) as caught:
        check_path(path)

    assert message == str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "a",
        ".hidden",
        "a/.hidden/b",
        "..a/b..",
        "a/...",
        "pkg/data/größe-日本.txt",
        "a b/c d",
        "ab:c",
        "b" * 255,
        "ü" * 127,
        "/".join(["a" * 100] * 10),
        "a/" * 63 + "b",
    ],
)
def test_safe_path(path: str) -> None:
    """What real distributions use is let through."""
    assert check_path(path) is None  # type: ignore[func-returns-value]


def test_printable() -> None:
    """Text stays readable, and only what is not text is escaped."""
    assert ("größe", "gr\\xf6\\xdfe\\x07") == (printable("größe"), printable("größe\a"))


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([], []),
        ([b"a", b"b"], []),
        ([b"a", b"ab", b"a-b", b"a.py"], []),
        ([b"a/b", b"a/c"], []),
        ([b"b", b"a", b"a"], [Clash(b"a", False)]),
        ([b"a", b"a/b"], [Clash(b"a", True)]),
        # `a-` and `a.` sort between `a` and `a/`.
        ([b"a/b/c", b"a-", b"a.", b"a"], [Clash(b"a", True)]),
        ([b"a", b"a", b"a/b"], [Clash(b"a", False), Clash(b"a", True)]),
        ([b"x/y", b"x/y/z/deep", b"x", b"q"], [Clash(b"x", True), Clash(b"x/y", True)]),
    ],
)
def test_clashes(paths: list[bytes], expected: list[Clash]) -> None:
    """One path twice is found, and so is a file where another path needs a directory, however they sort."""
    assert expected == clashes(paths)
