"""Get one commit of a git repository, and nothing that is not that commit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from lamina.core.errors import LocalBuildError

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.values import VcsSource

__all__ = ["checkout"]

_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")


def checkout(source: VcsSource, place: Path) -> None:
    """
    Make *place* a checkout of the commit of *source*.

    Credentials come from git's own configuration. Raises LocalBuildError where git is not installed, or the repository does
    not give the commit.
    """
    if shutil.which("git") is None:
        raise LocalBuildError(f"`{source.name}` is locked as a commit, and git is not installed", hint="install git")
    place.mkdir(parents=True)
    _git(source, place, "init", "--quiet")
    try:
        _git(source, place, "fetch", "--quiet", "--depth", "1", "--", source.url, source.commit)
    except LocalBuildError:
        # Not every server gives a commit by its hash; what branches and tags lead to is given by all.
        _git(source, place, "fetch", "--quiet", "--", source.url, "+refs/*:refs/lamina/*")
    _git(source, place, "checkout", "--quiet", "--detach", source.commit)
    if (place / ".gitmodules").is_file():
        _git(source, place, "submodule", "--quiet", "update", "--init", "--recursive")
    head = _git(source, place, "rev-parse", "HEAD").strip()
    if head != source.commit:
        raise LocalBuildError(f"`{source.name}` is locked at {source.commit}, and git gave {head}")


def _git(source: VcsSource, place: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_DIR")}
    environment |= {
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
    }
    # Hooks would run code at checkout, and the line ends of files must not depend on the machine.
    options = ("-c", f"core.hooksPath={os.devnull}", "-c", "core.autocrlf=false", "-c", "advice.detachedHead=false")
    done = subprocess.run(
        ["git", *options, *arguments],
        cwd=place,
        env=environment,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        said = _USERINFO.sub("", done.stderr.decode("utf-8", "replace")).strip()
        raise LocalBuildError(
            f"`{source.name}`: git cannot get {source.commit[:12]} from `{source.url}`", hint=f"git said:\n{said}"
        )
    return done.stdout.decode("utf-8", "replace")
