"""
Read a lock table by table, each value with the type that it must have, so that an error names the value.

The getters are named as those of ``packaging.pylock``. A value that no reader asks for may be anything.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import rtoml

from lamina.core.errors import LockSyntaxError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from lamina.lock.types import LockFile

_T = TypeVar("_T")
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
    """A value is missing, or is not what the format demands; the text names the value."""


class LockTable:
    """One table of a file, which knows its place there, such as ``package[3].wheels[0]``."""

    __slots__ = ("_key", "_outer", "_position", "_values")

    def __init__(self, values: Any, outer: LockTable | None = None, key: str = "", position: int | None = None) -> None:
        """Read *values*, which are at *key* of the table *outer*, or at a *position* in the list there."""
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
        """The table as it is, for what checks it itself."""
        return self._values

    def place(self, key: str = "", position: int | None = None) -> str:
        """Return where this table, or a value in it, is in the file; only errors ask, and a lock has thousands of values."""
        outer = self._outer.place(self._key, self._position) if self._outer else ""
        return ".".join(filter(None, (outer, key))) + ("" if position is None else f"[{position}]")

    def is_table(self, key: str) -> bool:
        """Return whether the value of *key* is a table, where it may be something else."""
        return isinstance(self._values.get(key), dict)

    def get(self, key: str, expected: type[_T]) -> _T | None:
        """Return the value of *key*, or ``None`` where it is absent."""
        value = self._values.get(key)
        # Exactly the type, because a boolean is an integer to Python.
        if value is not None and type(value) is not expected:
            raise _unexpected(value, expected, self.place(key))
        return value

    def get_required(self, key: str, expected: type[_T]) -> _T:
        """Return the value of *key*."""
        if (value := self.get(key, expected)) is None:
            raise LayoutError(f"`{self.place(key)}` is missing")
        return value

    def get_as(self, key: str, parse: Callable[[str], _T]) -> _T | None:
        """Return what *parse* makes of the string at *key*, or ``None`` where it is absent."""
        text = self.get(key, str)
        return None if text is None else _parsed(text, parse, self, key)

    def get_strings(self, key: str, *, required: bool = False) -> list[str]:
        """Return the strings in the list at *key*, which may be absent unless it is *required*."""
        found = self.get_required(key, list) if required else self.get(key, list) or []
        for position, each in enumerate(found):
            if type(each) is not str:
                raise _unexpected(each, str, self.place(key, position))
        return found

    def get_sequence_as(self, key: str, parse: Callable[[str], _T]) -> list[_T]:
        """Return what *parse* makes of each string in the list at *key*, which may be absent."""
        return [_parsed(each, parse, self, key, position) for position, each in enumerate(self.get_strings(key))]

    def get_table(self, key: str) -> LockTable:
        """Return the table at *key*, an empty one where it is absent."""
        return LockTable(self._values.get(key, {}), self, key)

    def get_tables(self, key: str) -> list[LockTable]:
        """Return the tables in the list at *key*, which may be absent."""
        return [LockTable(each, self, key, position) for position, each in enumerate(self.get(key, list) or ())]

    def get_arrays(self, key: str) -> list[list[LockTable]]:
        """Return the lists of tables in the list at *key*, which may be absent."""
        arrays = []
        for number, each in enumerate(self.get(key, list) or ()):
            if type(each) is not list:
                raise _unexpected(each, list, self.place(key, number))
            arrays.append([LockTable(table, self, f"{key}[{number}]", n) for n, table in enumerate(each)])
        return arrays

    def get_each(self, key: str) -> list[str | LockTable]:
        """Return the string or table at *key*, or all of the list of such there."""
        value = self._values.get(key)
        if not isinstance(value, list):
            return [value if isinstance(value, str) else LockTable(value, self, key)]
        return [each if isinstance(each, str) else LockTable(each, self, key, n) for n, each in enumerate(value)]


def load(path: Path) -> dict[str, Any]:
    """
    Return the TOML document at *path*; `LockSyntaxError` says where it is broken.

    A lock of 47 distributions is 330 kB, for which ``tomllib`` needs 70 ms and rtoml 6 (measured 2026-11).
    Documents are for reading: that of a lock which all members of a workspace share is parsed once.
    """
    try:
        return _parse(path.read_bytes().decode("utf-8"))
    except (ValueError, OSError) as error:
        raise LockSyntaxError(f"`{path}` cannot be read: {error}") from error


@contextmanager
def written_by(locker: str, lock_file: LockFile, command: str) -> Iterator[None]:
    """Turn what is wrong in *lock_file* into `LockSyntaxError`: *locker* wrote it, and *command* writes it anew."""
    try:
        yield
    except ValueError as error:
        raise LockSyntaxError(
            f"`{lock_file.path}` is not a {lock_file.kind} as {locker} writes it: {error}",
            hint=f"lock again: `{command}`",
        ) from error


@lru_cache(maxsize=8)
def _parse(text: str) -> dict[str, Any]:
    document: dict[str, Any] = rtoml.loads(text)
    return document


def worded(row: LockTable) -> str:
    """Return the name and version of a locked package, for errors."""
    return f"`{row.get_required('name', str)}` {row.get('version', str) or ''}".rstrip()


def sha256_of(hashed: str | None) -> str | None:
    """Return the digest of a ``sha256:…``, in lower case; ``None`` for another algorithm."""
    algorithm, _, digest = (hashed or "").partition(":")
    return digest.lower() if algorithm == "sha256" and digest else None


def _parsed(text: str, parse: Callable[[str], _T], table: LockTable, key: str, position: int | None = None) -> _T:
    try:
        return parse(text)
    except ValueError as error:
        raise LayoutError(f"`{table.place(key, position)}` cannot be understood: {error}") from error


def _unexpected(value: object, expected: type, place: str) -> LayoutError:
    found = _KINDS.get(type(value), "a date or time")
    return LayoutError(f"{f'`{place}`' if place else 'the file'}: expected {_KINDS[expected]}, found {found}")
