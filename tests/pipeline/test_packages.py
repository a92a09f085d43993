"""Function packages: their inputs, their reuse, and the places that are searched for handlers."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from built import write_zip
from lamina.bytecode.toolchain import Toolchain
from lamina.core.errors import PackageError
from lamina.core.frozen import replace
from lamina.core.store import Store
from lamina.core.target import Target
from lamina.core.values import Build, Layer, Package
from lamina.pipeline import state
from lamina.pipeline.packages import PackagePlan, pack_functions, plan_packages
from lamina.pipeline.previous import Previous
from lamina.pipeline.state import Left
from lamina.project.service import BytecodeMode, Function, LayerConfig, Service
from lamina.project.snapshot import Snapshot
from lamina.project.sources import PackageSources, walk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TARGET = Target.of("python3.13", "arm64")
HANDLER = "def handler(event, context):\n    return event\n"


def function(name: str, handler: str = "app.handler", *, layers: tuple[str, ...] = ("common",)) -> Function:
    return Function(name=name, handler=handler, layers=layers, memory_mb=128, timeout_seconds=3)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    (tmp_path / "app.py").write_text(HANDLER)
    return Service(
        root=tmp_path,
        name="shop",
        target=TARGET,
        source=("app.py",),
        include=(),
        bytecode=BytecodeMode.NONE,
        exclude=(),
        groups=(),
        extras=(),
        ignore=(),
        lock=None,
        functions=(function("create"), function("list")),
        layers=(LayerConfig(name="common"),),
        inputs=(),
    )


def layer_of(directory: Path, *, unzipped_bytes: int = 1000, files: dict[str, str | bytes] | None = None) -> Layer:
    path = directory / ".lamina" / "layers" / "common.zip"
    sha256 = write_zip(path, files or {})
    return Layer(
        name="common",
        path=path,
        digest="0",
        sha256=sha256,
        zipped_bytes=1,
        unzipped_bytes=unzipped_bytes,
        files=0,
        distributions=(),
        extents=(),
    )


def all_planned(service: Service, previous: Previous | None = None) -> tuple[PackagePlan, ...]:
    previous = previous or Previous(project=service.root, build=None, left=Left(stats={}, sources=()))
    sources = [PackageSources(config=each, tree=walk(service.root, each.source)) for each in service.packages]
    return plan_packages(service, sources, [None] * len(sources), previous)


def planned(service: Service, previous: Previous | None = None) -> PackagePlan:
    """Return the plan of the only package of *service*."""
    (plan,) = all_planned(service, previous)
    return plan


def packed(service: Service, plans: Sequence[PackagePlan], layer: Layer) -> tuple[Package, ...]:
    store = Store(service.root / "store")
    with Toolchain(service.target.python, store) as toolchain:
        directory = service.root / ".lamina" / "functions"
        return pack_functions(service, plans, directory, [layer], toolchain=toolchain, store=store)[1]


def built(service: Service) -> Previous:
    """Build the packages of *service*, and record it."""
    plans = all_planned(service)
    packages = packed(service, plans, layer_of(service.root))
    outputs = [package.path.relative_to(service.root).as_posix() for package in packages]
    keys = [plan.key for plan in plans]
    state.remember(service.root, asked={}, inputs=Snapshot(observations=()), sources=keys, outputs=outputs)
    build = Build(service="shop", target=TARGET, layers=(), packages=packages, findings=(), reused=False, seconds=0.0)
    return Previous(project=service.root, build=build, left=Left.of(service.root))


def test_packages_hold_the_sources(service: Service) -> None:
    """Every function has its own zip with the same sources."""
    packages = packed(service, all_planned(service), layer_of(service.root))

    assert ["create", "list"] == [package.name for package in packages]
    for package in packages:
        with zipfile.ZipFile(package.path) as archive:
            assert {"app.py": HANDLER.encode()} == {name: archive.read(name) for name in archive.namelist()}


def test_sizes_include_the_layers(service: Service) -> None:
    """The total size is that of the function with all its layers."""
    service = replace(service, functions=(function("create"), function("list", layers=())))

    packages = packed(service, all_planned(service), layer_of(service.root, unzipped_bytes=1000))

    own = len(HANDLER)
    assert [own + 1000, own] == [package.total_unzipped_bytes for package in packages]


def test_packages_that_are_left_are_reused(service: Service) -> None:
    """If the sources and handlers are the same, the packages of the last build are reused."""
    previous = built(service)

    plan = planned(service, previous)

    assert previous.build is not None
    assert previous.build.packages == plan.reused


def test_reused_packages_are_not_written(service: Service) -> None:
    """Reusing packages changes nothing except the sizes of the layers."""
    previous = built(service)
    before = (service.root / ".lamina" / "functions" / "create.zip").stat()

    create, _ = packed(service, all_planned(service, previous), layer_of(service.root, unzipped_bytes=5000))

    assert before == create.path.stat()
    assert len(HANDLER) + 5000 == create.total_unzipped_bytes


def test_edited_source_is_packed(service: Service) -> None:
    """A source with different content causes all packages to be built again."""
    previous = built(service)
    (service.root / "app.py").write_text(f"{HANDLER}# edited\n")

    assert planned(service, previous).reused is None


def test_removed_package_is_packed(service: Service) -> None:
    """A missing package causes all packages to be built again."""
    previous = built(service)
    (service.root / ".lamina" / "functions" / "list.zip").unlink()

    assert planned(service, previous).reused is None


def test_new_function_is_packed(service: Service) -> None:
    """A function that is not in the last build causes all packages to be built again."""
    previous = built(service)
    service = replace(service, functions=(*service.functions, function("remove")))

    assert planned(service, previous).reused is None


def test_other_handler_is_packed(service: Service) -> None:
    """A changed handler is checked and its package is built again, even if the sources are the same."""
    previous = built(service)
    service = replace(service, functions=(service.functions[0], function("list", "app.other")))

    assert planned(service, previous).reused is None


def test_bytecode_decides_the_packages(service: Service) -> None:
    """The bytecode mode and the Python version change the packages; without bytecode, the Python version does not."""
    compiled = replace(service, bytecode=BytecodeMode.ALL)
    newer = Target.of("python3.14", "arm64")

    assert planned(service).key != planned(compiled).key
    assert planned(compiled).key != planned(replace(compiled, target=newer)).key
    assert planned(service).key == planned(replace(service, target=newer)).key


def test_layers_do_not_decide_the_packages(service: Service) -> None:
    """The layers of a function do not change its package."""
    bare = replace(service, functions=tuple(replace(each, layers=()) for each in service.functions))

    assert planned(service).key == planned(bare).key


def test_service_without_functions(service: Service) -> None:
    """A service without functions has no packages, and nothing to build."""
    service = replace(service, functions=())
    plan = planned(service)

    assert () == plan.reused
    assert () == packed(service, [plan], layer_of(service.root))


@pytest.mark.parametrize("path", ["python/vendor/__init__.py", "python/vendor.py"])
def test_handler_in_a_layer(service: Service, path: str) -> None:
    """A handler may be a module of a layer."""
    service = replace(service, functions=(function("create", "vendor.handler"),))
    layer = layer_of(service.root, files={path: HANDLER})

    (package,) = packed(service, all_planned(service), layer)

    assert "vendor.handler" == package.handler


@pytest.mark.parametrize("path", ["vendor.py", "python/other.py"])
def test_handler_in_no_layer(service: Service, path: str) -> None:
    """A handler that is in neither the sources nor a layer is an error, and no zip is written."""
    service = replace(service, functions=(function("create", "vendor.handler"),))
    layer = layer_of(service.root, files={path: HANDLER})

    with pytest.raises(PackageError):
        packed(service, all_planned(service), layer)

    assert not (service.root / ".lamina" / "functions").exists()
