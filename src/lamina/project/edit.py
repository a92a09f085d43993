"""
Change the configuration file of a project, and keep its comments, order and formatting.

`ConfigEditor` is the only one that changes existing TOML. The result is compared with the values that were
wanted, so that a file in which tomlkit makes a mistake is left alone.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.core import toml
from lamina.core.errors import ConfigError
from lamina.core.faults import exhausted
from lamina.core.files import read_file, replace_file
from lamina.core.frozen import frozen
from lamina.core.text import decoded
from lamina.project import file
from lamina.project.toml_lines import TomlLines

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

_LONGEST_LINE = 100
"""The most characters of a list in one line."""
_TOKEN = re.compile(
    r""""{3}(?:\\.|[^\\])*?"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|(?P<comment>\#[^\r\n]*)""", re.DOTALL
)
"""A string, or a comment."""


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
        """The lines of a unified diff, which also has lines of which only the end changes."""
        from difflib import unified_diff

        old, new = (decoded(content).removesuffix("\n").split("\n") for content in (self.before, self.after))
        found = unified_diff(old, new, fromfile=self.path.name, tofile=self.path.name, lineterm="")
        return tuple(line.removesuffix("\r") for line in found)

    @property
    def lost_comments(self) -> tuple[str, ...]:
        """The comments that go with what the change removes, in the order of the file."""
        before, after = (Counter(_comments(decoded(content))) for content in (self.before, self.after))
        return tuple(before - after)

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
        self._lines = TomlLines(self._text)
        self._new: list[tuple[tuple[str, ...], str, object]] = []
        self._added: list[tuple[tuple[str, ...], str, Mapping[str, object]]] = []
        self._removed: list[tuple[tuple[str, ...], str]] = []

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
        """Add the table *name* with *values* to the table at *place*, which is relative to `table` and need not exist. `table` does not show it."""
        table: Any = self.table
        for each in place:
            table = table.get(each, {})
        if _is_inline(table):
            self.set(place, name, values)
        else:
            self._added.append(((*self._prefix, *place), name, values))

    def remove(self, place: Sequence[str], name: str) -> None:
        """Remove the table *name* from the table at *place*, which is relative to `table`. `table` still shows it if it has a header."""
        full = (*self._prefix, *place)
        if self._lines.has((*full, name)):
            self._removed.append((full, name))
        else:
            self.set(place, name, None)

    @staticmethod
    def _set_inline(table: MutableMapping[str, Any], name: str, key: str, value: object) -> None:
        """Set *key* of the inline table *name*, whose short form is a string: the value of its key ``handler``."""
        old = table[name]
        values: dict[str, object] = old.unwrap() if _is_inline(old) else {"handler": old.unwrap()}
        changed = {each: values[each] for each in values if each != key} | ({} if value is None else {key: value})
        if changed != values:
            # A function with nothing but its handler is as short as it was.
            new = _item(changed["handler"] if changed.keys() == {"handler"} else changed)
            new.trivia.comment_ws, new.trivia.comment = old.trivia.comment_ws, old.trivia.comment
            table[name] = new

    def change(self) -> ConfigurationChange | None:
        """
        Return the change of the file, or ``None`` if there is none.

        Raises `ConfigError` if the file is written in a way that cannot be changed.
        """
        from tomlkit import dumps

        wanted = self._document.unwrap()
        lines = TomlLines(dumps(self._document))
        for place, name in self._removed:
            del _table(wanted, place)[name]
            lines.remove_table((*place, name))
            if not _table(wanted, place) and not lines.has(place):
                del _table(wanted, place[:-1])[place[-1]]
        for place, name, values in self._added:
            is_dotted = bool(_table(wanted, place)) and not lines.has(place)
            _table(wanted, place)[name] = {key: _item(value).unwrap() for key, value in values.items()}
            if not is_dotted:
                lines.add_table((*place, name), {key: _item(value).as_string() for key, value in values.items()})
            elif not values:
                lines.insert(place, name, "{}")
            else:
                for key, value in values.items():
                    lines.insert((*place, name), key, _item(value).as_string())
        for place, key, value in self._new:
            _table(wanted, place)[key] = _item(value).unwrap()
            lines.insert(place, key, _item(value).as_string())
        if wanted == toml.parse(self._text):
            return None
        if not _is_document(lines.text, wanted):
            raise _unchangeable(self._path)
        mark = codecs.BOM_UTF8 if self._before.startswith(codecs.BOM_UTF8) else b""
        return ConfigurationChange(path=self._path, before=self._before, after=mark + lines.text.encode())


def _table(values: dict[str, Any], place: Sequence[str]) -> dict[str, Any]:
    """Return the table at *place* in *values*, which gets it if it has none."""
    for name in place:
        values = values.setdefault(name, {})
    return values


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


def _is_document(text: str, wanted: dict[str, Any]) -> bool:
    try:
        return toml.parse(text) == wanted
    except ValueError:
        return False


def _comments(text: str) -> list[str]:
    return [found["comment"].rstrip() for found in _TOKEN.finditer(text) if found["comment"] is not None]
