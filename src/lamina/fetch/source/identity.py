"""Compute the identity of sources before they are built: from a hash, a commit, or the content of a directory."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from lamina.core.errors import LocalBuildError
from lamina.core.faults import exhausted
from lamina.core.files import file_sha256, read_file
from lamina.core.paths import relative_path
from lamina.core.urls import shown_path, without_query
from lamina.core.values import DirectorySource, SdistSource, Sha256, SourcePin, VcsSource
from lamina.project.ignore import GitIgnore, Include, rule_for, strictest
from lamina.project.links import link_target
from lamina.project.sources import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.core.values import Source
    from lamina.project.ignore import IgnoreRule

_FORMAT = 1
_DYNAMIC = "dynamic"
# Files that tools create next to the sources. They must not affect the identity, and a build does not need them.
_MADE = frozenset({".tox", ".nox", ".venv", "__pycache__", "node_modules"})
_MADE_SUFFIXES = (".egg-info", ".pyc")
_BUILD_OUTPUT = frozenset({"build", "dist"})


def identify(source: Source, *, root: Path | None = None, include: Sequence[str] = ()) -> SourcePin:
    """
    Return *source* as a pin with its digest.

    The files of a directory are all except those that git ignores, those that may contain secrets, virtual environments, and
    files that tools generate, such as ``__pycache__``. *include* lists paths and globs relative to *root* that add git-ignored
    files; only the exact path adds a file that may contain secrets. The digest covers their relative paths and contents. It
    does not cover times, modes or the directory's own path.

    Raises `LocalBuildError` if a directory is unreadable, has neither a ``pyproject.toml`` nor a ``setup.py``, or has a
    symbolic link to a directory, out of the package and the project, or to nothing. Raises `PackageError` if git's index is damaged.
    """
    version = source.version
    match source:
        case SdistSource(filename=label, sha256=digest, subdirectory=subdirectory):
            digest = _digest("sdist", digest, subdirectory) if subdirectory else digest
        case VcsSource(commit=commit, subdirectory=subdirectory):
            digest = _digest("git", source.name, commit, subdirectory)
            label = f"git+{without_query(source.url)}@{commit}" + (
                f"#subdirectory={subdirectory}" if subdirectory else ""
            )
        case DirectorySource():
            return _identify_directory(source, root or source.path, Include(include))
        case _:
            assert_never(source)
    return SourcePin(name=source.name, version=version or _DYNAMIC, filename=label, sha256=digest, source=source)


def _identify_directory(source: DirectorySource, root: Path, include: Include) -> SourcePin:
    if not any((source.path / name).is_file() for name in ("pyproject.toml", "setup.py")):
        raise LocalBuildError(
            f"`{source.name}` is locked as the directory `{shown_path(source.path)}`, which has no `pyproject.toml` or `setup.py`",
            hint="add a `pyproject.toml`, or regenerate the lock if the project has moved",
        )
    content = _Content(source, root, include)
    try:
        files = content.files()
    except OSError as error:
        raise exhausted(error) or LocalBuildError(
            f"cannot read `{shown_path(error.filename)}`: {error.strerror}"
        ) from error
    return SourcePin(
        name=source.name,
        version=source.version or _static_version(source.path) or _DYNAMIC,
        filename=f"{source.name} (local)",
        sha256=_digest("directory", source.name, fingerprint((path, file_sha256(origin)) for path, origin in files)),
        source=source,
        inputs=content.inputs,
        files=files,
        left_out=tuple(content.left_out),
        secrets=tuple(content.secrets),
    )


class _Content:
    """The content of a local directory, as far as it is part of a build."""

    def __init__(self, source: DirectorySource, root: Path, include: Include) -> None:
        self.left_out: list[Path] = []
        self.secrets: list[Path] = []
        self._source = source
        self._root = root
        self._real_roots = tuple(map(os.path.realpath, (source.path, root)))
        self._include = include
        self._ignore = GitIgnore(source.path)
        # In a directory that git ignores as a whole, such as a generated package, only the rules below it apply.
        self._floor = source.path if self._ignore.matching(source.path, is_directory=True) else None
        self._has_included = False
        self._seen: list[Path] = []

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The paths of all files, directories and ignore files that decided the content."""
        consulted = (Path(os.path.normpath(self._source.path / seen.path)) for seen in self._ignore.consulted)
        return tuple(dict.fromkeys((*self._seen, *consulted)))

    def files(self) -> tuple[tuple[str, Path], ...]:
        """Return each file's path in the directory and its path on disk, sorted. Raises `LocalBuildError` and `OSError`."""
        found = sorted(self._below(self._source.path))
        if self._has_included or self._ignore.has_overruled:
            # Build backends such as hatchling match the patterns again, and know neither `include` nor git's index.
            found = [(path, origin) for path, origin in found if path != ".gitignore"]
        return tuple(found)

    def _below(
        self, directory: Path, *, only_included: bool = False, guard: IgnoreRule | None = None
    ) -> Iterator[tuple[str, Path]]:
        """Yield the files below *directory*. *guard* is the rule for secrets that leaves out a directory above, if any."""
        self._seen.append(directory)
        for path in sorted(directory.iterdir()):
            is_directory = path.is_dir()
            above = path.relative_to(self._source.path).parts[:-1]
            rule = strictest(rule_for(path.name, is_directory=is_directory, above=above), guard)
            if _is_made(path, rule) or (is_directory and _is_environment(path)):
                continue
            by_git = self._ignore.ignoring(path, is_directory=is_directory, floor=self._floor) is not None
            if self._is_ignored(path, rule, is_directory=is_directory, by_git=by_git):
                is_secret = rule is not None and rule.is_secret
                if is_directory and not path.is_symlink() and self._include.leads_through(self._shown(path), rule):
                    yield from self._below(path, only_included=True, guard=rule if is_secret else None)
                elif is_secret and not by_git and not only_included and not _is_hidden(path, self._source.path):
                    self.secrets.append(path)
                elif not only_included and not _is_by_product(path, self._source.path):
                    self.left_out.append(path)
            elif not is_directory:
                if path.is_symlink() and not self._may_follow(path):
                    continue
                self._seen.append(path)
                yield path.relative_to(self._source.path).as_posix(), path
            elif path.is_symlink():
                raise LocalBuildError(
                    f"`{self._source.name}` has a symbolic link to a directory, which lamina does not support: "
                    f"`{path.relative_to(self._source.path).as_posix()}`",
                    hint="add the link to `.gitignore`, or replace the link with the directory",
                )
            else:
                yield from self._below(path)

    def _may_follow(self, link: Path) -> bool:
        """Return whether to follow *link*, or record that it leads to a secret. Raises `LocalBuildError` if it is not allowed."""
        target = link_target(link, self._real_roots)
        if target.problem is not None:
            raise LocalBuildError(
                f"`{self._source.name}` has a file that lamina does not package: `{self._shown(link)}` {target.problem}",
                hint="copy the file into the package, or add the link to `.gitignore`",
            )
        if target.rule is None or self._include.overrides(target.rule, self._shown(link), is_directory=False):
            return True
        self.secrets.append(link)
        return False

    def _is_ignored(self, path: Path, rule: IgnoreRule | None, *, is_directory: bool, by_git: bool) -> bool:
        """Return whether to leave out *path*, because git ignores it, or because it may contain secrets, according to *rule*."""
        if not by_git and (rule is None or not rule.is_secret):
            return False
        is_included = self._include.overrides(rule, self._shown(path), is_directory=is_directory)
        self._has_included |= by_git and is_included
        return not is_included

    def _shown(self, path: Path) -> str:
        return relative_path(path, self._root)


def _is_made(path: Path, rule: IgnoreRule | None) -> bool:
    """Return whether *path* belongs to version control or to lamina, according to *rule*, or whether tools create it."""
    is_guarded = rule is not None and rule.override == "file"
    return is_guarded or path.name in _MADE or path.name.endswith(_MADE_SUFFIXES)


def _is_hidden(path: Path, project: Path) -> bool:
    """Return whether *path* is a hidden file at the top of *project*, such as ``.npmrc``, which is never part of its wheel."""
    return path.parent == project and path.name.startswith(".")


def _is_by_product(path: Path, project: Path) -> bool:
    """Return whether the git-ignored *path* is a product of tools that is never part of a wheel of *project*."""
    is_output = path.parent == project and path.name in _BUILD_OUTPUT
    return is_output or path.name.startswith(".") or rule_for(path.name, is_directory=path.is_dir()) is not None


def _is_environment(directory: Path) -> bool:
    return (directory / "pyvenv.cfg").is_file()


def _static_version(directory: Path) -> str | None:
    """Return the version in the ``pyproject.toml`` of *directory*; ``None`` if it is not there or the file is invalid."""
    from lamina.core.toml import parse

    try:
        document = parse(read_file(directory / "pyproject.toml").decode("utf-8"))
    except (OSError, ValueError):
        # The build backend reports errors in the file.
        return None
    tool = document.get("tool")
    for table in (document.get("project"), tool.get("poetry") if isinstance(tool, dict) else None):
        if isinstance(table, dict) and isinstance(version := table.get("version"), str):
            return version
    return None


def _digest(*parts: str | None) -> Sha256:
    return Sha256(hashlib.sha256(json.dumps([_FORMAT, *parts]).encode()).hexdigest())
