"""Write the function packages, or reuse those of the last build if none of their inputs has changed."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.archive.handlers import check_handlers
from lamina.archive.package import pack, packages, unzipped_layers
from lamina.bytecode.segment import RECIPE, compile_sources
from lamina.core.frozen import frozen, replace
from lamina.core.paths import PREFIX
from lamina.pipeline.checks.common import View
from lamina.project.service import BytecodeMode
from lamina.project.sources import PackageSources, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.bytecode.toolchain import Toolchain
    from lamina.core.store import Store
    from lamina.core.values import Layer, Package
    from lamina.pipeline.previous import Previous
    from lamina.project.service import PackageConfig, Service
    from lamina.project.sources import SourceTree

_FORMAT = 1


@frozen
class PackagePlan:
    """The inputs of one function package, and the zips to reuse."""

    config: PackageConfig
    key: str
    """The digest of sources, handlers and bytecode mode."""
    tree: SourceTree | None
    """The package's sources and local packages; ``None`` if they were not read, because all packages are reused."""
    reused: tuple[Package, ...] | None
    """The last build's zips, one for each function; ``None`` if they have another key or a zip has changed."""
    reason: str
    """A short reason why the package is reused or built."""

    @property
    def sources(self) -> PackageSources | None:
        """The package with its sources; ``None`` if they were not read."""
        return None if self.tree is None else PackageSources(config=self.config, tree=self.tree)


def plan_packages(service: Service, sources: Sequence[PackageSources], previous: Previous) -> tuple[PackagePlan, ...]:
    """Return the plan for each package of *service*, from its *sources* and the packages of the *previous* build."""
    return tuple(_plan(service, each, previous) for each in sources)


def _plan(service: Service, sources: PackageSources, previous: Previous) -> PackagePlan:
    config, tree = sources.config, sources.tree
    key = _key(service, config, fingerprint((file.path, file.sha256) for file in tree.files))
    left, is_known = _left(config, previous), key in previous.left.sources
    if not config.functions or (is_known and left is not None):
        return PackagePlan(config=config, key=key, tree=tree, reused=left, reason="unchanged")
    reason = "a zip was changed or removed" if is_known else "sources, handlers or bytecode changed"
    return PackagePlan(
        config=config, key=key, tree=tree, reused=None, reason=reason if previous.build else "not built before"
    )


def unchanged_packages(service: Service, previous: Previous) -> tuple[PackagePlan, ...] | None:
    """Return plans that reuse all packages of the *previous* build, or ``None`` if one of its zips is missing or changed."""
    configs, keys = service.packages, previous.left.sources
    if len(configs) != len(keys):
        return None
    plans = [
        PackagePlan(config=config, key=key, tree=None, reused=_left(config, previous), reason="unchanged")
        for config, key in zip(configs, keys, strict=True)
    ]
    return None if any(plan.reused is None for plan in plans) else tuple(plans)


def all_sources(plans: Iterable[PackagePlan]) -> tuple[PackageSources, ...] | None:
    """Return the sources of all packages of *plans*, or ``None`` if some were not read."""
    found = [plan.sources for plan in plans]
    return None if None in found else tuple(sources for sources in found if sources is not None)


def _left(config: PackageConfig, previous: Previous) -> tuple[Package, ...] | None:
    packages = [previous.package(function.name) for function in config.functions]
    return None if None in packages else tuple(package for package in packages if package is not None)


def pack_functions(
    service: Service,
    plans: Sequence[PackagePlan],
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
    layer_bytes |= service.external_bytes
    new = all_sources(plan for plan in plans if plan.reused is None)
    if new is None:
        raise ValueError("the package plan has no sources to pack")
    # Check all packages before the first is written, so that one error lists every handler that is missing.
    check_handlers(new, target=service.target, provided=_Provided(layers), external=_external_modules(service))
    made = list(_reused(plans, layer_bytes))
    for sources in new:
        extra = compile_sources(service.bytecode, sources.tree, toolchain, store)
        packed = pack(sources, directory, extra=extra)
        made += packages(sources.config.functions, packed, directory, layer_bytes=layer_bytes) if packed else ()
    by_name = {package.name: package for package in made}
    return tuple(by_name[function.name] for function in service.functions)


def _reused(plans: Iterable[PackagePlan], layer_bytes: Mapping[str, int]) -> Iterator[Package]:
    """Yield the packages that are reused, with the current sizes of their layers in *layer_bytes*."""
    for plan in plans:
        if plan.reused is None:
            continue
        for function, package in zip(plan.config.functions, plan.reused, strict=True):
            total = package.unzipped_bytes + unzipped_layers(function, layer_bytes)
            yield replace(package, layers=function.layers, layer_arns=function.layer_arns, total_unzipped_bytes=total)


def _key(service: Service, config: PackageConfig, sources: str) -> str:
    handlers = [[function.name, function.handler] for function in config.functions]
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
        paths = [path for layer in self._layers for path in View(layer.path).members if path.startswith(PREFIX)]
        return frozenset(path.removeprefix(PREFIX).partition("/")[0].removesuffix(".py") for path in paths)


def _external_modules(service: Service) -> frozenset[str]:
    """Return the names of the top-level modules in the pinned layers by ARN."""
    modules = [name for pin in service.pinned for name in pin.contents.modules_for(service.target.python)]
    return frozenset(name.partition(".")[0] for name in modules)
