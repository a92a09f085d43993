"""
Read one TOML table strictly: every wrong type, missing value and unknown key is collected, none is raised.

What a reader asks for is what it knows, so the unknown keys are those that nobody asked for.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# In this order, because a boolean is an integer to Python and not to TOML.
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a float"),
    (str, "a string"),
    (list, "a list"),
    (dict, "a table"),
)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean `x`?)`` for the known name that is closest to *name*, or nothing where none is close."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""


def outside(entry: str) -> str | None:
    """Return why the path or glob *entry* is none inside the project, or ``None``."""
    if "\\" in entry:
        return f"`{entry}` has a backslash; paths are written with `/` on every system"
    if PurePosixPath(entry).is_absolute() or Path(entry).is_absolute() or ".." in PurePosixPath(entry).parts:
        return f"`{entry}` leaves the project"
    return None


class Table:
    """
    One table of a TOML file, and the list of mistakes that it shares with the tables inside it.

    A getter returns ``None`` where the key is absent, or is wrong and has been complained about.
    """

    def __init__(self, values: Mapping[str, Any], *, key: str, mistakes: list[tuple[str, str]]) -> None:
        """Read *values*, which stand at the dotted *key* (empty for the top level); append to *mistakes*."""
        self._values = values
        self._key = key
        self._mistakes = mistakes
        self._asked: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def key(self, name: str) -> str:
        """Return the full dotted key of *name*, as an error shows it."""
        return f"{self._key}.{name}" if self._key else name

    def complain(self, name: str, fact: str) -> None:
        """Record that what stands at *name* is a mistake, because of *fact*."""
        self._mistakes.append((self.key(name), fact))

    def string(self, name: str) -> str | None:
        """Return the string at *name*."""
        value: str | None = self._get(name, "a string")
        return value

    def integer(self, name: str) -> int | None:
        """Return the integer at *name*."""
        value: int | None = self._get(name, "an integer")
        return value

    def strings(self, name: str) -> tuple[str, ...] | None:
        """Return the list of distinct, non-empty strings at *name*."""
        value = self._ask(name)
        if value is None:
            return None
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            if "" in value:
                self.complain(name, "an empty string stands in the list")
            elif twice := sorted({item for item in value if value.count(item) > 1}):
                self.complain(name, f"given twice: {', '.join(f'`{item}`' for item in twice)}")
            else:
                return tuple(value)
        elif isinstance(value, list):
            wrong = next(item for item in value if not isinstance(item, str))
            self.complain(name, f"expected a list of strings, found {_kind(wrong)} in it")
        elif isinstance(value, str):
            self.complain(name, f"expected a list of strings, found a string: write `[{_quoted(value)}]`")
        else:
            self.complain(name, f"expected a list of strings, found {_kind(value)}")
        return None

    def table(self, name: str) -> Table | None:
        """Return the table at *name*."""
        value = self._get(name, "a table")
        return None if value is None else Table(value, key=self.key(name), mistakes=self._mistakes)

    def string_or_table(self, name: str) -> str | Table | None:
        """Return what stands at *name*, where a string is the short form of a table."""
        value: Any = self._get(name, "a string", "a table")
        return Table(value, key=self.key(name), mistakes=self._mistakes) if isinstance(value, dict) else value

    def done(self) -> None:
        """Complain about each key that was never asked for."""
        for name in self._values:
            if name not in self._asked:
                self.complain(name, f"unknown key{did_you_mean(name, self._asked)}")

    def _ask(self, name: str) -> Any:
        self._asked.append(name)
        return self._values.get(name)

    def _get(self, name: str, *kinds: str) -> Any:
        """Return what stands at *name*; complain if it is none of *kinds*."""
        value = self._ask(name)
        if value is None or _kind(value) in kinds:
            return value
        self.complain(name, f"expected {' or '.join(kinds)}, found {_kind(value)}")
        return None


def _kind(value: object) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "a date or time")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
