"""Tests of `lamina.core.files`: what is read and written, whatever is in place of a file."""

from __future__ import annotations

import errno
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import DiskFullError, ForeignFileError
from lamina.core.faults import fault
from lamina.core.files import (
    building,
    file_sha256,
    open_own_file,
    own_directory,
    read_file,
    remove_file,
    replace_file,
    writing,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("read", [read_file, file_sha256])
def test_only_regular_files_are_read(read: object, tmp_path: Path) -> None:
    """Reading never waits for a pipe and never reads a device without end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert callable(read)
    for path in (tmp_path / "pipe", tmp_path / "zero", tmp_path):
        with pytest.raises(OSError, match=str(path)) as caught:
            read(path)
        assert fault(caught.value) is not None


def test_a_link_to_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")

    assert b"content" == read_file(tmp_path / "link")


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(11))

    assert 11 == len(read_file(tmp_path / "file", most=11))
    with pytest.raises(OSError, match="Larger than 10 bytes"):
        read_file(tmp_path / "file", most=10)


def test_a_pipe_of_the_command_line_is_read(tmp_path: Path) -> None:
    """Shells pass pipes for `<(command)`."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"event",))
    writer.start()

    assert b"event" == read_file(tmp_path / "pipe", special=True)
    writer.join()
    with pytest.raises(OSError, match="Larger than"):
        read_file("/dev/zero", special=True, most=1000)


def test_directories_are_never_writable_for_everybody(tmp_path: Path) -> None:
    """The umask of many containers forbids nothing."""
    before = os.umask(0)
    try:
        with building(tmp_path / ".lamina"):
            own_directory(tmp_path, ".lamina/layers")
            replace_file(tmp_path / ".lamina" / "state.json", b"{}")
    finally:
        os.umask(before)

    made = [tmp_path / ".lamina", *(tmp_path / ".lamina" / name for name in ("layers", "lock", "state.json"))]
    assert [0] * 4 == [stat.S_IMODE(path.stat().st_mode) & 0o002 for path in made]


def test_only_regular_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "directory").mkdir()

    assert [False, False, False, True] == [
        remove_file(tmp_path / name) for name in ("link", "directory", "absent", "file")
    ]
    assert ["directory", "link"] == sorted(os.listdir(tmp_path))


@pytest.mark.parametrize("flags", [0, os.O_APPEND, os.O_TRUNC])
def test_a_file_with_another_path_is_replaced(flags: int, tmp_path: Path) -> None:
    """A hard link in place of one of lamina's own files does not lead to writes to the other path of the file."""
    outside, own = tmp_path / "outside", tmp_path / "own"
    outside.write_bytes(b"content")
    own.hardlink_to(outside)
    with os.fdopen(open_own_file(own, flags), "r+b") as file:
        file.write(b"partial")

    assert (b"content", b"partial") == (outside.read_bytes(), own.read_bytes())


@pytest.mark.parametrize(("flags", "content"), [(0, b"content"), (os.O_TRUNC, b"")])
def test_an_own_file_is_kept(flags: int, content: bytes, tmp_path: Path) -> None:
    """A file without further paths is opened as it is, or emptied if the caller asks for it."""
    own = tmp_path / "own"
    own.write_bytes(b"content")
    os.close(open_own_file(own, flags))

    assert content == own.read_bytes()


def test_a_directory_in_place_of_the_result_stays(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    with pytest.raises(ForeignFileError) as caught:
        replace_file(tmp_path / "a b", b"content")

    assert f"remove it: `rm -r '{tmp_path / 'a b'}'`" == caught.value.hint
    assert ["a b"] == os.listdir(tmp_path)


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """The system does not say to which file it could not write."""

    def write() -> None:
        with writing(tmp_path / "result"), open("/dev/full", "wb", buffering=0) as full:
            full.write(b"content")

    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as caught:
        write()
    found = fault(caught.value)

    assert isinstance(found, DiskFullError)
    assert f"`{tmp_path / 'result'}`" in str(found)
    assert [] == os.listdir(tmp_path)
