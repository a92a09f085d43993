"""Layers with the service's own code: their content, digest, bytecode and reuse."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from lamina.core.errors import PathCollisionError
from lamina.core.store import Store
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from pythons import MINOR, PYTHON
from services import Service, make_service

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.pipeline.build import Result


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def library(tmp_path: Path) -> Service:
    """A service without functions, whose layer contains its own code."""
    service = make_service(tmp_path)
    service.functions.clear()
    service.settings |= {"source": '["lib/*"]', "layers": "{ shared = { first-party = true } }"}
    service.write()
    write(service, {"lib/shop/__init__.py": "", "lib/shop/prices.py": "import beta\n", "lib/tool.sh": "#!/bin/sh\n"})
    return service


@pytest.fixture
def shop(tmp_path: Path, library: Service) -> Service:
    """A service with a function whose handler imports code in the layer, and has its own source."""
    library.functions["quote"] = "app.handler"
    library.sources["quote"] = '["quote/*"]'
    write(library, {"quote/app.py": "from shop import prices\ndef handler(event, context): ...\n"})
    return library


def with_bytecode(service: Service, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service.settings |= {"bytecode": f'"{mode}"', "runtime": f'"python{MINOR}"'}
    service.requires_python = ">=3.11"
    monkeypatch.setenv(environment_variable(PYTHON), sys.executable)


def write(service: Service, files: dict[str, str]) -> None:
    for path, content in files.items():
        (service.root / path).parent.mkdir(parents=True, exist_ok=True)
        (service.root / path).write_text(content)


def built(service: Service, store: Store) -> Result:
    return build(service.write(), BuildOptions(), store=store)


def members(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def own(path: Path) -> list[str]:
    """Return the members of the service's own code in the layer at *path*."""
    return [name for name in members(path) if "dist-info" not in name and "alpha" not in name and "beta" not in name]


def test_content(library: Service, store: Store) -> None:
    """The layer contains the files of `source` below ``python/``, besides the distributions."""
    (layer,) = built(library, store).build.layers

    with zipfile.ZipFile(layer.path) as archive:
        assert archive.testzip() is None
        assert archive.read("python/shop/prices.py") == b"import beta\n"
        assert 0o755 == archive.getinfo("python/tool.sh").external_attr >> 16 & 0o777
        assert "python/beta.py" in archive.namelist()
        assert json.loads(archive.read(f"lamina/{layer.digest}.json"))["own_code"]
    assert [
        f"lamina/{layer.digest}.json",
        "python/shop/__init__.py",
        "python/shop/prices.py",
        "python/tool.sh",
    ] == sorted(own(layer.path))


def test_without_distributions(library: Service, store: Store) -> None:
    """A layer can consist of own code alone."""
    library.locked.clear()

    (layer,) = built(library, store).build.layers

    assert 4 == len(members(layer.path))


def test_excluded(library: Service, store: Store) -> None:
    """`exclude` leaves out own files too, and another layer has none."""
    library.settings["layers"] = '{ shared = { first-party = true, exclude = ["*.sh"] }, plain = {} }'

    shared, plain = built(library, store).build.layers

    assert "python/tool.sh" not in members(shared.path)
    assert [f"lamina/{plain.digest}.json"] == own(plain.path)


def test_digest(library: Service, store: Store, tmp_path: Path) -> None:
    """Own code decides the digest: an edit changes it, and taking the edit back restores it, on every machine."""
    (first,) = built(library, store).build.layers
    write(library, {"lib/shop/prices.py": "import beta, alpha\n"})
    edited = built(library, store)
    write(library, {"lib/shop/prices.py": "import beta\n"})
    (again,) = built(library, Store.open(tmp_path / "another store")).build.layers

    (layer,) = edited.build.layers
    assert first.digest != layer.digest
    assert edited.plan.layers[0].reason.startswith("your code in the layer changed")
    assert (first.digest, first.sha256) == (again.digest, again.sha256)


def test_reuse(
    shop: Service, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An edit of the shared code builds only the layer, an edit of the function only its package; otherwise nothing happens."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store.root))
    built(shop, store)
    assert 0 == main(["build", "--project", str(shop.root)])
    assert "nothing to do" in capsys.readouterr().err

    write(shop, {"lib/shop/prices.py": "import alpha\n"})
    plan = built(shop, store).plan
    assert ([False], [True]) == (
        [layer.reused is not None for layer in plan.decided],
        [each.reused is not None for each in plan.package_plans],
    )

    write(shop, {"quote/app.py": "def handler(event, context): ...\n"})
    plan = built(shop, store).plan
    assert ([True], [False]) == (
        [layer.reused is not None for layer in plan.decided],
        [each.reused is not None for each in plan.package_plans],
    )


def test_function(shop: Service, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function can import the shared code from its layer: it is not in its package, and no finding reports it."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store.root))

    assert 0 == main(["build", "--project", str(shop.write())])

    assert ["app.py"] == members(shop.root / ".lamina" / "functions" / "quote.zip")


@pytest.mark.parametrize("mode", ["all", "reachable"])
def test_bytecode(shop: Service, store: Store, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Own code in a layer is compiled for its place on Lambda, and unchecked; the modules that it imports are reachable."""
    with_bytecode(shop, mode, monkeypatch)
    shop.add("gamma", "1.0", {"gamma.py": ""})

    (layer,) = built(shop, store).build.layers

    tag = f"cpython-{PYTHON[0]}{PYTHON[1]}"
    with zipfile.ZipFile(layer.path) as archive:
        bytecode = archive.read(f"python/shop/__pycache__/prices.{tag}.pyc")
    assert 0b01 == int.from_bytes(bytecode[4:8], "little")
    assert b"/opt/python/shop/prices.py" in bytecode
    names = members(layer.path)
    # `beta` is imported only by the code in the layer, `alpha` by `beta`, and `gamma` by nothing.
    assert f"python/__pycache__/beta.{tag}.pyc" in names
    assert f"python/alpha/__pycache__/__init__.{tag}.pyc" in names
    assert (mode == "all") == (f"python/__pycache__/gamma.{tag}.pyc" in names)


def test_bytecode_without_functions(library: Service, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without functions, everything is compiled, as anyone may use the layer; code that does not compile has no bytecode."""
    with_bytecode(library, "reachable", monkeypatch)
    library.locked.clear()
    write(library, {"lib/shop/template.py": "{{ name }} =\n"})

    (layer,) = built(library, store).build.layers

    compiled = [os.path.basename(name).partition(".")[0] for name in members(layer.path) if name.endswith(".pyc")]
    assert ["__init__", "prices"] == sorted(compiled)


def test_conflict(library: Service, store: Store) -> None:
    """A module of a distribution with other content is an error; a file with the same content is in the layer once."""
    write(library, {"lib/beta.py": "import alpha\n"})
    (layer,) = built(library, store).build.layers
    assert 1 == members(layer.path).count("python/beta.py")

    write(library, {"lib/beta.py": "import other\n"})
    with pytest.raises(PathCollisionError, match=r"`python/beta.py` in `\(own code\)` and `beta`$"):
        built(library, store)


def test_dry_run(
    library: Service, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan says that the estimate is too low, because it does not include own code."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store.root))
    library.locked.clear()

    assert 0 == main(["build", "--dry-run", "--project", str(library.write())])

    err = capsys.readouterr().err
    assert "layer shared for python3.13 on x86_64: would be built (not built before)\n  at least 0.0 kB zipped" in err


def test_empty(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A layer without distributions is built, because deployments name its zip, and a note says that it is empty."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store.root))
    service = make_service(tmp_path)
    service.locked.clear()
    with_bytecode(service, "reachable", monkeypatch)
    project = str(service.write())

    assert 0 == main(["build", "--project", project])

    err = capsys.readouterr().err
    assert "note: layer `common` is empty: no distributions are locked for it, or all are left out" in err
    assert "zipped  unzipped" not in err
    assert 1 == len(members(service.root / ".lamina" / "layers" / "common.zip"))
    assert 0 == main(["build", "--project", project])
