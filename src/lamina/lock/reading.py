"""
Read the tables of a lock file and check the type of each value, so that errors can name the invalid value.

Values that no reader uses are not checked.
"""

from __future__ import annotations

import os
import re
import shlex
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from lamina.core import toml
from lamina.core.errors import LockSyntaxError
from lamina.core.files import read_file
from lamina.core.text import decoded, undecodable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from lamina.lock.types import LockFile

_T = TypeVar("_T")
_CONFLICT = re.compile(r"^(?:<{7}|>{7})(?: |$)", re.MULTILINE)
_KINDS: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a float",
    bool: "a boolean",
    list: "a list",
    dict: "a table",
    type(None): "null",
}


class LayoutError(ValueError):
    """Raised if a value is missing or has a wrong type; the message names the value's position in the file."""


class LockTable:
    """A table of a lock file that has its position in the file, such as ``package[3].wheels[0]``."""

    __slots__ = ("_key", "_outer", "_position", "_values")

    def __init__(self, values: Any, outer: LockTable | None = None, key: str = "", position: int | None = None) -> None:
        """
        Wrap *values*, found at *key* of the table *outer*, or at *position* in the list at that key.

        Raises `LayoutError` if *values* is not a table.
        """
        self._outer = outer
        self._key = key
        self._position = position
        if type(values) is not dict:
            raise _unexpected(values, dict, outer.place(key, position) if outer else "")
        self._values: dict[str, Any] = values

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    @property
    def values(self) -> Mapping[str, Any]:
        """The table's unchecked contents."""
        return self._values

    def place(self, key: str = "", position: int | None = None) -> str:
        """
        Return the position in the file of this table, or of the value at *key* and *position* in this table.

        Positions are computed only for errors, because a lock has thousands of values.
        """
        outer = self._outer.place(self._key, self._position) if self._outer else ""
        return ".".join(filter(None, (outer, key))) + ("" if position is None else f"[{position}]")

    def is_table(self, key: str) -> bool:
        """Return whether the value of *key* is a table."""
        return isinstance(self._values.get(key), dict)

    def get(self, key: str, expected: type[_T]) -> _T | None:
        """Return the value of *key*, or ``None`` if absent. Raises `LayoutError` if its type is not *expected*."""
        value = self._values.get(key)
        # `isinstance` would accept a boolean as an integer.
        if value is not None and type(value) is not expected:
            raise _unexpected(value, expected, self.place(key))
        return value

    def get_required(self, key: str, expected: type[_T]) -> _T:
        """Return the value of *key*. Raises `LayoutError` if it is absent or its type is not *expected*."""
        if (value := self.get(key, expected)) is None:
            raise LayoutError(f"`{self.place(key)}` is missing")
        return value

    def get_as(self, key: str, parse: Callable[[str], _T]) -> _T | None:
        """
        Return the string at *key*, converted with *parse*, or ``None`` if absent.

        Raises `LayoutError` if the value is not a string, or if *parse* raises `ValueError`.
        """
        text = self.get(key, str)
        return None if text is None else _parsed(text, parse, self, key)

    def get_strings(self, key: str, *, required: bool = False) -> list[str]:
        """Return the list of strings at *key*. An absent list is empty, or raises `LayoutError` if *required*."""
        found = self.get_required(key, list) if required else self.get(key, list) or []
        for position, each in enumerate(found):
            if type(each) is not str:
                raise _unexpected(each, str, self.place(key, position))
        return found

    def get_sequence_as(self, key: str, parse: Callable[[str], _T]) -> list[_T]:
        """Return the list of strings at *key*, each converted with *parse* as in `get_as`; empty if the list is absent."""
        return [_parsed(each, parse, self, key, position) for position, each in enumerate(self.get_strings(key))]

    def get_table(self, key: str) -> LockTable:
        """Return the table at *key*, or an empty table if absent."""
        return LockTable(self._values.get(key, {}), self, key)

    def get_tables(self, key: str) -> list[LockTable]:
        """Return the list of tables at *key*, or an empty list if absent."""
        return [LockTable(each, self, key, position) for position, each in enumerate(self.get(key, list) or ())]

    def get_arrays(self, key: str) -> list[list[LockTable]]:
        """Return the list of lists of tables at *key*, or an empty list if absent."""
        arrays = []
        for number, each in enumerate(self.get(key, list) or ()):
            if type(each) is not list:
                raise _unexpected(each, list, self.place(key, number))
            arrays.append([LockTable(table, self, f"{key}[{number}]", n) for n, table in enumerate(each)])
        return arrays

    def get_each(self, key: str) -> list[str | LockTable]:
        """Return the list of strings and tables at *key*. A single string or table is returned in a list."""
        value = self._values.get(key)
        if not isinstance(value, list):
            return [value if isinstance(value, str) else LockTable(value, self, key)]
        return [each if isinstance(each, str) else LockTable(each, self, key, n) for n, each in enumerate(value)]


@lru_cache(maxsize=8)
def _parse(text: str) -> dict[str, Any]:
    return toml.parse(text)


def load(path: Path) -> dict[str, Any]:
    """
    Return the TOML document at *path*. Raises `LockSyntaxError` if the file is unreadable or not TOML.

    rtoml parses a lock of 47 distributions (330 kB) in 6 ms, ``tomllib`` in 70 ms (measured 2026-11).
    Do not modify the document: it is cached, because all members of a workspace share one lock.
    """
    try:
        return _parse(decoded(read_file(path)))
    except UnicodeDecodeError as error:
        raise LockSyntaxError(f"`{path}` {undecodable(error)}") from error
    except (ValueError, OSError) as error:
        raise LockSyntaxError(f"cannot read `{path}`: {error}") from error


def load_lock(lock_file: LockFile, command: str, *, parse: Callable[[str], Any] = _parse) -> LockTable:
    """
    Return the content of *lock_file*, which *parse* parses and *command* regenerates.

    Raises `LockSyntaxError` if the file is empty, unreadable or invalid, or has conflict markers, with what to do then.
    """
    path = lock_file.path
    shown = shlex.quote(min(os.path.relpath(path), str(path), key=len))
    remove = "rm -r" if path.is_dir() else "rm"
    again = f"remove it and regenerate the lock: run `{remove} {shown}` and `{command}`"
    try:
        text = decoded(read_file(path))
    except UnicodeDecodeError as error:
        raise LockSyntaxError(f"`{path}` {undecodable(error)}", hint=again) from error
    except PermissionError as error:
        hint = f"look at its owner and permissions: `ls -ld {shown}`"
        raise LockSyntaxError(f"cannot read `{path}`: {error.strerror}", hint=hint) from error
    except OSError as error:
        raise LockSyntaxError(f"cannot read `{path}`: {error.strerror}", hint=again) from error
    if not text.strip():
        raise LockSyntaxError(f"`{path}` is empty", hint=again)
    if (line := conflict_in(text)) is not None:
        raise LockSyntaxError(
            f"`{path}` has the conflict markers of a merge, the first in line {line:,}",
            hint=f"resolve the conflict with git, then regenerate the lock: run `{command}`",
        )
    try:
        return LockTable(parse(text))
    except RecursionError:
        raise LockSyntaxError(f"`{path}` is nested too deeply", hint=again) from None
    except LayoutError:
        raise
    except ValueError as error:
        raise LockSyntaxError(f"cannot read `{path}`: {error}", hint=again) from error


def conflict_in(text: str) -> int | None:
    """Return the number of the first line of *text* that is a conflict marker of git, or ``None`` if there is none."""
    found = _CONFLICT.search(text)
    return None if found is None else text.count("\n", 0, found.start()) + 1


@contextmanager
def written_by(locker: str, lock_file: LockFile, command: str) -> Iterator[None]:
    """
    Convert a `ValueError` that is raised in the ``with`` block to a `LockSyntaxError` about *lock_file*.

    *locker* is the tool that writes such files, and *command* regenerates *lock_file*.
    """
    try:
        yield
    except ValueError as error:
        raise LockSyntaxError(
            f"`{lock_file.path}` does not follow {locker}'s lock format: {error}",
            hint=f"regenerate the lock: run `{command}`",
        ) from error


def worded(row: LockTable) -> str:
    """Return the name and version of a locked package, formatted for errors."""
    return f"`{row.get_required('name', str)}` {row.get('version', str) or ''}".rstrip()


def sha256_of(hashed: str | None) -> str | None:
    """Return the digest in a ``sha256:…`` string in lower case; ``None`` for ``None`` or another algorithm."""
    algorithm, _, digest = (hashed or "").partition(":")
    return digest.lower() if algorithm == "sha256" and digest else None


def _parsed(text: str, parse: Callable[[str], _T], table: LockTable, key: str, position: int | None = None) -> _T:
    try:
        return parse(text)
    except ValueError as error:
        raise LayoutError(f"`{table.place(key, position)}` is invalid: {error}") from error


def _unexpected(value: object, expected: type, place: str) -> LayoutError:
    found = _KINDS.get(type(value), "a date or time")
    return LayoutError(f"{f'`{place}`' if place else 'the file'}: expected {_KINDS[expected]}, found {found}")
