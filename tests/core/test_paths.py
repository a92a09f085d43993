"""Unsafe member paths are rejected, and conflicting paths are found."""

from __future__ import annotations

import ntpath
import os

import pytest

from lamina.core.errors import UnsafeMemberError
from lamina.core.paths import Clash, check_path, clashes, printable
from lamina.core.text import from_here


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "member path `` is not a relative path with `/`"),
        ("/etc/passwd", "member path `/etc/passwd` is not a relative path with `/`"),
        ("//host/share", "member path `//host/share` is not a relative path with `/`"),
        ("C:/windows", "member path `C:/windows` is not a relative path with `/`"),
        ("c:evil", "member path `c:evil` is not a relative path with `/`"),
        ("..\\evil", "member path `..\\evil` is not a relative path with `/`"),
        ("a\\b", "member path `a\\b` is not a relative path with `/`"),
        ("..", "member path `..` has an empty, `.` or `..` component"),
        ("../evil", "member path `../evil` has an empty, `.` or `..` component"),
        ("a/../../evil", "member path `a/../../evil` has an empty, `.` or `..` component"),
        ("a/..", "member path `a/..` has an empty, `.` or `..` component"),
        ("./a", "member path `./a` has an empty, `.` or `..` component"),
        ("a/./b", "member path `a/./b` has an empty, `.` or `..` component"),
        ("a//b", "member path `a//b` has an empty, `.` or `..` component"),
        ("a/", "member path `a/` has an empty, `.` or `..` component"),
        ("a\0b", "member path `a\\x00b` contains a control character"),
        ("a\nb", "member path `a\\nb` contains a control character"),
        ("a\x1b[2Jb", "member path `a\\x1b[2Jb` contains a control character"),
        ("a\x7f", "member path `a\\x7f` contains a control character"),
        ("a\x9b2J", "member path `a\\x9b2J` contains a control character"),
        ("a/" + "b" * 256, f"member path `a/{'b' * 256}` has a component longer than 255 bytes"),
        ("ü" * 128, f"member path `{'ü' * 128}` has a component longer than 255 bytes"),
        ("/".join(["a" * 128] * 8), f"member path `{'/'.join(['a' * 128] * 8)}` is longer than 1,024 bytes"),
        ("a/" * 64 + "b", f"member path `{'a/' * 64}b` has more than 64 components"),
    ],
)
def test_unsafe_path(path: str, message: str) -> None:
    """A path that an extractor could write elsewhere is rejected, and unprintable characters in the message are escaped."""
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
    """Paths of real distributions are accepted."""
    assert check_path(path) is None  # type: ignore[func-returns-value]


def test_printable() -> None:
    """Printable text is unchanged, and only unprintable characters are escaped."""
    assert ("größe", "größe\\x07") == (printable("größe"), printable("größe\a"))


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
    """Repeated paths, and files where another path needs a directory, are found in any sort order."""
    assert expected == clashes(paths)


def test_a_path_on_another_drive_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows, no path relative to the working directory leads to another drive."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "path", ntpath)
        shown = from_here(r"D:\out\common.zip")

    assert shown == r"D:\out\common.zip"
    assert from_here(os.path.join(os.getcwd(), "a", "b")) == os.path.join("a", "b")


@pytest.mark.parametrize("shallow", [0, 1_000])
def test_clashes_of_deep_paths(monkeypatch: pytest.MonkeyPatch, shallow: int) -> None:
    """Paths with too many directories to keep them all in memory are compared in another way, with the same result."""
    monkeypatch.setattr("lamina.core.paths._SHALLOW", shallow)
    assert [] == clashes([b"a/b/c", b"a/b/d", b"a/bc", b"a/b-c"])
    assert [Clash(path=b"a/b", is_directory=True)] == clashes([b"a/b/c", b"a/b-c", b"a/b"])
    assert [Clash(path=b"a/b", is_directory=False)] == clashes([b"a/b", b"a/c", b"a/b"])
