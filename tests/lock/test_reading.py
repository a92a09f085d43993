"""A damaged lock of any format raises a lamina error that names the value: every value of real locks is changed in turn."""

from __future__ import annotations

import copy
import json
import os
import re
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rtoml

import lockers
from lamina.core.errors import LaminaError, LockError, LockSyntaxError
from lamina.lock.formats import find, read
from lamina.lock.reading import LayoutError, LockTable
from lamina.lock.select import select
from locking import TARGET, package, pylock_package, read_lock, root, write_pylock, write_uv_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIXTURES = Path(__file__).parent / "fixtures"
# Whether each lock is read with its project: locks that do not list the groups of their packages need it.
LOCKED = [
    *((name, True) for name in ("poetry-1.1", "poetry-2.0-forked", "poetry-2.1", "pdm-graph", "pipenv")),
    *((name, False) for name in ("poetry-2.1", "pdm", "pdm-static-urls", "pipenv")),
]
WRONG: tuple[Any, ...] = (7, "?", [7], {"?": 7})


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> lockers.Shelf:
    directory = tmp_path_factory.mktemp("files")
    lockers.make_world(directory)
    return lockers.Shelf(directory)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every value in a document, outer values first."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(each, (*path, key))


def mangled(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield copies of the document with one key removed, or one value of another type; of similar list items, only two."""
    seen = Counter[tuple[str, ...]]()
    for path in places(document):
        alike = tuple("*" if isinstance(key, int) else key for key in path)
        seen[alike] += 1
        if seen[alike] > 2:
            continue
        for wrong in (None, *WRONG):
            changed = copy.deepcopy(document)
            parent: Any = changed
            for key in path[:-1]:
                parent = parent[key]
            if wrong is None:
                del parent[path[-1]]
            else:
                parent[path[-1]] = wrong
            yield f"{'.'.join(map(str, path))} = {wrong}", changed


_STEP = 1 if os.environ.get("LAMINA_EVERY_TYPE") == "1" else 3
"""Take every third copy, so that the tests take seconds. Has no divisor in common with the number of copies for each place."""


def escaped(
    path: Path, document: dict[str, Any], shelf: lockers.Shelf, dump: Callable[[dict[str, Any]], str]
) -> tuple[int, list[str]]:
    """Return how many damaged copies of the lock at *path* are rejected, and the exceptions that are not lamina's."""
    refused, found = 0, []
    for what, changed in islice(mangled(document), 0, None, _STEP):
        path.write_text(dump(changed), encoding="utf-8")
        try:
            lock = read(find(path.parent), target=TARGET, groups=(), extras=(), index=shelf)
            select(lock, target=TARGET)
        except LaminaError as error:
            refused += isinstance(error, LockError)
        except Exception as error:  # noqa: BLE001 - the test searches for any other exception
            found.append(f"{what}: {error!r}")
    return refused, found


@pytest.mark.parametrize(("name", "with_project"), LOCKED)
def test_mangled_locks(tmp_path: Path, shelf: lockers.Shelf, name: str, *, with_project: bool) -> None:
    """A missing value or a value of a wrong type raises only lamina's own errors."""
    source = find(FIXTURES / name).path
    is_json = source.name == "Pipfile.lock"
    document = json.loads(source.read_text()) if is_json else rtoml.loads(source.read_text())
    for file in FIXTURES.joinpath(name).iterdir() if with_project else ():
        (tmp_path / file.name).write_bytes(file.read_bytes())

    refused, found = escaped(tmp_path / source.name, document, shelf, json.dumps if is_json else rtoml.dumps)

    assert [] == found
    assert refused > 50 // _STEP


def test_mangled_uv_lock(tmp_path: Path, shelf: lockers.Shelf) -> None:
    """The same guarantee for uv.lock, with every kind of source and dependency."""
    rows = [
        package("a", needs=[{"name": "b", "version": "1.0", "marker": "sys_platform == 'linux'", "extra": ["x"]}]),
        package("b", optional_dependencies={"x": [{"name": "c", "source": {"registry": "links"}}]}),
        package("c", source={"registry": "links"}, wheels=[], sdist={"path": "c-1.0.tar.gz", "hash": "sha256:0" * 64}),
        package("g", tags=(), source={"git": f"https://git.example/g?rev=main&subdirectory=s#{'c' * 40}"}),
        package(
            "u", tags=(), source={"url": "https://f.example/u.zip"}, sdist={"hash": f"sha256:{'0' * 64}", "size": 7}
        ),
        package("p", tags=(), source={"path": "p.zip", "subdirectory": "s"}, sdist={"hash": f"sha256:{'0' * 64}"}),
        package("d", tags=(), source={"editable": "d"}),
    ]
    metadata = {
        "requires-dist": [{"name": "a", "extras": ["x"], "specifier": ">=1"}],
        "requires-dev": {"dev": [{"name": "b"}]},
    }
    project = root("a", "g", "u", "p", "d", metadata=metadata, dev_dependencies={"dev": [{"name": "b"}]})
    conflicts = [[{"package": "service", "extra": "x"}, {"package": "service", "group": "y"}]]
    path = write_uv_lock(
        tmp_path,
        project,
        *rows,
        conflicts=conflicts,
        supported_markers=["sys_platform == 'linux'"],
        manifest={"members": ["service"]},
    )
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "service"\nrequires-python = ">=3.9"\ndynamic = ["dependencies"]\n'
    )

    refused, found = escaped(path, rtoml.loads(path.read_text()), shelf, rtoml.dumps)

    assert [] == found
    assert refused > 50 // _STEP


def test_mangled_pylock(tmp_path: Path, shelf: lockers.Shelf) -> None:
    """The same guarantee for pylock.toml."""
    sha256 = {"sha256": "0" * 64}
    path = write_pylock(
        tmp_path,
        pylock_package("a", marker="'x' in extras or 'dev' in dependency_groups", index="https://i.example/simple"),
        pylock_package("b", tags=(), vcs={"type": "git", "url": "https://git.example/b", "commit-id": "c" * 40}),
        pylock_package("c", tags=(), directory={"path": "c", "editable": True}),
        pylock_package("d", tags=(), archive={"path": "d-1.0.zip", "hashes": sha256, "size": 7}),
        pylock_package(
            "e", tags=(), sdist={"name": "e-1.0.zip", "url": "https://f.example/e-1.0.zip", "hashes": sha256}
        ),
        requires_python=">=3.9",
        environments=["sys_platform == 'linux'"],
        extras=["x"],
        dependency_groups=["dev"],
        default_groups=["main"],
    )

    refused, found = escaped(path, rtoml.loads(path.read_text()), shelf, rtoml.dumps)

    assert [] == found
    assert refused > 50 // _STEP


def test_mangled_requirements(tmp_path: Path, shelf: lockers.Shelf) -> None:
    """The same guarantee for requirements files: each word is removed, repeated or replaced."""
    path = tmp_path / "requirements.txt"
    lines = (
        "--index-url https://i.example/simple", f"a==1.0 ; python_version >= '3.9' --hash=sha256:{'0' * 64}", "-e ./b",
        f"c @ git+https://git.example/c@{'c' * 40}#subdirectory=s", f"./d-1.0.zip --hash=sha256:{'0' * 64}", "-c other.txt",
    )  # fmt: skip
    words = re.split(r"(\s+|[=;@#:'])", "\n".join(lines))
    found: list[str] = []
    for position, word in enumerate(words):
        for other in ("", word * 2, "?", "[", "://["):
            path.write_text("".join([*words[:position], other, *words[position + 1 :]]), encoding="utf-8")
            try:
                select(read(find(tmp_path), target=TARGET, groups=(), extras=(), index=shelf), target=TARGET)
            except LaminaError:
                continue
            except Exception as error:  # noqa: BLE001 - the test searches for any other exception
                found.append(f"{position}, {word!r} as {other!r}: {error!r}")

    assert [] == found


@pytest.mark.parametrize(
    ("name", "path", "value", "fact"),
    [
        ("pdm", ("metadata", "lock_version"), 4, "`metadata.lock_version`: expected a string, found an integer"),
        ("pdm", ("package", 0, "groups"), "batch", "`package[0].groups`: expected a list, found a string"),
        ("pdm", ("package", 2, "files", 0), "a.whl", "`package[2].files[0]`: expected a table, found a string"),
        ("pdm-graph", ("metadata", "strategy"), [True], "`metadata.strategy[0]`: expected a string, found a boolean"),
        ("poetry-1.1", ("metadata", "content-hash"), None, "`metadata.content-hash` is missing"),
        ("poetry-2.1", ("package", 1, "version"), None, "`package[1].version` is missing"),
        (
            "poetry-2.1",
            ("package", 1, "files", 0, "hash"),
            7.5,
            "`package[1].files[0].hash`: expected a string, found a float",
        ),
        ("pipenv", ("default", "frames"), [], "`default.frames`: expected a table, found a list"),
        (
            "pipenv",
            ("default", "frames", "hashes"),
            [None],
            "`default.frames.hashes[0]`: expected a string, found null",
        ),
        ("pipenv", ("default", "frames", "hashes"), {}, "`default.frames.hashes`: expected a list, found a table"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path,
    shelf: lockers.Shelf,
    monkeypatch: pytest.MonkeyPatch,
    *,
    name: str,
    path: tuple[str | int, ...],
    value: Any,
    fact: str,
) -> None:
    """The error names the invalid value and the expected type. The hint regenerates the lock from the current directory."""
    monkeypatch.chdir(tmp_path.parent)
    source = find(FIXTURES / name).path
    document = json.loads(source.read_text()) if name == "pipenv" else rtoml.loads(source.read_text())
    parent: Any = document
    for key in path[:-1]:
        parent = parent[key]
    if value is None:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    for file in (FIXTURES / name).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    lock = tmp_path / source.name
    lock.write_text(json.dumps(document) if name == "pipenv" else rtoml.dumps(document), encoding="utf-8")

    with pytest.raises(LockSyntaxError) as raised:
        read(find(tmp_path), target=TARGET, groups=(), extras=(), index=shelf)

    locker, command = {
        "poetry.lock": ("Poetry", "poetry lock"),
        "pdm.lock": ("PDM", "pdm lock"),
        "Pipfile.lock": ("Pipenv", "pipenv lock"),
    }[lock.name]
    assert f"`{lock}` does not follow {locker}'s lock format: {fact}" == str(raised.value)
    assert f"regenerate the lock: run `(cd {tmp_path.name} && {command})`" == raised.value.hint


def test_what_is_wrong_in_a_uv_lock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same guarantee for uv.lock."""
    monkeypatch.chdir(tmp_path)
    path = write_uv_lock(tmp_path, root("a"), package("a", wheels=[{"url": "https://f.example/a.whl", "hash": 7}]))

    with pytest.raises(LockSyntaxError) as raised:
        read_lock(tmp_path)

    fact = "`package[1].wheels[0].hash`: expected a string, found an integer"
    assert f"`{path}` does not follow uv's lock format: {fact}" == str(raised.value)
    assert "regenerate the lock: run `uv lock`" == raised.value.hint


def test_tables() -> None:
    """An absent value is ``None`` or empty, and an invalid value raises an error with its position and the reason."""
    table = LockTable({"a": [{"b": "x"}], "c": "one", "d": [[{"e": 1}]]})

    assert (None, [], []) == (table.get("z", str), table.get_strings("z"), table.get_tables("z"))
    assert not list(table.get_table("z"))
    assert ["one"] == table.get_each("c")
    assert [1] == [each.get_required("e", int) for tables in table.get_arrays("d") for each in tables]
    with pytest.raises(LayoutError) as raised:
        table.get_tables("a")[0].get_as("b", int)
    assert "`a[0].b` is invalid: invalid literal for int() with base 10: 'x'" == str(raised.value)
