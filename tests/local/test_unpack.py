"""Tests of unpacking layers: the resulting files, and the archives that are rejected."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
import zipfile
from typing import TYPE_CHECKING

import pytest

from built import layer_at, write_zip
from lamina.core.errors import (
    CorruptArchiveError,
    DamagedOutputError,
    DuplicateMemberError,
    ForeignFileError,
    SuspiciousSizeError,
    UnsafeMemberError,
)
from lamina.local.unpack import remove_unused, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lamina.core.values import Layer


def _archive(path: Path, files: Mapping[str, str | bytes]) -> Layer:
    return layer_at(path, write_zip(path, files))


def _hostile(path: Path, *members: zipfile.ZipInfo) -> Layer:
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, b"x")
    return layer_at(path, hashlib.sha256(path.read_bytes()).hexdigest())


def _with_declared_size(path: Path, size: int) -> Layer:
    """Write an archive with 100,000 bytes of content that declares a content of *size* bytes."""
    write_zip(path, {"zeros": b"\0" * 100_000})
    path.write_bytes(path.read_bytes().replace((100_000).to_bytes(4, "little"), size.to_bytes(4, "little")))
    return layer_at(path, hashlib.sha256(path.read_bytes()).hexdigest())


def _member(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("placeholder")
    member.filename = name
    member.external_attr = mode << 16
    return member


def test_files_are_as_on_lambda(tmp_path: Path) -> None:
    """Unpacked files are read-only, and keep the archive's modification time and executable bit."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(_member("bin/tool", 0o100755), b"#!")
        archive.writestr(_member("python/dep.py"), b"N = 1")
    digest = hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()
    tree = unpack([layer_at(tmp_path / "a.zip", digest)], tmp_path / "cache")
    found = {
        path.relative_to(tree).as_posix(): (stat.S_IMODE(path.stat().st_mode), path.stat().st_mtime, path.read_bytes())
        for path in tree.rglob("*")
        if path.is_file()
    }

    assert {"bin/tool": (0o555, 315532800.0, b"#!"), "python/dep.py": (0o444, 315532800.0, b"N = 1")} == found


def test_later_archives_win(tmp_path: Path) -> None:
    """Files of later archives replace those of earlier ones, and each order has its own directory."""
    first = _archive(tmp_path / "1.zip", {"python/a.py": "1", "python/b.py": "1"})
    second = _archive(tmp_path / "2.zip", {"python/b.py": "2"})
    forth = unpack([first, second], tmp_path / "cache")
    back = unpack([second, first], tmp_path / "cache")

    assert ["1", "2", "1"] == [
        (forth / "python/a.py").read_text(),
        (forth / "python/b.py").read_text(),
        (back / "python/b.py").read_text(),
    ]


def test_nothing_to_unpack(tmp_path: Path) -> None:
    """Unpacking no archives results in an empty directory."""
    assert [] == list(unpack([], tmp_path / "cache").iterdir())


def test_unpacked_once(tmp_path: Path) -> None:
    """An existing directory is reused without opening the archive."""
    archive = _archive(tmp_path / "a.zip", {"x": "1"})
    first = unpack([archive], tmp_path / "cache")
    archive.path.unlink()

    assert first == unpack([archive], tmp_path / "cache")
    assert [f"{first.name}", f"{first.name}.used"] == sorted(path.name for path in (tmp_path / "cache").iterdir())


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("../escape", 0o100644),
        ("a/../../escape", 0o100644),
        ("/escape", 0o100644),
        ("a\\..\\escape", 0o100644),
        ("link", stat.S_IFLNK | 0o777),
        ("device", stat.S_IFCHR | 0o666),
        ("pipe", stat.S_IFIFO | 0o666),
    ],
)
def test_members_that_are_no_files_inside(tmp_path: Path, name: str, mode: int) -> None:
    """An entry that leads outside, or is a link or a device, is rejected, and no files are left behind."""
    archive = _hostile(tmp_path / "bad.zip", _member("ok"), _member(name, mode))
    with pytest.raises(UnsafeMemberError) as caught:
        unpack([archive], tmp_path / "cache")

    assert f"`bad.zip` contains the unsafe entry `{name}`" == str(caught.value)
    assert [] == list((tmp_path / "cache").iterdir())
    assert not (tmp_path / "escape").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicates(tmp_path: Path) -> None:
    """An archive that contains a path twice is rejected, even if the two spellings differ."""
    archive = _hostile(tmp_path / "bad.zip", _member("a/x"), _member("a//x"))
    with pytest.raises(DuplicateMemberError) as caught:
        unpack([archive], tmp_path / "cache")

    assert "`bad.zip` contains `a//x` twice" == str(caught.value)


def test_file_and_directory_meet(tmp_path: Path) -> None:
    """Layers are rejected if a path is a file in one of them and a directory in another."""
    first = _archive(tmp_path / "1.zip", {"python/a": "1"})
    second = _archive(tmp_path / "2.zip", {"python/a/b": "2"})
    for order in ([first, second], [second, first]):
        with pytest.raises(CorruptArchiveError) as caught:
            unpack(order, tmp_path / "cache")

        assert "conflicts with another entry: one is a file, the other a directory" in str(caught.value)


def test_too_large(tmp_path: Path) -> None:
    """An archive whose declared size exceeds Lambda's limit is not unpacked."""
    archive = _with_declared_size(tmp_path / "bomb.zip", 262_144_001)
    with pytest.raises(SuspiciousSizeError) as caught:
        unpack([archive], tmp_path / "cache")

    assert "`bomb.zip` unpacks to more than Lambda's limit of 262,144,000 bytes" == str(caught.value)


def test_larger_than_declared(tmp_path: Path) -> None:
    """Unpacking stops if an entry is larger than its declared size."""
    archive = _with_declared_size(tmp_path / "liar.zip", 10)
    with pytest.raises((SuspiciousSizeError, CorruptArchiveError)):
        unpack([archive], tmp_path / "cache")

    assert [] == list((tmp_path / "cache").iterdir())


def test_another_archive(tmp_path: Path) -> None:
    """An archive that differs from the built one is rejected with the expected and the actual hash, and the way to build it again."""
    archive = _archive(tmp_path / "a.zip", {"x": "1"})
    write_zip(archive.path, {"x": "2"})
    with pytest.raises(DamagedOutputError) as caught:
        unpack([archive], tmp_path / "cache")

    shown, actual = os.path.relpath(archive.path), hashlib.sha256(archive.path.read_bytes()).hexdigest()
    assert f"`{shown}` is damaged: the build recorded the SHA-256 {archive.sha256}, got {actual}" == str(caught.value)
    assert f"run `rm -f {shown}` and `lamina build`" == caught.value.hint


def test_broken_archive(tmp_path: Path) -> None:
    """The error names a file that is not a zip."""
    path = tmp_path / "broken.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(CorruptArchiveError) as caught:
        unpack([layer_at(path, hashlib.sha256(b"no zip").hexdigest())], tmp_path / "cache")

    assert "failed to unpack `broken.zip`: File is not a zip file" == str(caught.value)


def test_unused_trees_go(tmp_path: Path) -> None:
    """Unpacking a new archive deletes directories that have not been used for two weeks, and keeps the others."""
    cache = tmp_path / "cache"
    old = unpack([_archive(tmp_path / "1.zip", {"x": "1"})], cache)
    used = unpack([_archive(tmp_path / "2.zip", {"x": "2"})], cache)
    os.utime(cache / f"{old.name}.used", (0, time.time() - 15 * 86_400))
    os.utime(used, (0, 0))
    unpack([_archive(tmp_path / "3.zip", {"x": "3"})], cache)

    assert (False, True) == (old.exists(), used.exists())


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_not_a_directory_is_not_used(kind: str, tmp_path: Path) -> None:
    """A link in place of an unpacked archive, as a repository may contain it, would run other code."""
    archive = _archive(tmp_path / "a.zip", {"app.py": ""})
    tree = unpack([archive], tmp_path / "trees")
    shutil.move(tree, tmp_path / "elsewhere")
    tree.symlink_to(tmp_path / "elsewhere") if kind == "link" else tree.touch()
    with pytest.raises(ForeignFileError, match=f"{tree.name}` is a (symbolic link|file), not a directory") as caught:
        unpack([archive], tmp_path / "trees")

    assert caught.value.hint == f"remove it: `rm {tree}`"


def test_links_beside_unpacked_archives_are_not_followed(tmp_path: Path) -> None:
    """Neither the time of the last use is written through a link, nor what a link leads to deleted."""
    archive = _archive(tmp_path / "a.zip", {"app.py": ""})
    trees, outside = tmp_path / "trees", tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    trees.mkdir()
    (trees / "old").symlink_to(outside)
    os.utime(outside, (1, 1))
    (trees / "old.used").symlink_to(outside / "file")
    tree = unpack([archive], trees)
    (trees / f"{tree.name}.used").unlink()
    (trees / f"{tree.name}.used").symlink_to(outside / "new")
    with pytest.raises(ForeignFileError):
        unpack([archive], trees)
    remove_unused(trees)

    assert ["file"] == os.listdir(outside)
