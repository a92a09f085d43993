"""
Change the configuration file of a project, and keep its comments, order and formatting.

`ConfigEditor` is the only one that changes existing TOML. The result is compared with the values that were
wanted, so that a file in which tomlkit makes a mistake is left alone.
"""

from __future__ import annotations

import codecs
import os
import stat
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.core import toml
from lamina.core.errors import ConfigError
from lamina.core.faults import exhausted
from lamina.core.files import read_file, replace_file
from lamina.core.frozen import frozen
from lamina.core.text import decoded
from lamina.project import file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping, Sequence

_LONGEST_LINE = 100
"""The most characters of a list in one line."""


@frozen
class ConfigurationChange:
    """A change of a configuration file that is not written yet."""

    path: Path
    before: bytes
    after: bytes

    @property
    def values(self) -> dict[str, Any]:
        """The configuration after the change: the content of ``[tool.lamina]``, or of the whole ``lamina.toml``."""
        document = toml.parse(decoded(self.after))
        return document if file.is_standalone(self.path) else document["tool"]["lamina"]

    @property
    def diff(self) -> tuple[str, ...]:
        """The lines of a unified diff."""
        from difflib import unified_diff

        old, new = (decoded(content).splitlines() for content in (self.before, self.after))
        return tuple(unified_diff(old, new, fromfile=self.path.name, tofile=self.path.name, lineterm=""))

    def write(self) -> None:
        """
        Write the file atomically, with its mode.

        Raises `ConfigError` if it was changed since it was read, or cannot be written.
        """
        if read_file(self.path) != self.before:
            raise ConfigError(f"`{self.path}` was changed meanwhile", hint="run the command again")
        mode = stat.S_IMODE(self.path.stat().st_mode)
        try:
            replace_file(self.path, self.after)
            self.path.chmod(mode)
        except OSError as error:
            raise exhausted(error) or ConfigError(f"failed to write `{self.path}`: {error.strerror}") from error


class ConfigEditor:
    """The configuration file of a project, to change."""

    def __init__(self, project: Path) -> None:
        """
        Read the file.

        Raises the errors of `lamina.project.file.read`, and `ConfigError` if the file is a symbolic link out of *project*.
        """
        from tomlkit import parse
        from tomlkit.exceptions import ParseError

        path = file.read(project).path
        self._path = Path(os.path.realpath(path))
        if not self._path.is_relative_to(os.path.realpath(project)):
            raise ConfigError(
                f"`{path}` is a symbolic link out of `{project}`", hint="change the file that it leads to by hand"
            )
        self._before = read_file(path)
        self._text = decoded(self._before)
        try:
            self._document = parse(self._text)
        except ParseError as error:
            raise _unchangeable(self._path) from error
        root: Any = self._document
        self._prefix = () if file.is_standalone(path) else ("tool", "lamina")
        self.table: MutableMapping[str, Any] = root if file.is_standalone(path) else root["tool"]["lamina"]
        """The content of ``[tool.lamina]``, or of the whole ``lamina.toml``, to change."""
        self._new: list[tuple[tuple[str, ...], str, object]] = []

    def set(self, place: Sequence[str], key: str, value: object) -> None:
        """Set *key* of the table at *place*, which is relative to `table`, to *value*; remove it if that is ``None``."""
        table = self.table
        for name in place[:-1]:
            table = table[name]
        if place and (not isinstance(table[place[-1]], dict) or _is_inline(table[place[-1]])):
            self._set_inline(table, place[-1], key, value)
            return
        table = table[place[-1]] if place else table
        if value is None:
            table.pop(key, None)
        elif key not in table:
            # tomlkit would put it after the comment of the following table.
            self._new.append(((*self._prefix, *place), key, value))
        elif table[key] != value:
            table[key] = _item(value)

    def add(self, place: Sequence[str], name: str, values: Mapping[str, object]) -> None:
        """Add the table *name* with *values* to the table at *place*, which is relative to `table`. Raises `ConfigError` if it cannot."""
        from tomlkit import table as new_table

        table, new = self.table, new_table()
        try:
            for each in place:
                table = table[each]
            table[name] = new
            for key, value in values.items():
                table[name][key] = _item(value)
        except ValueError as error:
            raise _unchangeable(self._path) from error

    @staticmethod
    def _set_inline(table: MutableMapping[str, Any], name: str, key: str, value: object) -> None:
        """Set *key* of the inline table *name*, whose short form is a string: the value of its key ``handler``."""
        old = table[name]
        values: dict[str, object] = old.unwrap() if _is_inline(old) else {"handler": old.unwrap()}
        changed = {each: values[each] for each in values if each != key} | ({} if value is None else {key: value})
        if changed != values:
            new = _item(changed)
            new.trivia.comment_ws, new.trivia.comment = old.trivia.comment_ws, old.trivia.comment
            table[name] = new

    def change(self) -> ConfigurationChange | None:
        """
        Return the change of the file, or ``None`` if there is none.

        Raises `ConfigError` if the file is written in a way that cannot be changed.
        """
        from tomlkit import dumps

        wanted = self._document.unwrap()
        lines = dumps(self._document).replace("\r\n", "\n").rstrip().split("\n")
        for place, key, value in self._new:
            table = wanted
            for name in place:
                table = table[name]
            table[key] = value
            _insert(lines, place, key, _item(value).as_string())
        if wanted == toml.parse(self._text):
            return None
        text = "\n".join(_spaced(lines, self._text.replace("\r\n", "\n").split("\n"))) + "\n"
        if not _is_document(text, wanted):
            raise _unchangeable(self._path)
        mark = codecs.BOM_UTF8 if self._before.startswith(codecs.BOM_UTF8) else b""
        after = text.replace("\n", "\r\n") if "\r\n" in self._text else text
        return ConfigurationChange(path=self._path, before=self._before, after=mark + after.encode())


def _unchangeable(path: Path) -> ConfigError:
    return ConfigError(
        f"`{path}` is written in a way that lamina cannot change",
        hint="write each table of lamina's configuration once, below its own header, and run the command again",
    )


def _item(value: object) -> Any:
    """Return *value* for tomlkit: in one line, unless it is a long list."""
    from tomlkit import array
    from tomlkit import value as parse

    text = toml.value(value)
    if isinstance(value, list | tuple) and len(text) > _LONGEST_LINE:
        found = array()
        found.extend(value)
        return found.multiline(multiline=True)
    return parse(text)


def _is_inline(table: object) -> bool:
    from tomlkit.items import InlineTable

    return isinstance(table, InlineTable)


def _insert(lines: list[str], place: Sequence[str], key: str, value: str) -> None:
    """
    Insert *key* with *value* after the last key of the table at *place* in *lines*, before comments of what follows.

    If the table has no header, the key is dotted and after the keys of the closest table around it that has one.
    """
    headers = {tuple(found): number + 1 for number, line in enumerate(lines) if (found := _place(line)) is not None}
    above = next((each for each in (tuple(place[:end]) for end in range(len(place), 0, -1)) if each in headers), ())
    start = headers.get(above, 0)
    new = f"{'.'.join(map(toml.key, (*place[len(above) :], key)))} = {value}"
    end = next((number for number in range(start, len(lines)) if _place(lines[number]) is not None), len(lines))
    while end > start and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    lines[end:end] = new.split("\n")


def _place(line: str) -> list[str] | None:
    """Return the names of the table of which *line* is the header, or ``None`` if it is none."""
    if not line.startswith("["):
        return None
    try:
        table: Any = toml.parse(line)
    except ValueError:
        return None
    names = []
    while isinstance(table, dict) and table:
        ((name, table),) = table.items()
        names.append(name)
    return names


def _spaced(lines: Sequence[str], before: Sequence[str]) -> Iterator[str]:
    """Return *lines* with one empty line before each header, unless the lines *before* the change were otherwise."""
    pairs = set(pairwise(before))
    last = ""
    for line in lines:
        if (last, line) not in pairs:
            if last and _place(line) is not None:
                yield ""
            elif not line and not last:
                continue
        yield line
        last = line


def _is_document(text: str, wanted: dict[str, Any]) -> bool:
    try:
        return toml.parse(text) == wanted
    except ValueError:
        return False
