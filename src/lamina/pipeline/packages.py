"""Bring the function packages to disk: walk the sources, pack; or find that what is there is them already."""

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
    from lamina.project.ignore import IgnoredFile
    from lamina.project.service import Service
    from lamina.project.snapshot import Snapshot
    from lamina.project.sources import SourceTree

__all__ = ["Packing", "pack_anew", "pack_functions"]

_FORMAT = 1


@frozen
class Packing:
    """The function packages, and what became of the sources."""

    packages: tuple[Package, ...]
    reused: bool
    key: str
    """What decides the packages' bytes."""
    left_out: tuple[IgnoredFile, ...]
    snapshot: Snapshot
    """What was looked at to decide which files are packed."""


def pack_functions(
    service: Service,
    tree: SourceTree,
    project: Path,
    previous: Previous,
    layers: Sequence[Layer],
    *,
    toolchain: Toolchain,
    store: Store,
) -> Packing:
    """
    Write the package of every function of *service* from its source *tree*, or leave those that stand.

    Raises PackageError and what writing a zip raises; the files that were there then still stand.
    """
    key = _key(service, fingerprint((file.path, file.sha256) for file in tree.files))
    layer_bytes = {layer.name: layer.unzipped_bytes for layer in layers}
    standing = [previous.package(function.name) for function in service.functions]
    if previous.sources == key and (kept := [package for package in standing if package is not None]) == standing:
        made = tuple(
            replace(
                package,
                layers=function.layers,
                total_unzipped_bytes=package.unzipped_bytes + sum(layer_bytes[name] for name in function.layers),
            )
            for function, package in zip(service.functions, kept, strict=True)
        )
        return Packing(packages=made, reused=True, key=key, left_out=tree.left_out, snapshot=tree.snapshot)
    directory = project / previous.output / "functions"
    packed = pack_anew(service, tree, directory, layers, toolchain=toolchain, store=store)
    return Packing(
        packages=packed,
        reused=not packed,
        key=key,
        left_out=tree.left_out,
        snapshot=tree.snapshot,
    )


def pack_anew(
    service: Service,
    tree: SourceTree,
    directory: Path,
    layers: Sequence[Layer],
    *,
    toolchain: Toolchain,
    store: Store,
) -> tuple[Package, ...]:
    """
    Write the package of every function of *service* into *directory*, from its source *tree*.

    Of the *layers* only the directories are read, and only for a handler that is not in the sources.
    Raises PackageError and what writing a zip raises; the files that were there then still stand.
    """
    layer_bytes = {layer.name: layer.unzipped_bytes for layer in layers}
    extra = compile_sources(service.bytecode, tree, toolchain, store) if service.functions else ()
    packed = pack(service, tree, directory, extra=extra, provided=_Provided(layers))
    return packages(service, packed, directory, layer_bytes=layer_bytes) if packed else ()


def _key(service: Service, sources: str) -> str:
    handlers = [[function.name, function.handler] for function in service.functions]
    bytecode = None if service.bytecode is BytecodeMode.NONE else [RECIPE, *service.target.python]
    return hashlib.sha256(json.dumps([_FORMAT, sources, handlers, bytecode]).encode()).hexdigest()


class _Provided:
    """The top-level modules of the layers, read from their zips when somebody asks, which is seldom."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers

    def __contains__(self, module: object) -> bool:
        return module in self._modules

    @cached_property
    def _modules(self) -> frozenset[str]:
        import zipfile  # noqa: PLC0415 - only a handler that is not in the sources needs it

        modules: set[str] = set()
        for layer in self._layers:
            with zipfile.ZipFile(layer.path) as archive:
                inner = [name.removeprefix("python/") for name in archive.namelist() if name.startswith("python/")]
            modules.update(name.partition("/")[0].removesuffix(".py") for name in inner)
        return frozenset(modules)
