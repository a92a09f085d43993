"""Locks of one project, written by six tools and read for four targets, give the same layer."""

from __future__ import annotations

import random
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uv import find_uv_bin

import lockers
from lamina.archive.layer import Identity
from lamina.archive.segment import Recipe
from lamina.core.target import Target
from lamina.lock.formats import find, read
from lamina.lock.select import select
from loopback import IndexServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.core.values import Selection

FIXTURES = Path(__file__).parent / "fixtures"
TARGETS = [
    Target.of(runtime, architecture) for runtime in ("python3.12", "python3.13") for architecture in ("x86_64", "arm64")
]
LOCKED = ["poetry-1.1", "poetry-2.0", "poetry-2.1", "pdm", "pdm-static-urls", "pdm-graph", "pipenv"]
FORKED = ["poetry-1.1-forked", "poetry-2.0-forked", "poetry-2.1-forked", "poetry-2.1-classic", "pdm-forked"]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> lockers.Shelf:
    """Return an index with the files that every lock refers to."""
    directory = tmp_path_factory.mktemp("files")
    lockers.make_world(directory)
    return lockers.Shelf(directory)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return projects that uv locks during the test: with uv.lock, pylock.toml, and the output of pip-compile."""
    directory, files = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("live-files")
    lockers.make_world(files)
    with IndexServer(files) as server:
        variables = lockers.environment(server.url, directory)
        options = ("--no-config", "--default-index", lockers.INDEX, "--python", sys.executable, "--quiet")
        for name, manifest in (("", lockers.PEP_621), ("-forked", lockers.FORKED)):
            project = directory / f"uv{name}"
            project.mkdir()
            (project / "pyproject.toml").write_text(manifest, encoding="utf-8")
            lockers.run([find_uv_bin(), "lock", *options], project=project, variables=variables)
            for kind, arguments in (
                ("pylock.toml", ("export", "--format", "pylock.toml", "--no-dev", "--no-emit-project")),
                ("requirements.txt", ("pip", "compile", "pyproject.toml", "--universal", "--generate-hashes")),
            ):
                output = directory / f"{kind}{name}" / kind
                output.parent.mkdir()
                lockers.run(
                    [find_uv_bin(), *arguments, "--output-file", str(output), *options],
                    project=project,
                    variables=variables,
                )
        yield directory


def chosen(
    project: Path, target: Target, shelf: lockers.Shelf, *, groups: tuple[str, ...] = (), extras: tuple[str, ...] = ()
) -> Selection:
    return select(read(find(project), target=target, groups=groups, extras=extras, index=shelf), target=target)


def layer_digest(selection: Selection) -> str:
    return Identity(target=selection.target, pins=selection.pins, recipe=Recipe(exclude=())).digest()


def files(selection: Selection) -> list[tuple[str, str, str, str]]:
    return [(pin.name, pin.version, pin.filename, pin.sha256) for pin in selection.pins]


def shuffled(text: str, order: random.Random) -> str:
    """Return *text* with its packages, and the lines of each list, in another order."""
    head, *packages = re.split(r"(?m)^(?=\[\[package\]\]$)", text)
    packages[-1], *tail = re.split(r"(?m)^(?=\[(?:extras|metadata)\]$)", packages[-1])

    def lines(found: re.Match[str]) -> str:
        rows = found[2].splitlines(keepends=True)
        order.shuffle(rows)
        # Old lock tools omit the last comma.
        return found[1] + "".join(f"{row.rstrip().rstrip(',')},\n" for row in rows) + "]"

    order.shuffle(packages)
    blocks = [head, *(f"{package}\n" for package in packages), *tail]
    return re.sub(r"(?m)(^[\w.-]+ = \[\n)((?:^ .*\n)+)\]", lines, "".join(blocks))


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_locker_gives_the_same_layer(live: Path, shelf: lockers.Shelf, target: Target) -> None:
    """uv, Poetry, PDM, Pipenv, pip-compile and pylock.toml select the same artifacts and give the same layer."""
    projects = [*(FIXTURES / name for name in LOCKED), live / "uv", live / "pylock.toml", live / "requirements.txt"]

    selections = {project.name: chosen(project, target, shelf) for project in projects}

    expected = files(selections["uv"])
    assert ["client-lib", "frames", "h2", "numpy"] == [name for name, *_ in expected]
    assert dict.fromkeys(selections, expected) == {name: files(each) for name, each in selections.items()}
    assert 1 == len({layer_digest(selection) for selection in selections.values()})


def test_left_out(live: Path, shelf: lockers.Shelf) -> None:
    """With every lock tool, a distribution that is left out needs no file, and no index is asked for it."""
    projects = [*(FIXTURES / name for name in LOCKED), live / "uv", live / "pylock.toml", live / "requirements.txt"]
    shelf.asked.clear()
    locks = [
        read(find(project), target=TARGETS[0], groups=(), extras=(), without=["NumPy", "absent"], index=shelf)
        for project in projects
    ]
    selections = [select(lock, target=TARGETS[0]) for lock in locks]

    assert [["client-lib", "frames", "h2"]] * len(projects) == [
        [pin.name for pin in selection.pins] for selection in selections
    ]
    assert {("numpy",)} == {selection.left_out for selection in selections}
    assert {"client-lib", "frames", "h2"} == {name for name, _, _ in shelf.asked}


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize(
    ("group", "extra", "more"),
    [("batch", None, {"batcher"}), (None, "cpu", {"torch"}), ("dev", None, {"tester", "linter"})],
)
def test_one_vocabulary(
    live: Path, shelf: lockers.Shelf, *, target: Target, group: str | None, extra: str | None, more: set[str]
) -> None:
    """A group or extra has the same name with every lock tool, including Poetry's optional groups and Pipenv's categories."""
    projects = [FIXTURES / name for name in LOCKED if group or name != "pipenv"]
    groups, extras = (group,) if group else (), (extra,) if extra else ()

    selections = {
        project.name: chosen(project, target, shelf, groups=groups, extras=extras)
        for project in (*projects, live / "uv")
    }

    expected = files(selections["uv"])
    assert {"client-lib", "frames", "h2", "numpy"} | more == {name for name, *_ in expected}
    assert dict.fromkeys(selections, expected) == {name: files(each) for name, each in selections.items()}


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize(
    ("groups", "extras"), [((), ()), (("batch",), ()), ((), ("ml",)), ((), ("wire",)), (("batch",), ("ml", "wire"))]
)
def test_two_versions_split_by_python(
    live: Path, shelf: lockers.Shelf, target: Target, groups: tuple[str, ...], extras: tuple[str, ...]
) -> None:
    """A lock with two versions of a package gives each target its own version, and no unneeded packages."""
    projects = [*(FIXTURES / name for name in FORKED), live / "uv-forked"]

    selections = {project.name: chosen(project, target, shelf, groups=groups, extras=extras) for project in projects}

    expected = files(selections["uv-forked"])
    versions = {name: version for name, version, *_ in expected}
    assert ("1.26.0" if target.python < (3, 13) else "2.1.0") == versions["numpy"]
    assert ("batch" in groups, "wire" in extras) == ("batcher" in versions, "h2" in versions)
    assert (bool({"batch", "ml"} & {*groups, *extras}) and str(target.architecture) == "arm64") == (
        "armhelp" in versions
    )
    assert dict.fromkeys(selections, expected) == {name: files(each) for name, each in selections.items()}


@pytest.mark.parametrize("name", [name for name in (*LOCKED, *FORKED) if name != "pipenv"])
@given(seed=st.integers(), number=st.integers(0, 3))
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_a_lock_means_nothing(
    tmp_path: Path, shelf: lockers.Shelf, name: str, seed: int, number: int
) -> None:
    """The order of packages and of their files in a lock does not affect the selection."""
    source, target = FIXTURES / name, TARGETS[number]
    lock = find(source)
    (tmp_path / lock.path.name).write_text(shuffled(lock.path.read_text(), random.Random(seed)))  # noqa: S311
    (tmp_path / "pyproject.toml").write_bytes((source / "pyproject.toml").read_bytes())

    assert files(chosen(source, target, shelf, groups=("batch",))) == files(
        chosen(tmp_path, target, shelf, groups=("batch",))
    )


def test_the_machine_means_nothing(shelf: lockers.Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operating system, machine and Python version of the host do not affect the selection."""
    before = [files(chosen(FIXTURES / name, target, shelf)) for name in LOCKED for target in TARGETS]

    for module, name, value in (
        ("sys", "platform", "win32"),
        ("platform", "machine", lambda: "AMD64"),
        ("platform", "system", lambda: "Windows"),
        ("platform", "python_version", lambda: "3.8.1"),
        ("platform", "python_implementation", lambda: "PyPy"),
    ):
        monkeypatch.setattr(import_module(module), name, value)
    after = [files(chosen(FIXTURES / name, target, shelf)) for name in LOCKED for target in TARGETS]

    assert before == after


def test_every_project_is_asked_for_once(shelf: lockers.Shelf) -> None:
    """A lock without URLs needs one index request for each package that the target needs, and no other requests."""
    shelf.asked.clear()

    chosen(FIXTURES / "poetry-2.1", TARGETS[0], shelf)

    assert [
        ("client-lib", "1.5", lockers.INDEX),
        ("frames", "3.0", lockers.INDEX),
        ("h2", "4.0", lockers.INDEX),
        ("numpy", "2.1.0", lockers.INDEX),
    ] == sorted(shelf.asked)
