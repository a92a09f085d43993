"""Tests of git commands that lamina runs while another git command works on another repository, as a hook does."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from lamina.core.supervised.git import run_git
from lamina.core.values import VcsSource
from lamina.fetch.source.identity import identify
from lamina.fetch.source.tree import source_tree
from sourceprojects import git, make_repository

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SETTINGS = {"GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"}


def test_variables_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable that git itself calls one of a repository is left out; settings, such as credentials, are passed on."""
    here = tmp_path / "here"
    make_repository(here, {"a.txt": "a\n"})
    for name in {*git(here, "rev-parse", "--local-env-vars").split()} - SETTINGS:
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "lamina.test")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "kept")

    assert str(here).encode() == run_git(["rev-parse", "--show-toplevel"], directory=here).output.strip()
    assert b"kept" == run_git(["config", "lamina.test"], directory=here).output.strip()
    assert b"" == run_git(["status", "--short"], directory=here).output


def test_checkout_in_a_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked repository is checked out without a change to the repository and the index of the hook."""
    commit = make_repository(tmp_path / "locked", {"locked.txt": "b\n"})
    make_repository(tmp_path / "here", {"a.txt": "a\n"})
    (tmp_path / "here/new.txt").touch()
    git(tmp_path / "here", "add", "new.txt")
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "here/.git/index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "here"))

    source = VcsSource(name="locked", version=None, url=f"file://{tmp_path}/locked", commit=commit)
    tree = source_tree(identify(source), tmp_path / "tree", lambda _: tmp_path)

    assert "b\n" == (tree / "locked.txt").read_text()
    assert "A  new.txt" == git(tmp_path / "here", "status", "--short")


def test_no_hooks(tmp_path: Path) -> None:
    """The hooks of a repository do not run."""
    make_repository(tmp_path / "here", {"a.txt": "a\n"})
    hook = tmp_path / "here/.git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    hook.chmod(0o755)

    assert 0 == run_git(["checkout", "--detach"], directory=tmp_path / "here").code
    assert not (tmp_path / "ran").exists()
    subprocess.run(["git", "-C", str(tmp_path / "here"), "checkout", "-q", "main"], check=True)
    assert (tmp_path / "ran").exists()
