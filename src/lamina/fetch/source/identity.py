"""Compute the identity of sources before they are built: from a hash, a commit, or the content of a directory."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from lamina.core.errors import LocalBuildError
from lamina.core.files import file_sha256
from lamina.core.values import DirectorySource, SdistSource, Sha256, SourcePin, VcsSource
from lamina.project.ignore import GitIgnore
from lamina.project.sources import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.core.values import Source

_FORMAT = 1
_DYNAMIC = "dynamic"
# Files that tools create next to the sources. They must not affect the identity, and a build does not need them.
_MADE = frozenset({".git", ".hg", ".svn", ".tox", ".nox", ".venv", ".lamina", "__pycache__", "node_modules"})
_MADE_SUFFIXES = (".egg-info", ".pyc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """The files of a local directory to copy for a build."""

    files: tuple[tuple[str, Path], ...]
    """Pairs of each file's path in the directory, separated by ``/``, and its path on disk; sorted."""
    inputs: tuple[Path, ...]
    """The paths of all files, directories and ignore files that determine `files` and their content."""


def identify(source: Source) -> SourcePin:
    """
    Return *source* as a pin with its digest.

    The digest of a directory covers the relative paths and contents of the files in `content_of`. It does not cover times,
    modes or the directory's own path. Raises the `LocalBuildError` of `content_of`.
    """
    version, inputs = source.version, tuple[Path, ...]()
    match source:
        case SdistSource(filename=label, sha256=digest, subdirectory=subdirectory):
            digest = _digest("sdist", digest, subdirectory) if subdirectory else digest
        case VcsSource(commit=commit, subdirectory=subdirectory):
            digest = _digest("git", source.name, commit, subdirectory)
            label = f"git+{source.url}@{commit}" + (f"#subdirectory={subdirectory}" if subdirectory else "")
        case DirectorySource():
            content = content_of(source)
            files = ((path, file_sha256(origin)) for path, origin in content.files)
            digest = _digest("directory", source.name, fingerprint(files))
            label, inputs = f"{source.name} (local)", content.inputs
            version = version or _static_version(source.path)
        case _:
            assert_never(source)
    return SourcePin(
        name=source.name, version=version or _DYNAMIC, filename=label, sha256=digest, source=source, inputs=inputs
    )


def content_of(source: DirectorySource) -> Content:
    """
    Return the files of *source* to copy for a build.

    Omitted are files that git ignores, virtual environments, and files that tools generate, such as ``__pycache__``. Raises
    `LocalBuildError` if *source* is unreadable, has neither a ``pyproject.toml`` nor a ``setup.py``, or has a symbolic link
    to a directory.
    """
    if not any((source.path / name).is_file() for name in ("pyproject.toml", "setup.py")):
        raise LocalBuildError(
            f"`{source.name}` is locked as the directory `{source.path}`, which has no `pyproject.toml` or `setup.py`",
            hint="add a `pyproject.toml`, or regenerate the lock if the project has moved",
        )
    ignore = GitIgnore(source.path)
    inputs: list[Path] = []
    try:
        files = tuple(sorted(_files(source.path, ignore, inputs, source)))
    except OSError as error:
        raise LocalBuildError(f"cannot read `{error.filename}`: {error.strerror}") from error
    consulted = (Path(os.path.normpath(source.path / seen.path)) for seen in ignore.consulted)
    return Content(files=files, inputs=tuple(dict.fromkeys((*inputs, *consulted))))


def _files(
    directory: Path, ignore: GitIgnore, inputs: list[Path], source: DirectorySource
) -> Iterator[tuple[str, Path]]:
    inputs.append(directory)
    for path in sorted(directory.iterdir()):
        is_directory = path.is_dir()
        if path.name in _MADE or path.name.endswith(_MADE_SUFFIXES) or (is_directory and _is_environment(path)):
            continue
        if ignore.ignoring(path, is_directory=is_directory):
            continue
        if not is_directory:
            inputs.append(path)
            yield path.relative_to(source.path).as_posix(), path
        elif path.is_symlink():
            raise LocalBuildError(
                f"`{source.name}` has a symbolic link to a directory, which lamina does not support: "
                f"`{path.relative_to(source.path).as_posix()}`",
                hint="add the link to `.gitignore`, or replace the link with the directory",
            )
        else:
            yield from _files(path, ignore, inputs, source)


def _is_environment(directory: Path) -> bool:
    return (directory / "pyvenv.cfg").is_file()


def _static_version(directory: Path) -> str | None:
    """Return the version in the ``pyproject.toml`` of *directory*; ``None`` if it is not there or the file is invalid."""
    import rtoml

    try:
        document = rtoml.loads((directory / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # The build backend reports errors in the file.
        return None
    for table in (document.get("project"), document.get("tool", {}).get("poetry")):
        if isinstance(table, dict) and isinstance(version := table.get("version"), str):
            return version
    return None


def _digest(*parts: str | None) -> Sha256:
    return Sha256(hashlib.sha256(json.dumps([_FORMAT, *parts]).encode()).hexdigest())
