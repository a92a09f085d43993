"""Say who sources are before they are built: by hash, by commit, or by the content of a directory. Only reads."""

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
# What tools make beside the sources; a build from scratch makes its own, and none of it may decide who the sources are.
_MADE = frozenset({".git", ".hg", ".svn", ".tox", ".nox", ".venv", ".lamina", "__pycache__", "node_modules"})
_MADE_SUFFIXES = (".egg-info", ".pyc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """The files of a directory that a build sees."""

    files: tuple[tuple[str, Path], ...]
    """Relative path with ``/``, and where the content is; sorted."""
    inputs: tuple[Path, ...]
    """Every file, directory and ignore file that decided which files these are."""


def identify(source: Source) -> SourcePin:
    """
    Return *source* with its identity.

    A directory is who its content is, as far as git does not ignore it: names and bytes, neither times nor modes nor where it
    is. Raises LocalBuildError where it cannot be read, or is no project.
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
    """Return the files of *source*; raises LocalBuildError where it is no project, or a link leads to a directory."""
    if not any((source.path / name).is_file() for name in ("pyproject.toml", "setup.py")):
        raise LocalBuildError(
            f"`{source.name}` is locked as the directory `{source.path}`, which is no Python project",
            hint="a project has a `pyproject.toml`; lock again if it has moved",
        )
    ignore = GitIgnore(source.path)
    inputs: list[Path] = []
    try:
        files = tuple(sorted(_files(source.path, ignore, inputs, source)))
    except OSError as error:
        raise LocalBuildError(f"`{error.filename}` cannot be read: {error.strerror}") from error
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
                f"`{source.name}` has a symbolic link to a directory: `{path.relative_to(source.path).as_posix()}`",
                hint="git-ignore it, or put the directory itself there",
            )
        else:
            yield from _files(path, ignore, inputs, source)


def _is_environment(directory: Path) -> bool:
    return (directory / "pyvenv.cfg").is_file()


def _static_version(directory: Path) -> str | None:
    """Return the version that a ``pyproject.toml`` states, which not every build backend wants there."""
    import rtoml

    try:
        document = rtoml.loads((directory / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Whatever is wrong with it, the build backend will say it better.
        return None
    for table in (document.get("project"), document.get("tool", {}).get("poetry")):
        if isinstance(table, dict) and isinstance(version := table.get("version"), str):
            return version
    return None


def _digest(*parts: str | None) -> Sha256:
    return Sha256(hashlib.sha256(json.dumps([_FORMAT, *parts]).encode()).hexdigest())
