"""The source tree that one build sees: a copied directory, an unpacked archive, or one commit of a git repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, assert_never

from lamina.core.errors import LocalBuildError
from lamina.core.frozen import as_dict
from lamina.core.values import DirectorySource, Pin, SdistSource, VcsSource
from lamina.fetch.source.identity import content_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamina.core.values import SourcePin

USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
"""What is left out of the words of git and uv."""


def source_tree(pin: SourcePin, place: Path, fetch: Callable[[Pin], Path]) -> Path:
    """Return the sources, put into *place*, so that building changes nothing and sees nothing else; *fetch* gets archives."""
    match pin.source:
        case DirectorySource() as source:
            for path, origin in content_of(source).files:
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(origin, place / path)
                (place / path).chmod(0o755 if os.access(origin, os.X_OK) else 0o644)
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


def _unpacked(archive: Path, place: Path, pin: SourcePin) -> Path:
    """Return the one directory inside the archive of sources."""
    import tarfile
    import zipfile

    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                # It keeps every member inside, and makes no links.
                file.extractall(place)  # noqa: S202
        else:
            with tarfile.open(archive) as file:
                file.extractall(place, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        raise LocalBuildError(f"`{pin.filename}` cannot be unpacked: {error}") from error
    found = [path for path in place.iterdir() if path.is_dir()]
    return found[0] if len(found) == 1 else place


def _inside(place: Path, subdirectory: str | None, pin: SourcePin) -> Path:
    inside = place / (subdirectory or "")
    if not inside.resolve().is_relative_to(place.resolve()) or not inside.is_dir():
        raise LocalBuildError(f"`{pin.source.name}` is locked with a subdirectory that is not there: `{subdirectory}`")
    return inside


def _check_out(source: VcsSource, place: Path) -> None:
    """
    Make *place* a checkout of the commit of *source*, and of nothing that is not that commit.

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
        said = USERINFO.sub("", done.stderr.decode("utf-8", "replace")).strip()
        raise LocalBuildError(
            f"`{source.name}`: git cannot get {source.commit[:12]} from `{source.url}`", hint=f"git said:\n{said}"
        )
    return done.stdout.decode("utf-8", "replace")
