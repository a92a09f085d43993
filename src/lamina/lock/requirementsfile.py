"""
Parse requirements files, and the files that they include, without network access.

Format: https://pip.pypa.io/en/stable/reference/requirements-file-format/ (2026-11). lamina has its own small parser.
The parsers on PyPI are either a copy of pip's from 2022, or return neither ``--hash`` options nor line numbers.
"""

from __future__ import annotations

import codecs
import os
import re
import shlex
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement

from lamina.core.files import read_file
from lamina.core.names import path_of
from lamina.core.text import undecodable
from lamina.core.urls import ENCODING_HINT, InvalidUrlError, checked
from lamina.lock.reading import conflict_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Longer marks first: the one of UTF-32 starts with the one of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(rb"#.*?coding[:=]\s*([-\w.]+)")
_SOME_HASH = re.compile(r"\s--hash[=\s]\s*sha256:")
_SOME_REQUIREMENT = re.compile(r"^\s*(?:[A-Za-z0-9.]|-[rce]\b|--(?:requirement|constraint|editable)\b)", re.MULTILINE)
_COMPILED = re.compile(r"^#\s+((?:uv (?:pip compile|export)|pip-compile)\b.*)$", re.MULTILINE)
_COMMENT = re.compile(r"(^|\s)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_OPTION = re.compile(r"^(--?[a-zA-Z][a-z-]*)(?:\s*=\s*|\s+|(?<=^-[a-z])(?=\S)|$)(.*)$")
_HASH_OPTION = re.compile(r"\s--hash[=\s]\s*([a-z0-9]+):([0-9a-fA-F]{32,})(?=\s|$)")
_OTHER_OPTION = re.compile(r"\s(--[a-z-]+|-[a-z])(?:[=\s].*)?$")
# A path or URL without a name before it: `./shared`, `../wheels/a.whl`, `file:///…`, `C:\…`.
_PLACE = re.compile(r"^(?:\.{0,2}[/\\]|\.\.?$|[a-zA-Z][a-zA-Z0-9+.-]*:|[^\s;@<>=!~\[\]()]+[/\\])")

_MOST_FILES = 100
_QUOTABLE = re.compile(r"-{0,2}[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:\[[A-Za-z0-9._, -]*\])?[A-Za-z0-9 ._*<>=!~,-]{0,99}")

_WITHOUT_MEANING = {
    "--require-hashes",
    "--pre",
    "--prefer-binary",
    "--no-binary",
    "--only-binary",
    "--trusted-host",
    "--use-feature",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Position:
    """The position of a line in a requirements file."""

    path: Path
    number: int
    compiled_in: Path | None
    is_public: bool
    """Whether errors may quote the line: the file is in the repository, and the line has no environment variable."""

    def __str__(self) -> str:
        return f"{self.path.name}:{self.number}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RequirementLine:
    """One requirement in a requirements file."""

    origin: str
    """The file name and line number for errors, such as ``requirements.txt:12``."""
    is_public: bool
    """Whether errors may quote the path or URL: the file is in the repository, and the line has no environment variable."""
    directory: Path
    """The directory of the requirements file."""
    compiled_in: Path | None
    """The directory in which the file was compiled: its paths start there. ``None`` if the file does not say it."""
    requirement: Requirement | None
    """The parsed requirement; ``None`` if the line is only a path or URL, which is then in `place`."""
    place: str | None
    """The path or URL, if the line has no name."""
    marker: str | None
    """The marker, if the line has no name. Otherwise, `requirement` contains the marker."""
    editable: bool
    hashes: frozenset[str]
    """The requirement's SHA-256 hashes in lower-case hexadecimal."""

    @property
    def worded(self) -> str:
        """The requirement by name and its position, formatted for errors. A lone word of another file may be anything, even a secret."""
        if self.requirement is None:
            return self.origin
        name, specifier = self.requirement.name, self.requirement.specifier
        if self.is_public:
            return f"`{name}{specifier}` ({self.origin})"
        return (
            f"`{name}` ({self.origin})"
            if specifier or self.hashes or self.requirement.url
            else f"a requirement ({self.origin})"
        )


@dataclass(kw_only=True, slots=True)
class Requirements:
    """The contents of a requirements file and of all files that it includes; filled while parsing."""

    entries: list[RequirementLine] = field(default_factory=list)
    constraints: list[RequirementLine] = field(default_factory=list)
    index_url: str | None = None
    """
    The URL of the main index.

    The URLs in `index_url`, `extra_index_urls` and `find_links` may contain credentials. Do not put them in errors or locks.
    """
    extra_index_urls: list[str] = field(default_factory=list)
    find_links: list[str] = field(default_factory=list)
    """The URLs or absolute paths of ``--find-links``."""
    no_index: bool = False
    inputs: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_text(path: Path) -> str:
    """
    Return the content of the requirements file *path*, decoded as pip does.

    A byte order mark decides the encoding, then a ``# coding:`` comment in the first two lines; the default is UTF-8. Raises
    OSError, UnicodeError, or LookupError for an unknown encoding.
    """
    content = read_file(path)
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    for line in content.split(b"\n", 2)[:2]:
        if found := _CODING.match(line):
            return content.decode(found[1].decode("ascii"))
    return content.decode("utf-8")


def is_hashed(path: Path) -> bool:
    """Return whether the requirements file *path* has hashes, or has no requirements; false if it is unreadable."""
    try:
        text = read_text(path)
    except (OSError, LookupError, UnicodeError):
        return False
    return _SOME_HASH.search(text) is not None or _SOME_REQUIREMENT.search(text) is None


def parse(path: Path) -> Requirements:
    """Parse the requirements file at *path*. Instead of raising errors, list them in ``problems`` of the result."""
    requirements = Requirements()
    root = next((parent for parent in path.parents if (parent / ".git").exists()), path.parent)
    _parse_file(path, requirements, constraint=False, root=root.resolve())
    return requirements


def _parse_file(path: Path, into: Requirements, *, constraint: bool, root: Path) -> None:
    if path in into.inputs:
        return
    into.inputs.append(path)
    if len(into.inputs) > _MOST_FILES:
        into.problems.append(f"`{path}` is included after {_MOST_FILES} other files")
        return
    try:
        text = read_text(path)
    except OSError as error:
        into.problems.append(f"cannot read `{path}`: {error.strerror}")
        return
    except UnicodeDecodeError as error:
        into.problems.append(f"`{path}` {undecodable(error)}")
        return
    except (LookupError, UnicodeError):
        # The message would quote the file.
        into.problems.append(f"`{path}` names an unknown encoding in its first lines")
        return
    if (conflict := conflict_in(text)) is not None:
        into.problems.append(f"`{path}` has the conflict markers of a merge, the first in line {conflict:,}")
        return
    compiled_in = _compiled_in(path, text)
    is_inside = path.resolve().is_relative_to(root)
    for number, written in _logical_lines(text):
        line = _VARIABLE.sub(lambda found: os.environ.get(found[1], found[0]), written)
        is_public = is_inside and line == written
        position = _Position(path=path, number=number, compiled_in=compiled_in, is_public=is_public)
        if "\0" in line:
            into.problems.append(f"{position}: the line has a null character")
        elif line.startswith("-"):
            _option(line, position, into, constraint=constraint, root=root)
        else:
            _requirement(line, position, into, constraint=constraint, editable=False)


def compiler(text: str) -> tuple[str, ...]:
    """Return the command of uv or pip-tools that compiled the requirements file with this *text*, as its first lines name it; else nothing."""
    head = re.match(r"(?:\s*#.*\n)*", text)
    if head is None or (found := _COMPILED.search(head[0])) is None:
        return ()
    try:
        return tuple(shlex.split(found[1]))
    except ValueError:
        return ()


def output_of(words: Sequence[str]) -> str | None:
    """Return the output file that the command *words* of uv or pip-tools names."""
    named = [after for word, after in pairwise(words) if word in {"-o", "--output-file"}]
    named += [word.partition("=")[2] for word in words if word.startswith("--output-file=")]
    return named[0] if named else None


def _compiled_in(path: Path, text: str) -> Path | None:
    """Return the directory in which uv or pip-tools compiled *path*: the command at the start of *text* names its output."""
    output = output_of(compiler(text))
    parts = Path(os.path.normpath(output)).parts if output and not os.path.isabs(output) else ()
    return Path(*path.parts[: -len(parts)]) if parts and path.parts[-len(parts) :] == parts else None


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """
    Yield each logical line of *text* with the number of its first line.

    Continuation lines are joined, and comments and blank lines are skipped.
    """
    started, parts = 0, list[str]()
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        comment = line.lstrip().startswith("#")
        started = started if parts else number
        if comment and parts:
            # A comment between continuation lines does not end the logical line.
            continue
        if line.endswith("\\") and not comment:
            parts.append(line[:-1])
            continue
        joined = _COMMENT.sub("", " ".join([*parts, line])).strip()
        parts = []
        if joined:
            yield started, joined


def _quoted(text: str, position: _Position) -> str:
    """
    Return *text* and a blank for an error about a line, or nothing if it may be a secret.

    Only what looks like a requirement by name in a file of the repository is quoted: no URL, no path, no line of another file.
    """
    return f"`{text}` " if position.is_public and is_quotable(text) else ""


def is_quotable(text: str) -> bool:
    """Return whether *text* looks like a requirement by name or an option, so that an error may quote it: no URL, path or assignment."""
    return _QUOTABLE.fullmatch(text) is not None


def _option(line: str, position: _Position, into: Requirements, *, constraint: bool, root: Path) -> None:
    directory = position.path.parent
    found = _OPTION.match(line)
    name, value = (found[1], found[2].strip().strip("\"'")) if found else (line, "")
    match name:
        case "-r" | "--requirement" | "-c" | "--constraint":
            if "://" in value:
                # The URL may have a password, so it is not quoted.
                into.problems.append(f"{position}: `{name}` has a URL, but lamina reads local files only")
                return
            included = Path(os.path.normpath(directory / value))
            _parse_file(included, into, constraint=constraint or name in {"-c", "--constraint"}, root=root)
        case "-i" | "--index-url" | "--pypi-url":
            into.index_url = _index_url(value, position, into)
        case "--extra-index-url":
            into.extra_index_urls.append(_index_url(value, position, into))
        case "-f" | "--find-links":
            local = str(path_of(value)) if value.startswith("file:") else value
            into.find_links.append(local if "://" in local else os.path.normpath(directory / local))
        case "--no-index":
            into.no_index = True
        case "-e" | "--editable":
            _requirement(value, position, into, constraint=constraint, editable=True)
        case _ if name not in _WITHOUT_MEANING:
            into.problems.append(f"{position}: unsupported option {_quoted(name, position)}".rstrip())
        case _:
            pass


def _index_url(url: str, position: _Position, into: Requirements) -> str:
    try:
        return checked(url)
    except InvalidUrlError:
        into.problems.append(f"{position}: the URL of the index is invalid; {ENCODING_HINT}")
        return ""


def _requirement(line: str, position: _Position, into: Requirements, *, constraint: bool, editable: bool) -> None:
    hashes = frozenset(
        found[2].lower() for found in _HASH_OPTION.finditer(line) if found[1] == "sha256" and len(found[2]) == 64
    )
    text = _HASH_OPTION.sub("", line).strip()
    if other := _OTHER_OPTION.search(text):
        into.problems.append(f"{position}: unsupported option {_quoted(other[1], position)}of a requirement")
        return
    requirement: Requirement | None = None
    place = marker = None
    if _PLACE.match(text):
        place, _, marker = (part.strip() for part in re.split(r"(\s;|;\s)", f"{text} ; ", maxsplit=1))
        marker = marker.rstrip("; ") or None
    else:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            into.problems.append(f"{position}: {_quoted(text, position) or 'the line '}is not a valid requirement")
            return
    entry = RequirementLine(
        origin=str(position),
        is_public=position.is_public,
        directory=position.path.parent,
        compiled_in=position.compiled_in,
        requirement=requirement,
        place=place,
        marker=marker,
        editable=editable,
        hashes=hashes,
    )
    (into.constraints if constraint else into.entries).append(entry)
