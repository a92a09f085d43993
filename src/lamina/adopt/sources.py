"""Change the requirements that a project states, and keep what belongs to them: extras, markers, options, comments and line ends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement

from lamina.adopt.markers import applies
from lamina.core.errors import ConfigError
from lamina.core.files import read_file
from lamina.core.frozen import frozen
from lamina.core.names import normalized
from lamina.core.text import undecodable
from lamina.lock.reading import load
from lamina.lock.requirementsfile import compiler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.core.target import Target

# A backslash before the end of a line continues it.
_GAP = r"(?:[ \t\f]|\\\r?\n)*"
_VERSION = rf"(?:===|[<>=!~]=|[<>]){_GAP}[^\s,;()#\\]+"
_REQUIREMENT = re.compile(
    rf"(?P<start>\ufeff?{_GAP}(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?))(?P<extras>{_GAP}\[[^\]#;\n]*\])?"
    rf"(?P<version>{_GAP}(?:\({_GAP}(?:{_VERSION}(?:{_GAP},{_GAP}{_VERSION})*{_GAP})?\)|{_VERSION}(?:{_GAP},{_GAP}{_VERSION})*))?"
    r"(?P<rest>(?:[\s;\\].*)?)",
    re.DOTALL,
)
_CONTINUED = re.compile(r"\\\r?\n")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*", re.DOTALL)
_OPTIONS = re.compile(r"\s--?[A-Za-z].*", re.DOTALL)
_HASH = re.compile(r"\s--hash\b")
_INCLUDED = re.compile(r"(?:-r|--requirement)(?:\s*=\s*|\s+|(?<=-r))(?P<file>.+)")
_EDITABLE = re.compile(r"(?:-e|--editable)(?:\s*=\s*|\s+)(?P<place>.+)")
_EGG = re.compile(r"#(?:.*&)?egg=([A-Za-z0-9._-]+)")
_MOST_FILES = 100
_ELSEWHERE = "not a version of a package index"
_KEPT_KEYS = frozenset({"version", "extras", "markers"})
"""The keys of a requirement in a table of Poetry or Pipenv that the commands of these programs can write."""


@frozen
class RequirementChange:
    """A requirement that changes, or that is new."""

    file: Path
    old: str | None
    """The requirement as *file* states it; ``None`` for a new one."""
    new: str


@frozen
class ChangedFile:
    """A requirements file, and its content with the changes."""

    path: Path
    content: str


@frozen
class _Stated:
    """A requirement that a manifest states."""

    shown: str
    extras: frozenset[str]
    marker: Marker | None
    obstacle: str | None = None
    """What it is, if it cannot be changed without losing something, such as ``a direct reference``."""


def changes_of_manifest(
    manifest: Path, requirements: Sequence[Requirement], targets: Sequence[Target]
) -> tuple[RequirementChange, ...]:
    """
    Return what to pass to the package manager of *manifest*, a ``pyproject.toml`` or ``Pipfile``, so that it requires *requirements*.

    The new ones have the extras and the marker of those that they replace. Of several with markers, those for *targets* are replaced.
    Raises `ConfigError` for a requirement that is not by version, and `LockSyntaxError` for an invalid file.
    """
    stated = _stated(load(manifest), is_pipfile=manifest.name == "Pipfile") if manifest.is_file() else {}
    found = []
    for requirement in requirements:
        before = [each for each in stated.get(normalized(requirement.name), ()) if applies(each.marker, targets)]
        for each in before:
            if each.obstacle is not None:
                raise _refusal(requirement, f"in `{manifest.name}`", each.obstacle)
            wanted = _text(requirement, requirement.extras | each.extras)
            new = f"{wanted} ; {each.marker}" if each.marker is not None else wanted
            found.append(RequirementChange(file=manifest, old=each.shown, new=new))
        if not before:
            found.append(RequirementChange(file=manifest, old=None, new=_text(requirement, requirement.extras)))
    return tuple(found)


def changes_of_files(
    sources: Sequence[Path], requirements: Sequence[Requirement], targets: Sequence[Target]
) -> tuple[tuple[ChangedFile, ...], tuple[RequirementChange, ...]]:
    """
    Return the requirements files *sources*, and those that they include, with *requirements*, and the changes.

    A requirement takes the place of the version of that of the same distribution that applies to one of *targets*. One that no file has is
    added to the first file. Raises `ConfigError` for one that is not by version, or that has hashes, and the errors of reading files.
    """
    editor = _Editor({normalized(each.name): each for each in requirements}, targets)
    for source in sources:
        editor.read(source)
    editor.append(sources[0])
    return (
        tuple(ChangedFile(path=path, content=content) for path, content in editor.changed.items()),
        tuple(editor.changes),
    )


class _Editor:
    """Replaces requirements in a requirements file and in the files that it includes."""

    def __init__(self, wanted: Mapping[str, Requirement], targets: Sequence[Target]) -> None:
        self._wanted = wanted
        self._targets = targets
        self._texts: dict[Path, str] = {}
        self._placed: set[str] = set()
        self.changed: dict[Path, str] = {}
        self.changes: list[RequirementChange] = []

    def read(self, path: Path) -> None:
        """Replace the requirements in the file *path*, and in those that it includes."""
        if path in self._texts or len(self._texts) >= _MOST_FILES:
            return
        # `\n` alone ends a line: other characters that Python calls line ends can be in a comment.
        try:
            text = self._texts[path] = read_file(path).decode()
        except UnicodeDecodeError as error:
            raise ConfigError(f"`{path}` {undecodable(error)}") from error
        is_compiled = bool(compiler(text))
        edited = "".join(self._line(raw, path, number, is_compiled=is_compiled) for number, raw in _logical_lines(text))
        if edited != text:
            self.changed[path] = edited

    def append(self, path: Path) -> None:
        """Add the requirements that no file has to the file *path*."""
        lines = [_text(each, each.extras) for name, each in self._wanted.items() if name not in self._placed]
        if not lines:
            return
        text = self.changed.get(path, self._texts[path])
        end = "\r\n" if "\r\n" in text else "\n"
        between = "" if not text or text.endswith("\n") else end
        self.changed[path] = text + between + "".join(line + end for line in lines)
        self.changes += [RequirementChange(file=path, old=None, new=line) for line in lines]

    def _line(self, raw: str, path: Path, number: int, *, is_compiled: bool) -> str:
        """Return the logical line *raw* of the file *path* with the new version, if it is a requirement to replace."""
        joined = _CONTINUED.sub(" ", raw.removeprefix("\ufeff"))
        text = _COMMENT.sub("", joined).strip()
        if (included := _INCLUDED.fullmatch(text)) is not None:
            other = path.parent / included["file"].strip("\"'")
            if other.is_file():
                self.read(other)
            return raw
        found, stated = _REQUIREMENT.fullmatch(raw), _parsed(_OPTIONS.sub("", text))
        is_version = found is not None and stated is not None and stated.url is None
        for name in _named_by(text, joined) if stated is None else [stated.name]:
            wanted = self._wanted.get(normalized(name))
            if wanted is None or (stated is not None and not applies(stated.marker, self._targets)):
                continue
            if found is None or stated is None or not is_version:
                raise _refusal(wanted, f"in `{path.name}:{number}`", _ELSEWHERE)
            if is_compiled or _HASH.search(text):
                what = "in a compiled file" if is_compiled else "a requirement with hashes"
                raise _refusal(wanted, f"in `{path.name}:{number}`", what)
            return self._replaced(found, stated, wanted, path)
        return raw

    def _replaced(self, found: re.Match[str], stated: Requirement, wanted: Requirement, path: Path) -> str:
        """Return the line *found* of the file *path* with the version of *wanted*."""
        self._placed.add(normalized(stated.name))
        extras = found["extras"] or ""
        if not wanted.extras <= stated.extras:
            extras = _extras(wanted.extras | stated.extras)
        after = f"{found['start']}{extras}{wanted.specifier}{found['rest']}"
        if after != found[0]:
            old = _CONTINUED.sub(" ", f"{found['name']}{found['extras'] or ''}{found['version'] or ''}")
            new = f"{found['name']}{extras}{wanted.specifier}"
            self.changes.append(RequirementChange(file=path, old=old, new=new))
        return after


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each logical line of *text* with its line ends, and the number of its first line."""
    started, parts = 1, list[str]()
    for number, line in enumerate(_LINE.findall(text), start=1):
        started = started if parts else number
        parts.append(line)
        if line.lstrip().startswith("#") or not _CONTINUED.search(line):
            yield started, "".join(parts)
            parts = []
    if parts:
        yield started, "".join(parts)


def _named_by(text: str, joined: str) -> Iterator[str]:
    """Yield the names of the distributions that a line with a path or a URL probably means."""
    editable = _EDITABLE.fullmatch(text)
    place = text if editable is None else editable["place"]
    if (egg := _EGG.search(joined)) is not None:
        yield egg[1]
    if editable is not None or re.match(r"[./\\]|[A-Za-z][A-Za-z0-9+.-]*:", place):
        last = re.split(r"[/\\]", re.split(r"[#?;\s]", place)[0].rstrip("/\\"))[-1]
        yield (
            last.partition("-")[0]
            if last.endswith(".whl")
            else re.sub(r"(?:-\d.*)?(?:\.git|\.zip|\.tar\.gz)?(?:@.*)?$", "", last)
        )
        yield from re.findall(r"^\s*([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*@", place)


def _parsed(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _stated(document: Mapping[str, Any], *, is_pipfile: bool) -> dict[str, list[_Stated]]:
    """Return the requirements of the manifest *document* by normalised name."""
    if is_pipfile:
        rows = document.get("packages", {})
        return {normalized(name): [_of_row(name, row)] for name, row in rows.items()}
    found: dict[str, list[_Stated]] = {}
    tools = document.get("tool", {})
    poetry = tools.get("poetry", {}).get("dependencies", {})
    moved = {normalized(name) for name, row in tools.get("uv", {}).get("sources", {}).items() if _is_moved(row)}
    for text in document.get("project", {}).get("dependencies", []):
        if (requirement := _parsed(text)) is not None:
            name = normalized(requirement.name)
            obstacle = _ELSEWHERE if requirement.url is not None or name in moved else None
            stated = _Stated(
                shown=text, extras=frozenset(requirement.extras), marker=requirement.marker, obstacle=obstacle
            )
            found.setdefault(name, []).append(stated)
    for name, row in poetry.items():
        stated = _of_row(name, row)
        if normalized(name) not in found or stated.obstacle is not None:
            found[normalized(name)] = [stated]
    return found


def _is_moved(row: Any) -> bool:
    """Return whether *row*, an entry of ``[tool.uv.sources]``, names another place than an index."""
    return any("index" not in each for each in (row if isinstance(row, list) else [row]))


def _of_row(name: str, row: Any) -> _Stated:
    """Return the requirement *name* of Poetry or Pipenv, whose value is *row*: a version, a table, or several tables."""
    if isinstance(row, str):
        return _Stated(shown=f"{name} {row}", extras=frozenset(), marker=None)
    if not isinstance(row, dict):
        return _Stated(shown=name, extras=frozenset(), marker=None, obstacle="several requirements")
    obstacle = next((f"a requirement with `{key}`" for key in row if key not in _KEPT_KEYS), None)
    extras, marker = frozenset(row.get("extras", ())), None
    try:
        marker = Marker(row["markers"]) if "markers" in row else None
    except InvalidMarker:
        obstacle = "a requirement with an invalid marker"
    shown = f"{name}{_extras(extras)} {row.get('version', '*')}" + (f" ; {marker}" if marker is not None else "")
    return _Stated(shown=shown, extras=extras, marker=marker, obstacle=obstacle)


def _text(requirement: Requirement, extras: set[str] | frozenset[str]) -> str:
    return f"{requirement.name}{_extras(extras)}{requirement.specifier}"


def _extras(extras: set[str] | frozenset[str]) -> str:
    return f"[{','.join(sorted(extras))}]" if extras else ""


def _refusal(wanted: Requirement, place: str, what: str) -> ConfigError:
    text = _text(wanted, wanted.extras)
    return ConfigError(
        f"`{wanted.name}` {place} is {what}, so lamina does not replace it by `{text}`",
        hint="change it yourself, lock, and run the command again",
    )
