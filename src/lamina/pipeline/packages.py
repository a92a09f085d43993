"""Write the function packages, or reuse those of the last build if none of their inputs has changed."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.archive.package import pack, packages
from lamina.bytecode.segment import RECIPE, compile_sources
from lamina.core.frozen import frozen, replace
from lamina.project.service import BytecodeMode
from lamina.project.sources import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lamina.bytecode.toolchain import Toolchain
    from lamina.core.store import Store
    from lamina.core.values import Layer, Package
    from lamina.pipeline.previous import Previous
    from lamina.project.service import Service
    from lamina.project.sources import SourceTree

_FORMAT = 1


@frozen
class PackagePlan:
    """The inputs of the function packages, and the packages to reuse."""

    key: str
    """The digest of sources, handlers and bytecode mode."""
    tree: SourceTree | None
    """The service's sources and local packages; ``None`` if they were not read, because all packages are reused."""
    reused: tuple[Package, ...] | None
    """The last build's packages, one for each function; ``None`` if they have another key or a zip has changed."""
    reason: str
    """A short reason why the packages are reused or built."""


def plan_packages(service: Service, tree: SourceTree, previous: Previous) -> PackagePlan:
    """Return the plan for the packages of *service*, from its source *tree* and the packages of the *previous* build."""
    key = _key(service, fingerprint((file.path, file.sha256) for file in tree.files))
    left = _left(service, previous)
    if not service.functions or (previous.left.sources == key and left is not None):
        return PackagePlan(key=key, tree=tree, reused=left, reason="unchanged")
    reason = "a zip was changed or removed" if previous.left.sources == key else "sources, handlers or bytecode changed"
    return PackagePlan(key=key, tree=tree, reused=None, reason=reason if previous.build else "not built before")


def unchanged_packages(service: Service, previous: Previous) -> PackagePlan | None:
    """Return a plan that reuses all packages of the *previous* build, or ``None`` if one of its zips is missing or changed."""
    key, left = previous.left.sources, _left(service, previous)
    return None if key is None or left is None else PackagePlan(key=key, tree=None, reused=left, reason="unchanged")


def _left(service: Service, previous: Previous) -> tuple[Package, ...] | None:
    packages = [previous.package(function.name) for function in service.functions]
    return None if None in packages else tuple(package for package in packages if package is not None)


def pack_functions(
    service: Service,
    plan: PackagePlan,
    directory: Path,
    layers: Sequence[Layer],
    *,
    toolchain: Toolchain,
    store: Store,
) -> tuple[Package, ...]:
    """
    Return the package of every function of *service*, reusing existing packages or writing new ones into *directory*.

    If a handler is missing from the sources, search the zips of *layers* for its module.
    Raises PackageError, the errors of `compile_sources`, and those of writing a zip.
    """
    layer_bytes = {layer.name: layer.unzipped_bytes for layer in layers}
    if plan.reused is not None:
        return tuple(
            replace(
                package,
                layers=function.layers,
                total_unzipped_bytes=package.unzipped_bytes + sum(layer_bytes[name] for name in function.layers),
            )
            for function, package in zip(service.functions, plan.reused, strict=True)
        )
    if plan.tree is None:
        raise ValueError("the package plan has no sources to pack")
    extra = compile_sources(service.bytecode, plan.tree, toolchain, store) if service.functions else ()
    packed = pack(service, plan.tree, directory, extra=extra, provided=_Provided(layers))
    return packages(service, packed, directory, layer_bytes=layer_bytes) if packed else ()


def _key(service: Service, sources: str) -> str:
    handlers = [[function.name, function.handler] for function in service.functions]
    bytecode = None if service.bytecode is BytecodeMode.NONE else [RECIPE, *service.target.python]
    return hashlib.sha256(json.dumps([_FORMAT, sources, handlers, bytecode]).encode()).hexdigest()


class _Provided:
    """The names of the top-level modules in the layers. The zips are read only when the first name is tested."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers

    def __contains__(self, module: object) -> bool:
        return module in self._modules

    @cached_property
    def _modules(self) -> frozenset[str]:
        import zipfile

        modules: set[str] = set()
        for layer in self._layers:
            with zipfile.ZipFile(layer.path) as archive:
                inner = [name.removeprefix("python/") for name in archive.namelist() if name.startswith("python/")]
            modules.update(name.partition("/")[0].removesuffix(".py") for name in inner)
        return frozenset(modules)
