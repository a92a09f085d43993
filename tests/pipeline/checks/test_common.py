"""A zip that lamina wrote is read for the checks, and damage to it is an error that says how to build it again."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import DamagedOutputError
from lamina.pipeline.checks.common import View, listed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "python/pkg/__init__.py"


def _written(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NAME, "answer = 42\n" * 20)
    return path.read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no zip",
        lambda content: content[:-10],
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b"PK\1\2", b"PK\7\7"),
        lambda content: content.replace(NAME.encode(), b"/" + NAME.encode()[1:]),
    ],
    ids=["empty", "text", "cut", "half", "row", "path"],
)
def test_directory(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """A damaged central directory is an error, however the zip is read."""
    path = tmp_path / "common layer.zip"
    path.write_bytes(damage(_written(path)))
    shown = os.path.relpath(path)
    for read in (lambda: View(path).members, lambda: View(path).content(NAME)):
        with pytest.raises(DamagedOutputError) as caught:
            read()

        assert str(caught.value).startswith(f"`{shown}` is damaged: ")
        assert f"run `rm -f '{shown}'` and `lamina build`" == caught.value.hint


@pytest.mark.parametrize("position", [0, 26, 60, 75])
def test_content(tmp_path: Path, position: int) -> None:
    """Damage to a member is an error: to its local header, or to its compressed bytes."""
    path = tmp_path / "common.zip"
    content = bytearray(_written(path))
    content[position : position + 4] = bytes(each ^ 0xFF for each in content[position : position + 4])
    path.write_bytes(content)

    with pytest.raises(DamagedOutputError):
        View(path).content(NAME)


def test_intact(tmp_path: Path) -> None:
    """An intact zip is read as it is."""
    _written(tmp_path / "common.zip")

    assert [NAME] == list(View(tmp_path / "common.zip").members)
    assert "answer = 42\n" * 20 == View(tmp_path / "common.zip").text(NAME)


def test_listed() -> None:
    """Each name is listed once, and at most three."""
    assert "`a`, `b`" == listed(["a", "b", "a", "b"])
    assert "`a`, `b`, `c` and 2 more" == listed(["a", "b", "c", "d", "e"])
