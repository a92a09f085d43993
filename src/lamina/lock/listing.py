"""
List the versions that a lock file names, such as one of an earlier commit, without a look at anything else.

Nothing is validated or selected: the project that the file locked, and the index, may have changed since.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from lamina.core.names import normalized
from lamina.core.text import decoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PINNED = re.compile(r"(?m)^[ \t]*([A-Za-z0-9][\w.-]*)[ \t]*(?:\[[^\]\n]*\])?[ \t]*==[ \t]*([\w.!+-]+)")


def list_versions(kind: str, content: bytes) -> dict[str, tuple[str, ...]]:
    """
    Return the versions of each distribution that *content*, a lock file of the format *kind*, names, sorted.

    A lock file for several platforms may have several versions of a distribution. Raises ValueError if the file has another format.
    """
    found: dict[str, set[str]] = {}
    for name, version in _rows(kind, decoded(content)):
        found.setdefault(normalized(name), set()).add(version)
    return {name: tuple(sorted(versions)) for name, versions in found.items()}


def _rows(kind: str, text: str) -> Iterator[tuple[str, str]]:
    if kind == "requirements.txt":
        yield from _PINNED.findall(text)
    elif kind == "Pipfile.lock":
        default = _table(_table(json.loads(text)).get("default", {}))
        yield from ((name, str(_table(row).get("version", "")).removeprefix("==")) for name, row in default.items())
    else:
        document = tomllib.loads(text)
        packages = document.get("packages" if kind == "pylock.toml" else "package", [])
        yield from (
            (str(row["name"]), str(row.get("version", ""))) for row in map(_table, _list(packages)) if "name" in row
        )


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not a table")  # noqa: TRY004 - one kind of error for every other format
    return value


def _list(value: Any) -> Iterable[Any]:
    if not isinstance(value, list):
        raise ValueError("not a list")  # noqa: TRY004 - one kind of error for every other format
    return value
