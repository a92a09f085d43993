"""
Decide which first-party files stay out of a package, and why: names that never belong there, and `.gitignore`.

The names are in ``data/left_out.toml``. Git's rules are asked of `pathspec`, which is only imported where a file has some
that are more than names.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING, Literal, NamedTuple

from lamina.core.frozen import frozen
from lamina.core.toml import read_data
from lamina.project.snapshot import Observation, observe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pathspec import GitIgnoreSpec

__all__ = ["GitIgnore", "Glob", "IgnoreRule", "IgnoredFile", "Include", "rule_for"]

_WILDCARDS = frozenset("*?[")
# A line of `.gitignore` that names a path, with `*` and `?` at most.
_SIMPLE = re.compile(r"/?(?:(?!\*\*)[^\s/\\!\[])(?:(?!\*\*|//)[^\s\\\[])*")


@frozen
class IgnoredFile:
    """A first-party path that did not get into the package; a directory stands for all that is in it."""

    path: str
    """Relative to the project; a directory ends with ``/``."""
    reason: str


@frozen
class IgnoreRule:
    """Names that do not belong into a package."""

    reason: str
    override: Literal["any", "exact", "never"]
    """How ``include`` can bring one back: by a glob or directory above it, by its own path only, or not at all."""


def _is_literal(character: str) -> bool:
    return character not in _WILDCARDS


class _Globs:
    """Globs for one component, in lower case; asked of every name of a project, and few of them need `fnmatch`."""

    def __init__(self, globs: Iterable[str]) -> None:
        lowered = [glob.lower() for glob in globs]
        self._names = frozenset(glob for glob in lowered if _WILDCARDS.isdisjoint(glob))
        suffixes = [glob for glob in lowered if glob[0] == "*" and _WILDCARDS.isdisjoint(glob[1:])]
        self._suffixes = tuple(glob[1:] for glob in suffixes)
        others = [glob for glob in lowered if glob not in self._names and glob not in suffixes]
        self._others = tuple(("".join(takewhile(_is_literal, glob)), glob) for glob in others)

    def match(self, name: str) -> bool:
        """Return whether any of them matches the whole of *name*."""
        return (
            name in self._names
            or name.endswith(self._suffixes)
            or any(name.startswith(start) and fnmatchcase(name, glob) for start, glob in self._others)
        )


@cache
def _rules() -> tuple[tuple[str, _Globs, IgnoreRule], ...]:
    return tuple(
        (row["kind"], _Globs(row["names"]), IgnoreRule(reason=row["reason"], override=row["override"]))
        for row in read_data("left_out.toml")["rule"]
    )


@cache
def rule_for(name: str, *, is_directory: bool) -> IgnoreRule | None:
    """Return the rule that leaves out a path called *name*, its last component; case does not matter."""
    lowered = name.lower()
    other = "file" if is_directory else "directory"
    return next((rule for kind, globs, rule in _rules() if kind != other and globs.match(lowered)), None)


class Glob:
    """A path with ``*``, ``?`` and ``[…]`` inside its components, and ``**`` for any number of them."""

    def __init__(self, text: str) -> None:
        self.parts = tuple(part for part in text.split("/") if part not in {"", "."})

    def matches(self, parts: tuple[str, ...]) -> bool:
        """Return whether the glob matches the whole path *parts*."""
        return _matches(self.parts, parts)

    def leads_through(self, parts: tuple[str, ...]) -> bool:
        """Return whether the glob may match something below the directory *parts*."""
        return _leads(self.parts, parts)

    @property
    def outright(self) -> tuple[str, ...]:
        """The components before the first wildcard, which name one path."""
        return tuple(takewhile(_WILDCARDS.isdisjoint, self.parts))

    def base(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        """Return the directory that the match *parts* is seen from: before the first ``**``, or its parent."""
        return parts[: self.parts.index("**")] if "**" in self.parts else parts[:-1]


class Include:
    """The configured paths and globs that are packaged although a rule would leave them out."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._globs = tuple(Glob(entry) for entry in entries)

    def covers(self, path: str) -> bool:
        """Return whether *path*, relative to the project, or a directory above it is included."""
        parts = tuple(path.split("/"))
        return any(glob.matches(parts[:end]) for glob in self._globs for end in range(1, len(parts) + 1))

    def names(self, path: str) -> bool:
        """Return whether *path* itself is included, without any wildcard."""
        return any(glob.parts == tuple(path.split("/")) for glob in self._globs)

    def leads_through(self, directory: str) -> bool:
        """Return whether something below *directory* may be included."""
        return any(glob.leads_through(tuple(directory.split("/"))) for glob in self._globs)


def _matches(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _matches(pattern[1:], parts) or (bool(parts) and _matches(pattern, parts[1:]))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(pattern[1:], parts[1:])


def _leads(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    if not pattern or pattern[0] == "**" or not parts:
        return bool(pattern)
    return fnmatchcase(parts[0], pattern[0]) and _leads(pattern[1:], parts[1:])


class GitIgnore:
    """
    What git would ignore, from the ``.gitignore`` files and ``.git/info/exclude`` of the repository around a project.

    Outside a repository only the files inside the project count. A user's own excludes (``core.excludesFile``) do not
    count: they would make packages differ from one machine to another.
    """

    def __init__(self, project: Path) -> None:
        self._project = project
        self.repository, exclude = _repository(project)
        self.consulted: list[Observation] = []
        self._specs: dict[Path, GitIgnoreSpec | _Names | None] = {}
        self._exclude = self._read(exclude) if exclude is not None else None

    def ignoring(self, path: Path, *, is_directory: bool, floor: Path | None = None) -> str | None:
        """
        Return what ignores *path*, as a reason, or ``None``.

        The closest file decides, as with git. Files above *floor* are not asked.
        """
        top = floor or self.repository
        directory = path.parent
        while True:
            verdict = _verdict(self._spec(directory), path, directory, is_directory=is_directory)
            if verdict is not None:
                return f"ignored by `{self._shown(directory / '.gitignore')}`" if verdict else None
            if directory in (top, directory.parent):
                break
            directory = directory.parent
        if floor is None and _verdict(self._exclude, path, self.repository, is_directory=is_directory):
            return "ignored by `.git/info/exclude`"
        return None

    def _spec(self, directory: Path) -> GitIgnoreSpec | _Names | None:
        if directory not in self._specs:
            self._specs[directory] = self._read(directory / ".gitignore")
        return self._specs[directory]

    def _read(self, path: Path) -> GitIgnoreSpec | _Names | None:
        self.consulted.append(observe(self._project, path))
        try:
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        return _compile(lines) if lines else None

    def _shown(self, path: Path) -> str:
        return os.path.relpath(path, self._project).replace(os.sep, "/")


class _Names:
    """
    What lines ignore that are nothing but names and simple globs; it answers as pathspec does.

    Importing pathspec takes longer than packaging most services, and few ``.gitignore`` files hold anything else.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules = [_Name.of(line) for line in lines]

    @staticmethod
    def suffice(lines: Iterable[str]) -> bool:
        """Return whether *lines* are of this kind: no negation, ``**``, character class, escape, space or empty component."""
        return all(_SIMPLE.fullmatch(line) and {".", ".."}.isdisjoint(line.split("/")) for line in lines)

    def ignores(self, path: str, *, is_directory: bool) -> bool | None:
        """Return whether *path* is ignored, by itself or with a directory above it; ``None`` where no line says so."""
        parts = path.split("/")
        return any(rule.matches(parts, is_directory=is_directory) for rule in self._rules) or None


class _Name(NamedTuple):
    """One line: a path of globs, from where the file stands if it is *anchored*, else anywhere below."""

    parts: tuple[str, ...]
    anchored: bool
    directories: bool
    """Whether only directories match."""

    @classmethod
    def of(cls, line: str) -> _Name:
        path = line.removesuffix("/")
        return cls(tuple(path.removeprefix("/").split("/")), anchored="/" in path, directories=path != line)

    def matches(self, parts: list[str], *, is_directory: bool) -> bool:
        """Return whether *parts*, or a directory above them, are what the line names."""
        # What has something below it is a directory.
        longest = len(parts) if is_directory or not self.directories else len(parts) - 1
        if not self.anchored:
            return any(_same(part, self.parts[0]) for part in parts[:longest])
        return len(self.parts) <= longest and all(map(_same, parts, self.parts))


def _same(name: str, glob: str) -> bool:
    if _WILDCARDS.isdisjoint(glob):
        return name == glob
    if glob[0] == "*" and _WILDCARDS.isdisjoint(glob[1:]):
        return name.endswith(glob[1:])
    return fnmatchcase(name, glob)


def _compile(lines: list[str]) -> GitIgnoreSpec | _Names:
    if _Names.suffice(lines):
        return _Names(lines)
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - costs more than the rest of a small package

    def is_pattern(line: str) -> bool:
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            return False
        return True

    # Git passes over a line that it cannot read, such as a lone `!`.
    return GitIgnoreSpec.from_lines([line for line in lines if is_pattern(line)])


def _verdict(spec: GitIgnoreSpec | _Names | None, path: Path, directory: Path, *, is_directory: bool) -> bool | None:
    """Return whether *spec*, which stands in *directory*, ignores *path*; ``None`` where it does not say."""
    if spec is None:
        return None
    relative = path.relative_to(directory).as_posix()
    if isinstance(spec, _Names):
        return spec.ignores(relative, is_directory=is_directory)
    return spec.check_file(f"{relative}/" if is_directory else relative).include


def _repository(project: Path) -> tuple[Path, Path | None]:
    """Return the top of the repository around *project*, else *project*; and the repository's own exclude file."""
    for directory in (project, *project.parents):
        git = directory / ".git"
        if git.is_dir():
            return directory, git / "info" / "exclude"
        if git.is_file():
            # A worktree or submodule: the file says where the directory is (gitrepository-layout).
            _, _, where = git.read_text(encoding="utf-8", errors="replace").strip().partition("gitdir: ")
            git = directory / where
            common = git / "commondir"
            if common.is_file():
                git /= common.read_text(encoding="utf-8").strip()
            return directory, git / "info" / "exclude"
    return project, None
