"""lamina reads the same tracked files from every kind of index as git, and rejects a damaged index."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.core.errors import PackageError
from lamina.project import tracked
from lamina.project.repository import Repository, find_repository
from lamina.project.tracked import digest_below, tracked_files
from sourceprojects import git, make_repository, write_sources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = {f"{directory}/{name}.py": "" for directory in ("a", "a-b", "a/b", "caf\u00e9", "z" * 140) for name in "xyz"}


def repository(directory: Path) -> Repository:
    found = find_repository(directory)
    assert found is not None
    return found


def split(root: Path) -> None:
    """Split the index. Then remove, replace and add entries, so that all bitmaps of a split index are used."""
    git(root, "update-index", "--split-index")
    git(root, "rm", "--quiet", "--cached", "a/x.py", "a-b/y.py")
    write_sources(root, {"a/y.py": "# changed", "new.py": ""})
    git(root, "add", "a/y.py", "new.py")


def split_compressed(root: Path) -> None:
    git(root, "update-index", "--index-version", "4")
    split(root)


def split_many(root: Path) -> None:
    """Remove runs of entries that fill whole words of the bitmap."""
    write_sources(root, {f"many/{number}.py": "" for number in range(300)})
    git(root, "add", ".")
    git(root, "update-index", "--split-index")
    git(root, "rm", "--quiet", "--cached", "many/*", "a/z.py")
    git(root, "add", "many/150.py")


def conflict(root: Path) -> None:
    blob = git(root, "hash-object", "-w", "a/x.py")
    rows = "".join(f"100644 {blob} {stage}\tconflicted.py\n" for stage in (1, 2, 3))
    (root / "rows").write_text(rows)
    git(root, "-c", "alias.feed=!git update-index --index-info < rows", "feed")


def intended(root: Path) -> None:
    (root / "intended.py").touch()
    git(root, "add", "--intent-to-add", "intended.py")


@pytest.mark.parametrize(
    ("hashes", "change"),
    [
        ("sha1", lambda root: None),
        ("sha256", lambda root: None),
        ("sha1", intended),
        ("sha1", lambda root: git(root, "update-index", "--index-version", "4")),
        ("sha1", split),
        ("sha256", split_compressed),
        ("sha1", split_many),
        ("sha1", conflict),
        ("sha1", lambda root: git(root, "-c", "index.skipHash=true", "rm", "--quiet", "--cached", "a/x.py")),
        ("sha1", lambda root: git(root, "update-index", "--untracked-cache")),
        ("sha1", lambda root: git(root, "rm", "--quiet", "--cached", "-r", ".")),
    ],
    ids=["2", "sha256", "3", "4", "split", "split sha256", "many", "conflict", "no hash", "cache", "empty"],
)
def test_same_as_git(tmp_path: Path, hashes: str, change: Callable[[Path], object]) -> None:
    """Every kind of index gives the paths that `git ls-files` lists."""
    git(tmp_path, "init", "--quiet", f"--object-format={hashes}")
    write_sources(tmp_path, FILES)
    git(tmp_path, "add", ".")
    change(tmp_path)

    expected = {path for path in git(tmp_path, "ls-files", "-z").split("\0") if path}
    found = tracked_files(repository(tmp_path))

    assert expected == set(map(os.fsdecode, found.paths))
    assert sorted(found.paths) == list(found.paths)


def test_sparse_index(tmp_path: Path) -> None:
    """Directories that are not checked out are not among the tracked files; the others are."""
    make_repository(tmp_path, FILES)
    git(tmp_path, "sparse-checkout", "set", "--cone", "--sparse-index", "a")

    assert {path for path in FILES if path.startswith("a/")} == {
        os.fsdecode(path) for path in tracked_files(repository(tmp_path)).paths
    }


def test_worktree(tmp_path: Path) -> None:
    """A worktree has its own index."""
    make_repository(tmp_path / "main", {"a.py": ""})
    git(tmp_path / "main", "worktree", "add", "--quiet", "../other")
    (tmp_path / "other" / "b.py").touch()
    git(tmp_path / "other", "add", "b.py")

    assert (b"a.py", b"b.py") == tracked_files(repository(tmp_path / "other")).paths
    assert (b"a.py",) == tracked_files(repository(tmp_path / "main")).paths


def test_a_worktree_whose_git_directory_is_missing(tmp_path: Path) -> None:
    """In a container that only has the worktree, a package must not lack the files that git tracks in spite of a pattern."""
    make_repository(tmp_path / "main", {"a.py": ""})
    git(tmp_path / "main", "worktree", "add", "--quiet", "../other")
    (tmp_path / "main").rename(tmp_path / "gone")
    with pytest.raises(PackageError, match=r"main/\.git/worktrees/other`, which does not exist") as caught:
        tracked_files(repository(tmp_path / "other"))

    assert "run `rm " in str(caught.value.hint)


def test_without_an_index(tmp_path: Path) -> None:
    """A new repository tracks nothing, and neither does a `.git` file without a git directory."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / ".git").write_text("nonsense")

    assert () == tracked_files(repository(tmp_path)).paths
    assert () == tracked_files(repository(tmp_path / "broken")).paths


def test_below(tmp_path: Path) -> None:
    """Only whole components of a path match."""
    make_repository(tmp_path, dict.fromkeys(("a/b.py", "a/c/d.py", "a-b", "a.py", "a0"), ""))
    found = tracked_files(repository(tmp_path))

    assert (b"a/b.py", b"a/c/d.py") == found.below(b"a")
    assert (b"a-b",) == found.below(b"a-b")
    assert () == found.below(b"a/b")
    assert found.paths == found.below(b"")


def test_digest_below(tmp_path: Path) -> None:
    """The digest depends on the paths below the directory only, not on their content or on other directories."""
    make_repository(tmp_path, FILES)
    before = digest_below(str(tmp_path / "a"))
    write_sources(tmp_path, {"a/x.py": "changed", "other/new.py": ""})
    git(tmp_path, "add", ".")
    unrelated = digest_below(str(tmp_path / "a"))
    write_sources(tmp_path, {"a/new.py": ""})
    git(tmp_path, "add", ".")

    assert before == unrelated
    assert before != digest_below(str(tmp_path / "a"))


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_damaged(tmp_path: Path, data: st.DataObject) -> None:
    """A changed or truncated index gives tracked files or one error, never another exception."""
    root = tmp_path / "r"
    if not root.exists():
        make_repository(root, FILES)
        split_compressed(root)
        (tmp_path / "intact").write_bytes((root / ".git" / "index").read_bytes())
    content = bytearray((tmp_path / "intact").read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (root / ".git" / "index").write_bytes(content[: data.draw(st.integers(0, len(content)))])

    problem = None
    try:
        tracked_files(repository(root))
    except PackageError as error:
        problem = str(error).partition("` ")[2]

    assert problem in {None, "is damaged, or lamina does not support its format"}


@pytest.mark.parametrize("version", [1, 5])
def test_unknown_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """An unknown version raises an error with commands that write the index again."""
    make_repository(tmp_path, {"a.py": ""})
    index = tmp_path / ".git" / "index"
    content = index.read_bytes()
    index.write_bytes(content[:7] + bytes([version]) + content[8:])
    monkeypatch.chdir(tmp_path)

    with pytest.raises(PackageError) as caught:
        tracked_files(repository(tmp_path))

    assert str(caught.value) == (
        "could not read which files git tracks: `.git/index` is damaged, or lamina does not support its format"
    )
    assert caught.value.hint == ("write it again, which unstages staged changes: run `rm .git/index` and `git reset`")
    index.unlink()
    git(tmp_path, "reset", "--quiet")
    assert (b"a.py",) == tracked_files(repository(tmp_path)).paths


@pytest.mark.parametrize(
    "replace",
    [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: path.write_bytes(b"")],
    ids=["pipe", "directory", "device", "empty"],
)
def test_no_regular_file(tmp_path: Path, replace: Callable[[Path], object]) -> None:
    """Anything in place of the index that is not a file, or is empty, raises an error and is not waited for."""
    make_repository(tmp_path, {"a.py": ""})
    (tmp_path / ".git" / "index").unlink()
    replace(tmp_path / ".git" / "index")

    with pytest.raises(PackageError, match="is damaged"):
        tracked_files(repository(tmp_path))


def test_unknown_extension(tmp_path: Path) -> None:
    """An extension that git requires readers to know raises an error; an optional one does not."""
    make_repository(tmp_path, {"a.py": ""})
    index = tmp_path / ".git" / "index"
    content = index.read_bytes()
    index.write_bytes(content[:-20] + b"ABCD\0\0\0\x03xyz" + content[-20:])

    assert (b"a.py",) == tracked_files(repository(tmp_path)).paths

    index.write_bytes(content[:-20] + b"abcd\0\0\0\x03xyz" + content[-20:])

    with pytest.raises(PackageError):
        tracked_files(repository(tmp_path))


def test_expanding_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small compressed index that stands for paths of more than the limit raises an error."""
    monkeypatch.setattr(tracked, "_LARGEST", 100_000)
    git(tmp_path, "init", "--quiet")
    first = bytes(62) + b"\0" + b"x" * 10_000 + b"\0"
    rest = b"".join(bytes(62) + b"\0" + b"y\0" for _ in range(20))
    index = b"DIRC" + (4).to_bytes(4) + (21).to_bytes(4) + first + rest + bytes(20)
    (tmp_path / ".git" / "index").write_bytes(index)

    with pytest.raises(PackageError):
        tracked_files(repository(tmp_path))
