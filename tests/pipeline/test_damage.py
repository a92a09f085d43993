"""Damage to any file that lamina keeps: the next build makes the same bytes or fails, and never makes others."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from damage import KINDS, areas, damage, seeded
from lamina.bytecode.interpreter import CACHE as INTERPRETERS
from lamina.bytecode.interpreter import environment_variable
from lamina.core.errors import LaminaError
from lamina.core.reporter import Silent
from lamina.core.store import FORMAT, Store
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from pythons import MINOR, PYTHON
from services import Service, make_service

if TYPE_CHECKING:
    from pathlib import Path

AREAS = (
    "bytecode",
    "imports",
    INTERPRETERS,
    "missing",
    "own-bytecode",
    "reach",
    "searches",
    "segments",
    "selections",
    "wheels",
)
NAMESPACE = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n" * 3


class Notes(Silent):
    """A reporter that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


class Shop:
    """A service with bytecode, shared paths and sources that do not compile, its store and what a build of it made."""

    def __init__(self, directory: Path) -> None:
        self.service: Service = make_service(directory)
        self.service.settings |= {"bytecode": '"reachable"', "runtime": f'"python{MINOR}"'}
        self.service.requires_python = ">=3.11"
        self.service.add(
            "alpha", "1.0", {"ns/__init__.py": NAMESPACE, "ns/a.py": "import beta, absent\n", "ns/bad.py": "not python"}
        )
        self.service.add("gamma", "1.0", {"ns/__init__.py": NAMESPACE, "ns/c.py": "import ns.bad\n" * 50})
        self.project = self.service.write()
        (self.project / "service/handlers/hello.py").write_text("import ns.a, ns.c\ndef lambda_handler(e, c): ...\n")
        self.root = directory / "store"
        self.notes: list[str] = []

    def build(self) -> list[tuple[str, str | None]]:
        """Build, and return the name and the SHA-256 of each zip."""
        notes = Notes()
        result = build(self.project, BuildOptions(), store=Store.open(self.root), reporter=notes)
        self.notes = [note for note in notes.notes if "was damaged" in note]
        assert not result.refused
        layers = [(layer.name, layer.sha256) for layer in result.build.layers]
        return layers + [(package.name, package.sha256) for package in result.build.packages]

    def forget(self, *kept: str) -> None:
        """Delete the output directory, and the areas of the store except *kept*."""
        shutil.rmtree(self.project / ".lamina", ignore_errors=True)
        for area, paths in areas(self.root).items():
            if area not in kept:
                for path in paths:
                    path.unlink()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("damage"))


@pytest.fixture(autouse=True)
def _interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment_variable(PYTHON), sys.executable)


def test_every_area_is_covered(shop: Shop) -> None:
    """The service leads to a file in every area that decides bytes."""
    shop.build()

    assert set(AREAS) == areas(shop.root).keys()


@pytest.mark.parametrize("area", AREAS)
def test_damaged_store(shop: Shop, area: str) -> None:
    """A damaged or foreign file in the store leads to the same zips as before, or to an error."""
    random = seeded(area)
    expected = shop.build()
    for kind in random.sample(sorted(KINDS), 2):
        if area not in areas(shop.root):
            # The last build had the reached modules, but not the imports that this area is made from.
            shop.forget()
            shop.build()
        shop.forget(area, "wheels", "selections", *random.sample(AREAS, random.randrange(4)))
        found = areas(shop.root)
        damaged = damage(random.choice(found[area]), kind, [path for paths in found.values() for path in paths], random)
        try:
            made = shop.build()
        except LaminaError:
            assert damaged
            shop.forget()
            shop.build()
        else:
            assert expected == made, kind


@pytest.mark.parametrize("is_expected_there", [True, False])
def test_no_file_beside_a_damaged_wheel_is_used(shop: Shop, *, is_expected_there: bool) -> None:
    """Of several files in the directory of a wheel, only that with its SHA-256 is used; the others are deleted."""
    expected = shop.build()
    shop.forget("wheels")
    paths = areas(shop.root)["wheels"]
    alpha, gamma = (next(path for path in paths if path.name.startswith(name)) for name in ("alpha", "gamma"))
    for number in range(3):
        (alpha.parent / f"{alpha.name.partition('-')[0]}-1.0-{number}-py3-none-any.whl").write_bytes(gamma.read_bytes())
    alpha.write_bytes(b"damaged") if is_expected_there else alpha.unlink()

    assert expected == shop.build()
    assert [alpha] == list(alpha.parent.iterdir())


@pytest.mark.parametrize("area", AREAS)
def test_note(shop: Shop, area: str) -> None:
    """Every damaged file is made again, with one note for each area."""
    expected = shop.build()
    # Selections and results that do not need the others must not hide them.
    shop.forget(area, *(["wheels"] if area == "selections" else []))
    for path in areas(shop.root)[area]:
        damage(path, "flipped", [path], seeded(area))
    assert expected == shop.build()

    subject = f"the file `{area}` in the store" if area.endswith(".json") else f"a file in `{area}` of the store"
    assert [f"{subject} was damaged; lamina makes it again"] == shop.notes


def test_two_versions_share_a_store(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version with another format of the store makes the same zips, and leaves the files of this one alone."""
    shop.forget()
    expected = shop.build()
    ours = {path: path.read_bytes() for paths in areas(shop.root).values() for path in paths}
    monkeypatch.setattr("lamina.core.store.FORMAT", FORMAT + 1)
    shutil.rmtree(shop.project / ".lamina")
    other = shop.build()
    monkeypatch.undo()
    added = {area: set(paths) - ours.keys() for area, paths in areas(shop.root).items()}

    assert (expected, []) == (other, shop.notes)
    assert set(AREAS) - {"wheels", INTERPRETERS} == {area for area, paths in added.items() if paths}
    assert ours == {path: path.read_bytes() for path in ours}


@pytest.mark.parametrize("area", ["bytecode", "imports", "segments", "selections", "wheels"])
def test_another_kind_of_file(shop: Shop, area: str) -> None:
    """A pipe or an empty directory in place of a file of the store is replaced like a damaged file, and no build waits for it."""
    expected = shop.build()
    for make in (os.mkfifo, os.mkdir):
        shop.forget(area, "wheels", "selections")
        paths = areas(shop.root)[area]
        for path in paths:
            path.unlink()
            make(path)

        assert expected == shop.build()
        assert any(path.is_file() for path in paths)

        for path in paths:
            if path.is_dir():
                path.rmdir()
            elif not path.is_file():
                path.unlink()


@pytest.mark.parametrize("name", ["build.json", "state.json"])
def test_damaged_output(shop: Shop, name: str) -> None:
    """A damaged report or state leads to a build, which makes the same zips and the same report."""
    shop.forget(*AREAS)
    expected, random = shop.build(), seeded(name)
    files = [shop.project / ".lamina" / each for each in ("build.json", "state.json")]
    for kind in ("flipped", "swapped", "list", "deep"):
        damage(shop.project / ".lamina" / name, kind, files, random)

        assert expected == shop.build(), kind
