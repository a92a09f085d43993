"""Create the source tree for a build: a copy of a directory, an unpacked archive, or a checkout of a git commit."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, assert_never

from lamina.core.errors import LocalBuildError
from lamina.core.faults import exhausted
from lamina.core.frozen import as_dict
from lamina.core.supervised.git import run_git
from lamina.core.urls import without_query, without_userinfo
from lamina.core.values import DirectorySource, Pin, SdistSource, VcsSource
from lamina.fetch.source.sdist import extract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from lamina.core.values import SourcePin

"""Matches the userinfo of a URL, to remove it from the output of git and uv."""


def source_tree(pin: SourcePin, place: Path, fetch: Callable[[Pin], Path]) -> Path:
    """
    Copy, unpack or check out the sources of *pin* in the new directory *place*, and return the project's path in it.

    A build in *place* leaves the original unchanged. *fetch* downloads a source archive and returns its path. Raises
    `LocalBuildError` if the sources are incomplete or cannot be copied or checked out, `ArchiveError` if an archive cannot be unpacked
    safely, and the errors of *fetch*.
    """
    match pin.source:
        case DirectorySource():
            try:
                _copy(pin.files, place)
            except OSError as error:
                raise exhausted(error) or LocalBuildError(
                    f"cannot copy `{error.filename}`: {error.strerror}"
                ) from error
            return place
        case VcsSource() as source:
            _check_out(source, place)
            return _inside(place, source.subdirectory, pin)
        case SdistSource() as source:
            archive = {name: value for name, value in as_dict(source).items() if name != "subdirectory"}
            place.mkdir()
            unpacked = _unpacked(fetch(Pin(**archive | {"version": pin.version})), place, pin)
            return _inside(unpacked, source.subdirectory, pin)
        case _:
            assert_never(pin.source)


def _copy(files: Iterable[tuple[str, Path]], place: Path) -> None:
    for path, origin in files:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, place / path)
        (place / path).chmod(0o755 if os.access(origin, os.X_OK) else 0o644)


def _unpacked(archive: Path, place: Path, pin: SourcePin) -> Path:
    """Unpack *archive* into *place*, and return its only top-level directory, or *place* if there is not exactly one."""
    extract(archive, place, name=pin.filename)
    found = [path for path in place.iterdir() if path.is_dir()]
    return found[0] if len(found) == 1 else place


def _inside(place: Path, subdirectory: str | None, pin: SourcePin) -> Path:
    inside = place / (subdirectory or "")
    if not inside.resolve().is_relative_to(place.resolve()) or not inside.is_dir():
        raise LocalBuildError(
            f"`{pin.source.name}` is locked with a subdirectory that its source does not have: `{subdirectory}`",
            hint="correct the subdirectory in the project's requirement, and regenerate the lock",
        )
    return inside


def _check_out(source: VcsSource, place: Path) -> None:
    """
    Check out the commit of *source* in the new directory *place*.

    git reads credentials from its own configuration. Raises `LocalBuildError` if git is not installed, or if git cannot fetch
    or check out the commit or its submodules.
    """
    if shutil.which("git") is None:
        raise LocalBuildError(
            f"`{source.name}` is locked to a git commit, but git is not installed", hint="install git"
        )
    place.mkdir(parents=True)
    _git(source, place, "init", "--quiet")
    try:
        _git(source, place, "fetch", "--quiet", "--depth", "1", "--", source.url, source.commit)
    except LocalBuildError:
        # Not every server allows fetching a commit by its hash, but all allow fetching branches and tags.
        _git(source, place, "fetch", "--quiet", "--", source.url, "+refs/*:refs/lamina/*")
    _git(source, place, "checkout", "--quiet", "--detach", source.commit)
    if (place / ".gitmodules").is_file():
        _git(source, place, "submodule", "--quiet", "update", "--init", "--recursive")
    head = _git(source, place, "rev-parse", "HEAD").strip()
    if head != source.commit:
        raise LocalBuildError(f"`{source.name}` is locked to commit {source.commit}, but git checked out {head}")


def _git(source: VcsSource, place: Path, *arguments: str) -> str:
    variables = {
        # A submodule of a repository elsewhere must not lead to a repository of this machine.
        "GIT_ALLOW_PROTOCOL": f"{'file:' if source.url.startswith('file:') else ''}git:http:https:ssh",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
    }
    # Line endings must not depend on the machine.
    options = ("-c", "core.autocrlf=false", "-c", "advice.detachedHead=false")
    done = run_git(arguments, directory=place, options=options, variables=variables)
    if done.code:
        said = without_userinfo(done.errors.decode("utf-8", "replace")).strip()
        raise LocalBuildError(
            f"git could not check out commit {source.commit[:12]} of `{source.name}` from `{without_query(source.url)}`",
            hint=f"output of git:\n{said}",
        )
    return done.output.decode("utf-8", "replace")
