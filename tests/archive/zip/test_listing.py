"""Listing a finished zip from its directory alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from archive.hostile import MODULE, OTHER, Entry, build
from lamina.archive.zip.listing import members
from lamina.core.errors import CorruptArchiveError, UnsafeMemberError

if TYPE_CHECKING:
    from pathlib import Path


def test_files(tmp_path: Path) -> None:
    """Files come in the order of the directory, and directories not at all."""
    path = tmp_path / "layer.zip"
    path.write_bytes(build([OTHER, Entry(path=b"pkg/", method=0), MODULE], comment=b"c" * 60_000))

    assert [("pkg/other.py", 320), ("pkg/__init__.py", 240)] == [(each.path, each.size) for each in members(path)]


def test_somebody_elses(tmp_path: Path) -> None:
    """A zip from elsewhere may be no zip, or a trap; either is an error of ours."""
    path = tmp_path / "layer.zip"
    path.write_bytes(b"")
    with pytest.raises(CorruptArchiveError):
        members(path)
    path.write_bytes(build([Entry(path=b"../evil")]))
    with pytest.raises(UnsafeMemberError) as caught:
        members(path)

    assert "`layer.zip` has a member whose path has an empty, `.` or `..` component: `../evil`" == str(caught.value)
