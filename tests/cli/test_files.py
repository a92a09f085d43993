"""Test how files named on the command line are written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lamina.cli.reports import write_file
from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_plain_files_are_replaced(tmp_path: Path) -> None:
    """A regular file is replaced atomically, a link is kept, and a missing directory is created."""
    link, target = tmp_path / "link", tmp_path / "deep" / "target"
    link.symlink_to(target)
    write_file(str(link), b"one")
    opened = target.open("rb")
    write_file(str(link), b"two")

    with opened:
        assert (True, b"two", b"one") == (link.is_symlink(), target.read_bytes(), opened.read())


def test_pipes_are_written_to(tmp_path: Path) -> None:
    """A pipe or device such as /dev/stdout is written to, not replaced."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_file(str(pipe), b"content")

        assert (True, b"content") == (pipe.is_fifo(), os.read(reader, 100))
    finally:
        os.close(reader)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    """A file that is not writable is a usage error, not a bug."""
    with pytest.raises(ConfigError) as caught:
        write_file(str(tmp_path), b"")

    assert f"failed to write `{tmp_path}`: Is a directory" == str(caught.value)
