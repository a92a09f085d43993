"""
Decide which first-party files to leave out of a package, and why: by lamina's ignore rules, and by `.gitignore`.

A file that git tracks is packaged even if `.gitignore` matches it, but not if an ignore rule leaves it out. lamina's ignore
rules are in ``data/ignore_rules.toml``. This module matches `.gitignore` files with simple patterns only. `pathspec`, which is
slow to import, matches all others.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from functools import cache, partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lamina.core.frozen import frozen
from lamina.core.paths import relative_path
from lamina.core.toml import read_data
from lamina.project.repository import find_repository, repository_at
from lamina.project.snapshot import Observation, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pathspec import GitIgnoreSpec

    from lamina.project.repository import Repository
    from lamina.project.tracked import TrackedFiles

_WILDCARDS = frozenset("*?[")
_MODULES = (".py", ".pyi", ".so", ".pyd")
# The endings of copies and archives of a file, such as `secrets.yaml.bak`, `secrets.yaml.1` and `secrets.tar.gz`.
_COPY = re.compile(r"(?:\.(?:bak|backup|copy|old|orig|save|swo|swp|[0-9]+|gz|bz2|xz|zst|zip|tar|tgz|7z|rar)|~)+$")
# How `include` can override a rule, from the weakest rule to the strictest.
_STRICTNESS = ("any", "exact", "file", "never")
# A line of `.gitignore` with a path whose only wildcards are `*` and `?`.
_SIMPLE = re.compile(r"/?(?:(?!\*\*)[^\s/\\!\[])(?:(?!\*\*|//)[^\s\\\[])*")


@frozen
class IgnoredFile:
    """A first-party file or directory that is left out of the package. A directory includes all files in it."""

    path: str
    """The path relative to the project. The path of a directory ends with ``/``."""
    reason: str
    is_noted: bool = False
    """Whether an ignore rule leaves the path out as a possible secret, although git does not ignore it."""


@frozen
class IgnoreRule:
    """A rule that leaves out files or directories by name."""

    reason: str
    override: Literal["any", "exact", "file", "never"]
    """How ``include`` can override the rule: by any glob, only by the exact path, only by the exact path of a file, or never."""

    @property
    def is_secret(self) -> bool:
        """Whether the rule leaves out files that may contain secrets."""
        return self.override == "exact"

    @property
    def is_guard(self) -> bool:
        """Whether no glob overrides the rule. It then applies to all paths in a directory that it leaves out."""
        return self.override != "any"


def _is_literal(character: str) -> bool:
    return character not in "*?[]"


class _Globs:
    """
    Globs for one path component, in lower case.

    Every name in a project is matched, so plain names and suffixes are matched without the slower `fnmatch`.
    """

    def __init__(self, globs: Iterable[str]) -> None:
        lowered = [glob.lower() for glob in globs]
        self._names = frozenset(glob for glob in lowered if _WILDCARDS.isdisjoint(glob))
        suffixes = [glob for glob in lowered if glob[0] == "*" and _WILDCARDS.isdisjoint(glob[1:])]
        self._suffixes = tuple(glob[1:] for glob in suffixes)
        others = [glob for glob in lowered if glob not in self._names and glob not in suffixes]
        self._others = tuple((_literal_start(glob), _literal_start(glob[::-1])[::-1], glob) for glob in others)

    def match(self, name: str) -> bool:
        """Return whether any of the globs matches the whole *name*, which must be in lower case."""
        return (
            name in self._names
            or name.endswith(self._suffixes)
            or any(
                name.startswith(start) and name.endswith(end) and fnmatchcase(name, glob)
                for start, end, glob in self._others
            )
        )


def _literal_start(glob: str) -> str:
    return "".join(takewhile(_is_literal, glob))


def shown_path(path: Path, project: Path) -> str:
    """Return *path* relative to *project*, with ``/``, also at the end of the path of a directory."""
    return relative_path(path, project) + ("/" if path.is_dir() else "")


@frozen
class _NameRule:
    """The names of one kind to which a rule applies."""

    kind: str
    """The key of the names in the data, such as ``any``."""
    globs: _Globs
    words: tuple[str, ...]
    """The words of further names, if any."""
    around: Callable[[], re.Pattern[str]]
    """Return the expression for the names with these words. It is compiled only if a name contains one, which few do."""
    unless_in: frozenset[str]
    """The names of directories in which the rule does not apply, at any depth."""
    rule: IgnoreRule

    def match(self, name: str) -> bool:
        """Return whether the rule applies to the file or directory *name*, which must be in lower case."""
        return self.globs.match(name) or (
            any(word in name for word in self.words) and self.around().fullmatch(name) is not None
        )


@cache
def _rules() -> tuple[_NameRule, ...]:
    return tuple(
        _NameRule(
            kind=kind,
            globs=_Globs(globs),
            words=tuple(row.get("words", ()) if kind == "file" else ()),
            around=cache(partial(_around, row)),
            unless_in=frozenset(row.get("unless_in", ())),
            rule=_rule(row),
        )
        for row in read_data("ignore_rules.toml")["rule"]
        for kind, globs in row["names"].items()
        if kind not in {"cased", "path"}
    )


def _around(row: dict[str, Any]) -> re.Pattern[str]:
    """Return an expression for the names that consist of the words of *row*, with what the data allows before and after them."""

    def any_of(key: str) -> str:
        return f"(?:{'|'.join(map(re.escape, row[key]))})"

    before = rf"{any_of('prefixes')}[-_.]" if "prefixes" in row else ""
    return re.compile(rf"\.?{before}{any_of('words')}(?:[-_.]{any_of('environments')})?{any_of('endings')}")


@cache
def _paths() -> dict[str, IgnoreRule]:
    """Return the rules for files and directories that only match in a certain directory, by the directory and the name."""
    return {path: _rule(row) for row in read_data("ignore_rules.toml")["rule"] for path in row["names"].get("path", ())}


def _rule(row: dict[str, Any]) -> IgnoreRule:
    return IgnoreRule(reason=row["reason"], override=row["override"])


@cache
def _cased() -> dict[str, IgnoreRule]:
    """Return the rules for directories that only match in the case in which the data has their names."""
    return {
        name: _rule(row) for row in read_data("ignore_rules.toml")["rule"] for name in row["names"].get("cased", ())
    }


def rule_for(
    name: str, *, is_directory: bool, in_project_root: bool = False, above: tuple[str, ...] = ()
) -> IgnoreRule | None:
    """
    Return the rule that leaves out paths with the last component *name*, ignoring case, or ``None``.

    With *in_project_root*, also apply the rules for files that describe the project. *above* are the components before *name*,
    relative to the project: some rules apply only in certain directories, or not in others. A module never counts as a secret, and
    a copy of a secret, such as ``secrets.yaml.bak``, is one too.
    """
    if above and (rule := _paths().get(f"{above[-1]}/{name}".lower())) is not None:
        return rule
    found, unless_in = _named_rule(name, is_directory=is_directory, in_project_root=in_project_root)
    return None if any(directory.lower() in unless_in for directory in above if unless_in) else found


@cache
def _named_rule(name: str, *, is_directory: bool, in_project_root: bool) -> tuple[IgnoreRule | None, frozenset[str]]:
    """Return the rule for *name*, and the directories in which it does not apply."""
    lowered = name.lower()
    kinds = {"any", "directory"} if is_directory else {"any", "file", *(["project"] if in_project_root else [])}
    copied = _COPY.sub("", lowered)
    is_module = not is_directory and copied.endswith(_MODULES)
    for each in _rules():
        if each.kind not in kinds or (is_module and each.rule.is_secret):
            continue
        if each.match(lowered) or (each.rule.is_secret and copied != lowered and each.match(copied)):
            return each.rule, each.unless_in
    return (_cased().get(name) if is_directory else None), frozenset()


def strictest(*rules: IgnoreRule | None) -> IgnoreRule | None:
    """Return the first of *rules* that is the most difficult to override, or ``None`` if there is none."""
    return max(filter(None, rules), key=lambda rule: _STRICTNESS.index(rule.override), default=None)


def guard_of(parts: Iterable[str]) -> IgnoreRule | None:
    """Return the strictest rule that no glob overrides, of those for the directories in *parts*, the components of a path."""
    names = tuple(parts)
    rules = (rule_for(name, is_directory=True, above=names[:at]) for at, name in enumerate(names))
    return strictest(*(rule for rule in rules if rule is not None and rule.is_guard))


class Glob:
    """A path pattern with ``*``, ``?`` and ``[…]`` within a component, and ``**`` for any number of components."""

    def __init__(self, text: str) -> None:
        self.parts = tuple(part for part in text.split("/") if part not in {"", "."})

    def matches(self, parts: tuple[str, ...]) -> bool:
        """Return whether the glob matches the whole path *parts*."""
        return _matches(self.parts, parts)

    def leads_through(self, parts: tuple[str, ...]) -> bool:
        """Return whether the glob may match a path below the directory *parts*."""
        return _leads(self.parts, parts)

    @property
    def outright(self) -> tuple[str, ...]:
        """The components before the first component with a wildcard."""
        return tuple(takewhile(_WILDCARDS.isdisjoint, self.parts))

    def base(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        """
        Return the import root of the matched path *parts*.

        It is the components before the glob's first ``**``, or the parent of the path if the glob has no ``**``.
        """
        return parts[: self.parts.index("**")] if "**" in self.parts else parts[:-1]


class Include:
    """The paths and globs in the ``include`` setting, which override ignore rules."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._entries = tuple(entries)
        self._globs = tuple(Glob(entry) for entry in entries)

    def covers(self, path: str) -> bool:
        """Return whether *path*, relative to the project, or a directory above it is included."""
        return any(self._covering(path))

    def covering(self, path: str) -> list[str]:
        """Return the entries that match *path*, relative to the project, or a directory above it."""
        return list(self._covering(path))

    def _covering(self, path: str) -> Iterator[str]:
        parts = tuple(path.split("/"))
        for entry, glob in zip(self._entries, self._globs, strict=True):
            if any(glob.matches(parts[:end]) for end in range(1, len(parts) + 1)):
                yield entry

    def names(self, path: str) -> bool:
        """Return whether *path* itself is listed without wildcards."""
        return any(glob.parts == tuple(path.split("/")) for glob in self._globs)

    def overrides(self, rule: IgnoreRule | None, path: str, *, is_directory: bool) -> bool:
        """Return whether *path* is included although *rule* leaves it out, or, without a *rule*, although git ignores it."""
        if rule is None or not rule.is_guard:
            return self.covers(path)
        return rule.override != "never" and self.names(path) and not (is_directory and rule.override == "file")

    def leads_through(self, directory: str, rule: IgnoreRule | None = None) -> bool:
        """Return whether a path below *directory*, which *rule* leaves out, may be included."""
        parts = tuple(directory.split("/"))
        if rule is None or not rule.is_guard:
            return any(glob.leads_through(parts) for glob in self._globs)
        return any(glob.outright == glob.parts and glob.leads_through(parts) for glob in self._globs)


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
    What git ignores in the repository that contains the project.

    Patterns come from the ``.gitignore`` files and the ``.git/info/exclude`` of the repository. Without a repository, only the
    ``.gitignore`` files inside the project apply. The user's excludes file (``core.excludesFile``) never applies, because
    packages would then differ between machines. The index is read only if a pattern or an ignore rule matches a path.
    """

    def __init__(self, project: Path) -> None:
        self._project = project
        self._git = find_repository(project)
        self._top = project if self._git is None else Path(self._git.root)
        self.consulted: list[Observation] = []
        """The state of all files that decided an answer."""
        self.has_overruled = False
        """Whether a pattern matched a path that git tracks."""
        self._specs: dict[Path, GitIgnoreSpec | re.Pattern[str] | None] = {}
        self._inside: dict[tuple[Path, Path | None], str] = {}
        self._tracked: dict[str, TrackedFiles] = {}
        self._exclude = None
        if self._git is not None:
            self._exclude = self._read(Path(self._git.common, "info", "exclude"))
        else:
            # The project may become part of a repository.
            self.consulted.append(observe(project, project / ".git"))

    def ignoring(self, path: Path, *, is_directory: bool, floor: Path | None = None) -> str | None:
        """
        Return the reason why git ignores *path*, or ``None``; *floor* is that of `matching`.

        git never ignores a path that it tracks. A directory is not ignored if git tracks a file below it; ask for the other
        paths below it after the directory itself. Raises `PackageError` if git's index is damaged.
        """
        # As in git, no pattern adds back what is in an ignored directory.
        reason = self._inside.get((path.parent, floor)) or self.matching(path, is_directory=is_directory, floor=floor)
        if reason is None:
            return None
        if is_directory:
            self._inside[path, floor] = reason
        if self.tracks(path):
            self.has_overruled = True
            return None
        return reason

    def tracks(self, path: Path) -> bool:
        """Return whether git tracks *path* or a file below it. Raises `PackageError` if git's index is damaged."""
        return self._git is not None and self._is_tracked(self._git, self._project, str(path))

    def _is_tracked(self, repository: Repository, directory: str | Path, path: str) -> bool:
        """Return whether *repository* tracks *path* or a file below it. *directory* contains all paths that are asked for."""
        from lamina.project.tracked import path_in, tracked_files

        if repository.root not in self._tracked:
            self.consulted.append(observe(self._project, os.path.join(directory, ".git")))
            self._tracked[repository.root] = tracked_files(repository)
        files = self._tracked[repository.root]
        inside = path_in(repository, path)
        if inside is None or files.below(inside):
            return inside is not None
        submodule = files.submodule_of(inside)
        inner = None if submodule is None else repository_at(os.path.join(repository.root, os.fsdecode(submodule)))
        return inner is not None and self._is_tracked(inner, inner.root, path)

    def matching(self, path: Path, *, is_directory: bool, floor: Path | None = None) -> str | None:
        """
        Return the reason why a pattern matches *path*, whether or not git tracks it, or ``None``.

        The closest ``.gitignore`` with a matching pattern decides, as in git. With *floor*, only the ``.gitignore`` files in
        this directory and below apply. No pattern matches the working tree itself.
        """
        top = floor or self._top
        if path == top:
            return None
        directory = path.parent
        while True:
            verdict = _verdict(self._spec(directory), path, directory, is_directory=is_directory)
            if verdict is not None:
                return f"ignored by `{self._shown(directory / '.gitignore')}`" if verdict else None
            if directory in (top, directory.parent):
                break
            directory = directory.parent
        if floor is None and _verdict(self._exclude, path, self._top, is_directory=is_directory):
            return "ignored by `.git/info/exclude`"
        return None

    def _spec(self, directory: Path) -> GitIgnoreSpec | re.Pattern[str] | None:
        if directory not in self._specs:
            self._specs[directory] = self._read(directory / ".gitignore")
        return self._specs[directory]

    def _read(self, path: Path) -> GitIgnoreSpec | re.Pattern[str] | None:
        observation = observe(self._project, path)
        self.consulted.append(observation)
        # Reading a device or a named pipe may never end.
        if observation.kind != "file":
            return None
        try:
            # git skips a byte order mark, and separates lines only by LF and CRLF.
            text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        except OSError:
            return None
        lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
        return _compile(lines) if lines else None

    def _shown(self, path: Path) -> str:
        return relative_path(path, self._project)


def _is_simple(line: str) -> bool:
    """Return whether *line* has no negation, ``**``, character class, escape, space, or component that is empty or dots."""
    return _SIMPLE.fullmatch(line) is not None and {".", ".."}.isdisjoint(line.split("/"))


def _simple_spec(lines: Iterable[str]) -> re.Pattern[str]:
    """
    Return an expression that matches the paths that the simple *lines* ignore, with the same results as `pathspec`.

    Measured 2026-11-27: a process that walks the sources with 20 lines in `.gitignore` needed 48 ms for 20 files, and
    102 ms with `pathspec`, mostly for its import (`python -c pass` needs 14 ms). For 20,000 files there was no difference.
    The benchmark ``build-edited`` covers this.
    """
    return re.compile("|".join(map(_expression, lines)), re.DOTALL)


def _expression(line: str) -> str:
    path = line.removesuffix("/")
    # A path with a slash is relative to the file's directory; a path without one matches at any depth.
    start = "" if "/" in path else "(?:.*/)?"
    end = "/.*" if path != line else "(?:/.*)?"
    return start + "/".join(map(_component, path.removeprefix("/").split("/"))) + end


def _component(glob: str) -> str:
    if glob == "*":
        return "[^/]+"
    return re.escape(glob).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")


def _compile(lines: list[str]) -> GitIgnoreSpec | re.Pattern[str]:
    if all(map(_is_simple, lines)):
        return _simple_spec(lines)
    from pathspec import GitIgnoreSpec

    def is_pattern(line: str) -> bool:
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            return False
        return True

    # Skip invalid lines, such as a single `!`, because git does.
    return GitIgnoreSpec.from_lines([line for line in lines if is_pattern(line)])


def _verdict(
    spec: GitIgnoreSpec | re.Pattern[str] | None, path: Path, directory: Path, *, is_directory: bool
) -> bool | None:
    """Return whether *spec*, from a file in *directory*, ignores *path*, or ``None`` if no pattern matches."""
    if spec is None:
        return None
    relative = path.relative_to(directory).as_posix() + ("/" if is_directory else "")
    if isinstance(spec, re.Pattern):
        return spec.fullmatch(relative) is not None or None
    return spec.check_file(relative).include
