"""
List the facts in ``src/lamina/data`` whose source was last read more than 90 days ago; ``make facts`` runs this.

A fact is a table with values. Its ``source`` and the date ``read`` are in the table itself, or in a table around it: a whole file can have
one source. A fact without them makes the program fail. An old fact does not: it may well still be true.
"""

import argparse
import datetime as dt
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "src" / "lamina" / "data"
OWN = ("configuration.toml", "environment.toml", "rules.toml")
"""The files about lamina itself, which have no source."""


def facts(
    table: Mapping[str, Any], path: str, around: tuple[Any, Any] = (None, None)
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the place, the date and the source of each fact in *table* at *path*, in a table with the date and source *around*."""
    own = (table["read"], table["source"]) if {"read", "source"} <= table.keys() else around
    inner = {key: rows for key, value in table.items() if (rows := _tables(value))}
    if table.keys() - inner.keys() - {"read", "source"}:
        names = [
            str(table[key]) for key in ("service", "runtime", "name", "id", "module") if isinstance(table.get(key), str)
        ]
        yield " ".join((path, *names)), *own
    for key, rows in inner.items():
        for row in rows:
            yield from facts(row, f"{path} {key}", own)


def _tables(value: object) -> list[dict[str, Any]]:
    """Return the table or tables in *value*; none if it is a value of another type."""
    rows = value if isinstance(value, list) else [value]
    return [row for row in rows if isinstance(row, dict)]


def main() -> int:
    """Print the old facts, oldest first, and return 1 if a fact has no source or date."""
    parser = argparse.ArgumentParser(description=__doc__.strip().partition("\n")[0])
    parser.add_argument("--days", type=int, default=90, help="the age of an old fact (default: 90)")
    parser.add_argument(
        "--today",
        type=dt.date.fromisoformat,
        default=dt.datetime.now(tz=dt.UTC).date(),
        help="the date to compare with",
    )
    parser.add_argument("directory", nargs="?", type=Path, default=DATA, help="the directory of the data files")
    arguments = parser.parse_args()
    found = [
        fact
        for path in sorted(arguments.directory.glob("*.toml"))
        if path.name not in OWN
        for fact in facts(tomllib.loads(path.read_text("utf-8")), path.name)
    ]
    lacking = [place for place, read, source in found if not source or not isinstance(read, dt.date)]
    for place in lacking:
        print(f"{place}: no source or no date")
    before = arguments.today - dt.timedelta(days=arguments.days)
    old = sorted((read, place, source) for place, read, source in found if place not in lacking and read < before)
    for read, place, source in old:
        print(f"{read}  {place}: {source}")
    print(f"{len(old)} of {len(found)} facts are older than {arguments.days} days")
    return int(bool(lacking))


if __name__ == "__main__":
    raise SystemExit(main())
