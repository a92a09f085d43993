"""
Read a TOML table strictly. Wrong types, invalid values and unknown keys are collected as mistakes instead of raised.

A key is unknown if no getter has read it when `Table.done` is called.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# bool comes first, because it is a subclass of int in Python.
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a float"),
    (str, "a string"),
    (list, "a list"),
    (dict, "a table"),
)


_LONGEST_STRING = 4096
"""The most characters of a string: as many as Linux and macOS accept in a path, and Lambda in its longest setting, the environment."""
_LONGEST_NAME = 255
_LONGEST_PART = 255
"""The most bytes of one directory or file in a path, on all common file systems."""
_MOST_PARTS = 64


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean `x`?)`` for the name in *known* that is most similar to *name*, or an empty string."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""


def _in_another_table(name: str) -> str:
    """Return a question that names each table of the configuration with the key *name*, or an empty string if there is none."""
    from lamina.core.toml import read_data

    tables = [
        row["path"] for row in read_data("configuration.toml")["table"] if name in (key["name"] for key in row["key"])
    ]
    paths = [f"`{table.replace('*', '<name>')}.{name}`" if table else f"`{name}` at the top level" for table in tables]
    return f" (did you mean {' or '.join(paths)}?)" if paths else ""


def unusable(path: str) -> str | None:
    """Return why no file can have the path or glob *path*: it is too long or too deep, or has a null character; else ``None``."""
    parts = path.split("/")
    if len(parts) > _MOST_PARTS or any(len(part.encode("utf-8", "surrogatepass")) > _LONGEST_PART for part in parts):
        return f"the path is longer than {_LONGEST_PART} bytes between two slashes, or has more than {_MOST_PARTS} directories"
    return "the path has a null character" if "\0" in path else None


def outside(entry: str) -> str | None:
    """Return why the path or glob *entry* is invalid: a backslash, or a path outside the project. Return ``None`` if valid."""
    if "\\" in entry:
        return f"`{entry}` contains a backslash; use `/` on every system"
    if (fact := unusable(entry)) is not None:
        return fact
    if PurePosixPath(entry).is_absolute() or Path(entry).is_absolute() or ".." in PurePosixPath(entry).parts:
        return f"`{entry}` is outside the project"
    return None


class Table:
    """
    One table of a TOML file, with a list of mistakes that it shares with its nested tables.

    A getter returns ``None`` if the key is missing. If the value is invalid, the getter records a mistake and returns ``None``.
    """

    def __init__(self, values: Mapping[str, Any], *, key: str, mistakes: list[tuple[str, str]]) -> None:
        """Read *values*, the table at the dotted *key* (empty for the top level), and append mistakes to *mistakes*."""
        self._values = {name: value for name, value in values.items() if len(name) <= _LONGEST_NAME}
        self._key = key
        self._mistakes = mistakes
        self._asked: list[str] = []
        if len(self._values) < len(values):
            self.complain("…", f"a key is longer than {_LONGEST_NAME} characters")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def key(self, name: str) -> str:
        """Return the full dotted key of *name*, for error messages."""
        return f"{self._key}.{name}" if self._key else name

    def complain(self, name: str, fact: str) -> None:
        """Record the message *fact* as a mistake at the key *name*."""
        self._mistakes.append((self.key(name), fact))

    def value(self, name: str) -> object:
        """Return the unchecked value at *name*, of any type; ``None`` if the key is missing."""
        return self._ask(name)

    def string(self, name: str) -> str | None:
        """Return the string at *name*."""
        value: str | None = self._get(name, "a string")
        if value is not None and len(value) > _LONGEST_STRING:
            self.complain(name, f"the string is longer than {_LONGEST_STRING:,} characters")
            return None
        return value

    def reason(self) -> str | None:
        """Return the required string at ``reason``, which must say something: the `…` of an example is a mistake."""
        value = self.string("reason")
        if not value:
            self.complain("reason", "required, but missing or empty")
        elif not value.strip(" .…"):
            self.complain("reason", f"`{value}` is a placeholder; write why")
            return None
        return value

    def integer(self, name: str) -> int | None:
        """Return the integer at *name*."""
        value: int | None = self._get(name, "an integer")
        return value

    def integer_or_string(self, name: str) -> int | str | None:
        """Return the integer or the string at *name*, for keys where a string can have a unit."""
        value = self._get(name, "an integer", "a string")
        return self.string(name) if isinstance(value, str) else value

    def one_of(self, name: str, values: Sequence[str]) -> str | None:
        """Return the string at *name*, which is one of *values*."""
        value = self.string(name)
        if value is None or value in values:
            return value
        known = ", ".join(f"`{each}`" for each in values)
        self.complain(name, f"unknown value `{value}`{did_you_mean(value, values)}; expected one of {known}")
        return None

    def boolean(self, name: str) -> bool | None:
        """Return the boolean at *name*."""
        value: bool | None = self._get(name, "a boolean")
        return value

    def strings(self, name: str) -> tuple[str, ...] | None:
        """Return the list of strings at *name*. Empty and repeated strings are mistakes."""
        value = self._ask(name)
        if value is None:
            return None
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            if "" in value:
                self.complain(name, "the list contains an empty string")
            elif any(len(item) > _LONGEST_STRING for item in value):
                self.complain(name, f"the list contains a string with more than {_LONGEST_STRING:,} characters")
            elif twice := sorted({item for item in value if value.count(item) > 1}):
                self.complain(name, f"the list contains duplicates: {', '.join(f'`{item}`' for item in twice)}")
            else:
                return tuple(value)
        elif isinstance(value, list):
            wrong = next(item for item in value if not isinstance(item, str))
            self.complain(name, f"expected a list of strings, found {kind_of(wrong)} in the list")
        elif isinstance(value, str):
            self.complain(name, f"expected a list of strings, found a string: write `[{_quoted(value)}]`")
        else:
            self.complain(name, f"expected a list of strings, found {kind_of(value)}")
        return None

    def table(self, name: str) -> Table | None:
        """Return the table at *name*."""
        value = self._get(name, "a table")
        return None if value is None else Table(value, key=self.key(name), mistakes=self._mistakes)

    def tables(self, name: str) -> tuple[Table, ...] | None:
        """Return the list of tables at *name*, each with the key ``name[number]``, from 0."""
        value = self._get(name, "a list")
        if value is None:
            return None
        if (wrong := next((item for item in value if not isinstance(item, dict)), None)) is not None:
            self.complain(name, f"expected a list of tables, found {kind_of(wrong)} in the list")
            return None
        return tuple(
            Table(item, key=self.key(f"{name}[{number}]"), mistakes=self._mistakes) for number, item in enumerate(value)
        )

    def strings_or_tables(self, name: str) -> tuple[str | Table, ...] | None:
        """Return the list of strings and tables at *name*, each table with the key ``name[number]``, from 0."""
        value = self._values.get(name)
        if not isinstance(value, list) or all(isinstance(item, str) for item in value):
            return self.strings(name)
        self._ask(name)
        wrong = [item for item in value if not isinstance(item, str | dict)]
        if wrong:
            self.complain(name, f"expected a list of strings and tables, found {kind_of(wrong[0])} in the list")
            return None
        return tuple(
            Table(item, key=self.key(f"{name}[{number}]"), mistakes=self._mistakes) if isinstance(item, dict) else item
            for number, item in enumerate(value)
        )

    def date(self, name: str) -> dt.date | None:
        """Return the date at *name*, without a time."""
        import datetime as dt

        value = self._ask(name)
        if value is None or type(value) is dt.date:
            return value
        found = "a time" if isinstance(value, dt.datetime | dt.time) else kind_of(value)
        self.complain(name, f"expected a date, such as `2027-01-31` without quotes, found {found}")
        return None

    def boolean_or_strings(self, name: str) -> bool | tuple[str, ...] | None:
        """Return the boolean or the list of strings at *name*."""
        if isinstance(self._values.get(name), list):
            return self.strings(name)
        value: bool | None = self._get(name, "a boolean", "a list")
        return value

    def string_or_table(self, name: str) -> str | Table | None:
        """Return the string or the table at *name*, for keys where a string is the short form of a table."""
        value: Any = self._get(name, "a string", "a table")
        return Table(value, key=self.key(name), mistakes=self._mistakes) if isinstance(value, dict) else value

    def done(self) -> None:
        """Record a mistake for each key that no getter has read."""
        for name in self._values:
            if name not in self._asked:
                self.complain(name, f"unknown key{_in_another_table(name) or did_you_mean(name, self._asked)}")

    def _ask(self, name: str) -> Any:
        self._asked.append(name)
        return self._values.get(name)

    def _get(self, name: str, *kinds: str) -> Any:
        """Return the value at *name*. Record a mistake and return ``None`` if its type is not in *kinds*."""
        value = self._ask(name)
        if value is None or kind_of(value) in kinds:
            return value
        self.complain(name, f"expected {' or '.join(kinds)}, found {kind_of(value)}")
        return None


def kind_of(value: object) -> str:
    """Return the type of *value* in TOML's words, such as ``a string``."""
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "a date or time")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
