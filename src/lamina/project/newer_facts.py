"""
Read the file that ``facts`` in the configuration names: facts about AWS that are newer than the installed lamina.

The file has the tables of the data files in `lamina.core.facts.FILES`. Each row is checked against lamina's own rows of its table: it has
the same keys with values of the same types, and limits and dates that are in order. All mistakes are collected.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
import threading
from typing import TYPE_CHECKING, Any

from lamina.core import facts, toml
from lamina.core.errors import ConfigError, InvalidConfigError
from lamina.core.files import read_file
from lamina.core.frozen import frozen
from lamina.core.text import count, decoded, undecodable
from lamina.project.file import configures, read
from lamina.project.table import did_you_mean, kind_of, unusable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from lamina.project.table import Table

    Mistakes = list[tuple[str, str]]

# Tables to which a file can add rows. Lamina's code looks for the rows of the others by name.
_OPEN = frozenset({"interpreter", "operation", "preinstalled", "runtime", "state"})
# Values that code knows, so that a file can only repeat them.
_CLOSED = frozenset({("runtime", "architectures"), ("state", "latest"), ("state", "version")})
# Keys of lamina's own rows that a newer row may lack: a runtime is a preview only at first, and other runtimes may have no version.
_TRANSIENT = frozenset({("preinstalled", "version"), ("runtime", "preview")})
# Keys whose values do not decrease in this order.
_ASCENDING = {
    "setting": ("least", "default", "ordinary", "most"),
    "runtime": ("deprecation", "block_create", "block_update"),
}
_PAIRS = frozenset({"python", "glibc"})
_MOST_BYTES = 1_000_000
_SHOWN = 3


@frozen
class _Used:
    project: Path
    path: Path | None
    content: bytes


_lock = threading.Lock()
_used: list[_Used] = []


def use_facts(reader: Table, project: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """
    Use the file that ``facts`` in *reader* names, relative to *project*, in this process. Return it as an input, and notes.

    If the file cannot be read, record the mistake and use only lamina's own facts. Raises `ConfigError` if a service with another
    file was read before in this process, and `InvalidConfigError` with all mistakes in the file.
    """
    name = reader.string("facts")
    content = None if name is None else _content(reader, project, name)
    wanted = _Used(
        project=project.absolute(),
        path=None if name is None or content is None else (project / name).resolve(),
        content=content or b"",
    )
    newer = {} if name is None or content is None else _parse(content, name)
    with _lock:
        if any(used.path != wanted.path and used.project != wanted.project for used in _used):
            raise _conflict(project, _used[0].project)
        if [(used.path, used.content) for used in _used] != [(wanted.path, wanted.content)]:
            facts.replace_facts(newer)
            _used[:] = [wanted]
    if name is None or content is None:
        return (), ()
    return (project / name,), tuple(_outdated(newer, name))


def use_facts_of(project: Path) -> None:
    """
    Use the file that the configuration of *project* names, if it names one: for commands that read a build, but no configuration.

    Raises the errors of `use_facts` and of `lamina.project.file.read`.
    """
    if configures(project) and "facts" in (file := read(project)).values:
        use_facts(file.table([]), project)


def refuse_different_facts(projects: Iterable[Path]) -> None:
    """Raise `ConfigError` if the services *projects*, which one command builds, name different files."""
    found: dict[object, Path] = {}
    for project in projects:
        try:
            name = read(project).values.get("facts")
        except ConfigError:
            # Building the service reports this.
            continue
        found.setdefault((project / name).resolve() if isinstance(name, str) else None, project)
    if len(found) > 1:
        first, second = sorted(found.values())[:2]
        raise _conflict(second, first)


def forget_facts() -> None:
    """Use only lamina's own facts again, as at the start of the process."""
    with _lock:
        _used.clear()
        facts.replace_facts({})


def _conflict(project: Path, other: Path) -> ConfigError:
    return ConfigError(
        f"the services `{other.name}` and `{project.name}` use different facts",
        hint="set `facts` to the same file in every service that one command builds",
    )


def _content(reader: Table, project: Path, name: str) -> bytes | None:
    """Return the content of the file *name*; if it cannot be read, record the mistake and return ``None``."""
    if (mistake := unusable(name)) is None:
        try:
            return read_file(project / name, most=_MOST_BYTES)
        except OSError as error:
            mistake = f"could not read `{name}`: {error.strerror}"
    reader.complain("facts", mistake)
    return None


def _parse(content: bytes, name: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows in *content* by table. Raises `InvalidConfigError` with all mistakes, and `ConfigError` if it is not TOML."""
    try:
        document = toml.parse(decoded(content))
    except UnicodeDecodeError as error:
        raise ConfigError(f"`{name}` {undecodable(error)}") from error
    except ValueError as error:
        raise ConfigError(f"`{name}` is not valid TOML: {error}") from error
    own = {table: rows for file in facts.FILES for table, rows in toml.read_data(file).items()}
    mistakes: Mistakes = []
    for table, rows in document.items():
        if table not in own:
            mistakes.append((table, f"unknown table{did_you_mean(table, own)}"))
        elif not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            mistakes.append((table, f"expected a list of tables, found {kind_of(rows)}: write `[[{table}]]`"))
        else:
            _check_rows(table, rows, own[table], mistakes)
    if not mistakes:
        _check_runtimes(document, own, mistakes)
    if mistakes:
        raise InvalidConfigError(file=name, mistakes=mistakes)
    return document


def _check_rows(table: str, rows: list[dict[str, Any]], own: Sequence[facts.Row], mistakes: Mistakes) -> None:
    known = {key: [row[key] for row in own if key in row] for row in own for key in row}
    required = [key for key, values in known.items() if len(values) == len(own)]
    by_name = {facts.identity(table, row): row for row in own}
    seen: set[tuple[str, ...]] = set()
    for number, row in enumerate(rows):
        place, name = f"{table}[{number}]", facts.identity(table, row)
        # A value has the type of the same row's own one. A closed value can also be that of another row.
        same = {key: [value] for key, value in by_name.get(name, {}).items() if (table, key) not in _CLOSED}
        like = known | same
        wanted = dict.fromkeys((*required, *(key for key in by_name.get(name, ()) if (table, key) not in _TRANSIENT)))
        found = [
            *((key, f"unknown key{did_you_mean(key, known)}") for key in row if key not in known),
            *((key, "missing required key") for key in wanted if key not in row),
            *((key, fact) for key in row if key in known and (fact := _mistake(table, key, row[key], like[key]))),
        ]
        found += _descending(table, row) if not found else ()
        mistakes += [(f"{place}.{key}", fact) for key, fact in found]
        if not found and name not in by_name and table not in _OPEN:
            names = [each[-1] for each in by_name]
            mistakes.append((f"{place}.name", f"unknown {table} `{name[-1]}`{did_you_mean(name[-1], names)}"))
        if not found and name in seen and table != "preinstalled":
            mistakes.append((place, "states the same fact as a row above; remove one of them"))
        seen.add(name)


def _descending(table: str, row: facts.Row) -> Iterable[tuple[str, str]]:
    """Yield a mistake for each value in *row* of *table* that is less than the one it must not be less than."""
    keys = [key for key in _ASCENDING.get(table, ()) if key in row]
    for lower, upper in itertools.pairwise(keys):
        if row[upper] < row[lower]:
            word = "before" if isinstance(row[upper], dt.date) else "less than"
            yield upper, f"{row[upper]} is {word} `{lower}`, {row[lower]}"


def _mistake(table: str, key: str, value: Any, known: Sequence[Any]) -> str | None:
    """Return why *value* is not valid for *key* in *table*, whose own rows have the values *known*, or ``None`` if it is."""
    if type(value) not in {type(each) for each in known}:
        return f"expected {_kind(known[0])}, found {_kind(value)}"
    if isinstance(value, list):
        return _wrong_list(key, value, known) or _wrong_items(
            table, key, value, [item for each in known for item in each]
        )
    if key == "pattern":
        return _wrong_pattern(value)
    if (isinstance(value, int) and value < 1) or value == "":
        return "expected a number above 0" if isinstance(value, int) else "the string is empty"
    return _wrong_items(table, key, [value], known)


def _kind(value: object) -> str:
    return "a date" if type(value) is dt.date else kind_of(value)


def _wrong_list(key: str, value: list[Any], known: Sequence[list[Any]]) -> str | None:
    items = {type(item) for each in known for item in each}
    if key in _PAIRS:
        fits = len(value) == len(known[0]) and all(type(item) is int and item >= 0 for item in value)
        return None if fits else "expected two numbers, such as `[3, 13]`"
    if any(type(item) not in items for item in value) or (not value and all(known)):
        return "expected a list of strings with at least one item"
    return None


def _wrong_pattern(value: str) -> str | None:
    try:
        re.compile(value)
    except re.error as error:
        return f"`{value}` is not a regular expression: {error}"
    return None


def _wrong_items(table: str, key: str, values: Iterable[Any], choices: Sequence[Any]) -> str | None:
    """Return that one of *values* is not among *choices*, if lamina's code has to know the values of *key*."""
    if (table, key) in _CLOSED:
        for item in values:
            if item not in choices:
                return f"unknown value `{item}`{did_you_mean(str(item), dict.fromkeys(choices))}"
    return None


def _check_runtimes(
    document: Mapping[str, Sequence[facts.Row]], own: Mapping[str, Sequence[facts.Row]], mistakes: Mistakes
) -> None:
    """Record a mistake for each row about an unknown runtime, and for each runtime whose name or interpreter does not fit."""
    interpreters = {row["runtime"] for row in (*own["interpreter"], *document.get("interpreter", ()))}
    for number, row in enumerate(document.get("runtime", ())):
        version = ".".join(map(str, row["python"]))
        if row["name"] != f"python{version}":
            mistakes.append((f"runtime[{number}].python", f"Python {version} is not that of `{row['name']}`"))
        if row["name"] not in interpreters:
            mistakes.append((f"runtime[{number}]", f"no `[[interpreter]]` table has the version of `{row['name']}`"))
    for number, row in enumerate(document.get("interpreter", ())):
        series = str(row["runtime"]).removeprefix("python")
        if re.fullmatch(rf"{re.escape(series)}\.\d+", row["version"]) is None:
            mistakes.append((f"interpreter[{number}].version", f"`{row['version']}` is no release of Python {series}"))
    names = [str(row["name"]) for row in (*own["runtime"], *document.get("runtime", ()))]
    for table, key in (("interpreter", "runtime"), ("preinstalled", "runtimes")):
        for number, row in enumerate(document.get(table, ())):
            for name in [row[key]] if isinstance(row[key], str) else row[key]:
                if name not in names:
                    mistakes.append(
                        (f"{table}[{number}].{key}", f"unknown runtime `{name}`{did_you_mean(name, names)}")
                    )


def _outdated(newer: Mapping[str, Sequence[facts.Row]], name: str) -> Iterable[str]:
    """Yield a note if lamina's own rows are newer than some in the file *name*, so that these are not used."""
    own = {table: rows for file in facts.FILES for table, rows in toml.read_data(file).items() if table in newer}
    old = [
        " ".join((table, *facts.identity(table, row)))
        for table, rows in newer.items()
        for row in rows
        if any(
            facts.is_older(row, each)
            for each in own[table]
            if facts.identity(table, each) == facts.identity(table, row)
        )
    ]
    if old:
        shown = ", ".join(f"`{each}`" for each in old[:_SHOWN]) + (
            f" and {len(old) - _SHOWN} more" if old[_SHOWN:] else ""
        )
        yield f"`{name}`: lamina has newer information about {count(len(old), 'fact')} and uses it: {shown}"
