"""Evaluate functions of Terraform's language. Pure, and bounded: no result has more than `MOST` elements."""

from __future__ import annotations

import json
import posixpath
import re
from itertools import chain, islice, product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MOST = 10_000
"""The largest number of elements of an evaluated collection."""
MOST_CHARACTERS = 1_000_000
"""The largest length of an evaluated string."""
_VERB = re.compile(r"%(?:%|0(\d)d|[sdvq])")


def call(name: str, arguments: list[Any]) -> Any:
    """
    Return the value of the function *name*.

    Returns `NotImplemented` for another function, and a ValueError if the arguments do not fit. No argument is unknown itself, but
    elements of collections can be.
    """
    function = _FUNCTIONS.get(name)
    if function is None:
        return NotImplemented
    try:
        return function(*arguments)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError):
        return ValueError("the arguments do not fit, or they are not known")


def _bounded(values: Iterable[Any]) -> list[Any]:
    found = list(islice(values, MOST + 1))
    if len(found) > MOST:
        raise ValueError(f"more than {MOST:,} elements")
    return found


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise TypeError("not a string")
    return str(value)


def _scalars(values: Any) -> list[Any]:
    """Return *values*, whose elements can be compared in constant time."""
    if not isinstance(values, list) or not all(isinstance(each, str | int | float | None) for each in values):
        raise TypeError("not a list of strings or numbers")
    return values


def _distinct(values: Any) -> list[Any]:
    return list(dict.fromkeys(_scalars(values)))


def _set(values: Any) -> list[str]:
    return sorted(map(_string, _distinct(values)))


def _list(values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise TypeError("not a list")
    return values


def _map(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not a map")
    return value


def _merge(*maps: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for each in maps:
        merged |= {} if each is None else _map(each)
    return merged


def _lookup(mapping: Any, key: Any, *default: Any) -> Any:
    return _map(mapping)[_string(key)] if not default else _map(mapping).get(_string(key), default[0])


def _format(template: str, *values: Any) -> str:
    left = iter(values)

    def verb(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        value = next(left, None)
        if match[0].endswith("d"):
            if not isinstance(value, int):
                raise TypeError("not a number")
            return format(value, f"0{match[1]}d" if match[1] else "d")
        return json.dumps(_string(value)) if match[0] == "%q" else _string(value)

    if "%" in _VERB.sub("", template):
        raise ValueError("another verb")
    return _VERB.sub(verb, template)


def _join(separator: str, *lists: Any) -> str:
    parts = [_string(each) for each in chain.from_iterable(map(_list, lists))]
    if sum(map(len, parts)) + len(separator) * len(parts) > MOST_CHARACTERS:
        raise ValueError("too long")
    return separator.join(parts)


def _replace(text: str, old: str, new: str) -> str:
    if len(old) > 1 and old.startswith("/") and old.endswith("/"):
        raise ValueError("a regular expression")
    if len(text) + text.count(old) * len(new) > MOST_CHARACTERS:
        raise ValueError("too long")
    return text.replace(old, new)


def _flatten(value: Any) -> list[Any]:
    return _bounded(_leaves(_list(value), [0]))


def _leaves(values: list[Any], visited: list[int], depth: int = 0) -> Iterator[Any]:
    for each in values:
        visited[0] += 1
        if visited[0] > MOST or depth > 50:
            raise ValueError("too many elements")
        if isinstance(each, list):
            yield from _leaves(each, visited, depth + 1)
        else:
            yield each


def _coalesce(*values: Any) -> Any:
    return next(each for each in (*values, *[ValueError("no value")]) if each is not None and each != "")


def _range(*bounds: Any) -> list[int]:
    numbers = [each for each in bounds if isinstance(each, int) and abs(each) < 1e15]
    if len(numbers) != len(bounds):
        raise TypeError("not whole numbers")
    return _bounded(range(*numbers))


def _json(text: str) -> Any:
    def refuse(_: str) -> Any:
        raise ValueError("not a JSON value")

    return json.loads(text, parse_constant=refuse) if len(text) < MOST_CHARACTERS else ValueError("too long")


def _contains(values: Any, value: Any) -> bool:
    if not isinstance(value, str | int | float):
        raise TypeError("not a string or number")
    return value in _scalars(values)


def _title(text: str) -> str:
    return re.sub(r"(?<!\S)\S", lambda match: match[0].upper(), text)


def _tostring(value: Any) -> Any:
    return None if value is None else _string(value)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "basename": lambda path: posixpath.basename(path.rstrip("/")),
    "chomp": lambda text: text.rstrip("\r\n"),
    "coalesce": _coalesce,
    "compact": lambda values: [each for each in _list(values) if each not in (None, "")],
    "concat": lambda *lists: _bounded(chain.from_iterable(map(_list, lists))),
    "contains": _contains,
    "dirname": lambda path: posixpath.dirname(path) or ".",
    "distinct": _distinct,
    "element": lambda values, index: _list(values)[index % len(values)],
    "endswith": lambda text, end: text.endswith(end),
    "flatten": _flatten,
    "format": _format,
    "join": _join,
    "jsondecode": _json,
    "keys": lambda value: sorted(_map(value)),
    "length": len,
    "lookup": _lookup,
    "lower": lambda text: text.lower(),
    "merge": _merge,
    "nonsensitive": lambda value: value,
    "one": lambda values: _list(values)[0] if len(values) < 2 else ValueError("several elements"),
    "range": _range,
    "replace": _replace,
    "setproduct": lambda *sets: _bounded(map(list, product(*map(_list, sets)))),
    "setunion": lambda *sets: _set(_bounded(chain.from_iterable(map(_list, sets)))),
    "sort": lambda values: sorted(map(_string, _scalars(values))),
    "split": lambda separator, text: text.split(separator) if separator else list(text[: MOST + 1]),
    "startswith": lambda text, start: text.startswith(start),
    "title": _title,
    "tobool": lambda value: {"true": True, "false": False, True: True, False: False}[value],
    "tolist": _list,
    "tomap": _map,
    "tonumber": lambda value: int(value) if isinstance(value, int) or len(value) < 18 else ValueError("too large"),
    "toset": _set,
    "tostring": _tostring,
    "trim": lambda text, characters: text.strip(characters),
    "trimprefix": lambda text, prefix: text.removeprefix(prefix),
    "trimspace": lambda text: text.strip(),
    "trimsuffix": lambda text, suffix: text.removesuffix(suffix),
    "upper": lambda text: text.upper(),
    "values": lambda value: [_map(value)[key] for key in sorted(value)],
    "zipmap": lambda keys, values: dict(zip(map(_string, _list(keys)), _list(values), strict=True)),
}
