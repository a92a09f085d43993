"""The versions in lock files of each format, without validation."""

from __future__ import annotations

import pytest

from lamina.lock.listing import list_versions

_FILES = {
    "uv.lock": '[[package]]\nname = "Alpha_x"\nversion = "1.0"\n[[package]]\nname = "Alpha_x"\nversion = "2.0"\n[[package]]\nname = "here"\n',
    "poetry.lock": '[[package]]\nname = "alpha-x"\nversion = "1.0"\n[[package]]\nname = "alpha-x"\nversion = "2.0"\n[[package]]\nname = "here"\n',
    "pylock.toml": '[[packages]]\nname = "alpha-x"\nversion = "2.0"\n[[packages]]\nname = "alpha-x"\nversion = "1.0"\n[[packages]]\nname = "here"\n',
}


@pytest.mark.parametrize("kind", _FILES)
def test_toml(kind: str) -> None:
    """A distribution may have several versions, or none."""
    assert list_versions(kind, _FILES[kind].encode()) == {"alpha-x": ("1.0", "2.0"), "here": ("",)}


def test_requirements() -> None:
    """Comments, hashes and requirements without a version are no versions."""
    content = b"# beta==3\nalpha-x[more]==1.0 ; python_version > '3' \\\n    --hash=sha256:00\n  gamma == 2\nfree>=1\n"
    assert list_versions("requirements.txt", content) == {"alpha-x": ("1.0",), "gamma": ("2",)}


def test_pipfile() -> None:
    """Only the default group counts."""
    content = b'{"default": {"alpha": {"version": "==1.0"}}, "develop": {"beta": {"version": "==2.0"}}}'
    assert list_versions("Pipfile.lock", content) == {"alpha": ("1.0",)}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("uv.lock", b"<<<<<<< HEAD\n"),
        ("uv.lock", b"package = 1\n"),
        ("pylock.toml", b"packages = [1]\n"),
        ("Pipfile.lock", b"[]"),
        ("Pipfile.lock", b'{"default": {"alpha": 1}}'),
        ("requirements.txt", b"\xff\xfe"),
    ],
)
def test_invalid(kind: str, content: bytes) -> None:
    """A file of another format is a ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 - the parsers' own errors
        list_versions(kind, content)
