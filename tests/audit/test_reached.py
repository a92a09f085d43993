"""Whether handlers can import the vulnerable code: by the bytecode in the layer, and unknown if nothing shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from externallayers import layer_zip
from lamina.audit.inventory.built import LAYER, Audited
from lamina.audit.inventory.contents import contents_of
from lamina.audit.inventory.sbom import Described
from lamina.core.store import Store
from lamina.project import config
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = (
    "alpha/__init__.py",
    "alpha/reached.py",
    "alpha/deep.py",
    "alpha/_speed.cpython-313-x86_64-linux-gnu.so",
    "alpha/frozen.pyc",
    "space/used/one.py",
    "space/used/two.py",
    "space/unused/one.py",
    "space/machine/fast.abi3.so",
    "single.py",
)
COMPILED = ("alpha/__pycache__/__init__", "alpha/__pycache__/reached", "space/used/__pycache__/one")


def reached(
    tmp_path: Path, name: str, *imports: str, mode: str = "reachable", distribution: str = "alpha"
) -> bool | None:
    """Return what the bytecode of a layer with *distribution* says of *imports* in the distribution *name*."""
    store = Store.open(tmp_path / "store")
    made = make_service(tmp_path)
    made.settings["bytecode"] = f'"{mode}"'
    paths = (*SOURCES, *(f"{path}.cpython-313.pyc" for path in COMPILED))
    metadata = f"python/{distribution}-1.0.dist-info"
    files = {f"{metadata}/METADATA": f"Name: {distribution}\nVersion: 1.0\n"}
    files |= {f"{metadata}/RECORD": "".join(f"{path},,\n" for path in paths)} | {f"python/{path}": "" for path in paths}
    (path := tmp_path / "layer.zip").write_bytes(layer_zip(files))
    audited = Audited(config.load(made.write(), store=store), (), store)
    contents = contents_of(path, store=store, is_layer=True)
    audited.zips = (Described(name="common", kind=LAYER, target="", path=path, contents=contents, artifacts={}),)
    return audited.reached(name, "1.0", imports)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["alpha"], True),
        (["alpha.reached"], True),
        (["alpha.reached.function"], True),
        (["alpha.reached.Class.method"], True),
        (["alpha.attribute"], True),
        (["alpha.deep"], False),
        (["alpha.deep.function"], False),
        (["single"], False),
        (["space.used"], True),
        (["space.used.two"], False),
        (["space.unused"], False),
        (["space"], True),
        (["alpha._speed"], None),
        (["alpha._speed.function"], None),
        (["alpha.frozen"], None),
        (["space.machine"], None),
        (["absent"], None),
        (["absent.deep"], None),
        (["alpha.deep", "alpha.reached"], True),
        (["alpha.deep", "absent"], None),
        (["alpha.deep", "single"], False),
    ],
    ids=lambda each: "-".join(each) if isinstance(each, list) else None,
)
def test_modules(tmp_path: Path, names: list[str], expected: bool | None) -> None:
    """A module is reached if it has bytecode. Code without a source, and names that the layer does not have, are unknown."""
    assert expected is reached(tmp_path, "alpha", *names)


def test_unknown(tmp_path: Path) -> None:
    """Bytecode tells nothing in another mode, or of another distribution."""
    assert reached(tmp_path, "alpha", "alpha.deep", mode="all") is None
    assert reached(tmp_path, "alpha", "alpha.deep", mode="none") is None
    assert reached(tmp_path, "beta", "alpha.deep") is None
