"""Write the function packages, with distributions if configured, or reuse those of the last build if no input has changed."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from lamina.archive.handlers import check_handlers
from lamina.archive.package import pack, packages, unzipped_layers
from lamina.bytecode.segment import RECIPE, compile_sources
from lamina.core.frozen import frozen, replace
from lamina.core.paths import PREFIX
from lamina.pipeline.checks.common import View
from lamina.pipeline.differences import differences
from lamina.pipeline.layers import LayerDraft, LayerPlan
from lamina.project.service import BytecodeMode
from lamina.project.sources import PackageSources, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.archive.package import Packed
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
    """The digest of sources, handlers, bytecode mode and distributions; empty while those are not decided."""
    tree: SourceTree | None
    """The package's sources and local packages; ``None`` if they were not read, because all packages are reused."""
    reused: tuple[Package, ...] | None
    """The last build's zips, one for each function; ``None`` if they have another key or a zip has changed."""
    reason: str
    """A short reason why the package is reused or built."""
    bundle: LayerDraft | LayerPlan | None = None
    """The distributions in the package; ``None`` if it has none, or if all packages are reused."""

    @property
    def is_decided(self) -> bool:
        """Whether the content of the package is known."""
        return self.bundle is None or isinstance(self.bundle, LayerPlan)

    @property
    def sources(self) -> PackageSources | None:
        """The package with its sources; ``None`` if they were not read."""
        return None if self.tree is None else PackageSources(config=self.config, tree=self.tree)


def plan_packages(
    service: Service,
    sources: Sequence[PackageSources],
    bundles: Sequence[LayerDraft | LayerPlan | None],
    previous: Previous,
) -> tuple[PackagePlan, ...]:
    """Return the plan for each package of *service*, from its *sources*, its *bundles* and the packages of the *previous* build."""
    return tuple(_plan(service, each, bundle, previous) for each, bundle in zip(sources, bundles, strict=True))


def _plan(
    service: Service, sources: PackageSources, bundle: LayerDraft | LayerPlan | None, previous: Previous
) -> PackagePlan:
    config, tree = sources.config, sources.tree
    if bundle is not None and not isinstance(bundle, LayerPlan):
        reason = "; ".join(filter(None, (_differences(config, bundle, previous), bundle.reason)))
        return PackagePlan(config=config, key="", tree=tree, reused=None, reason=reason, bundle=bundle)
    key = _key(service, config, fingerprint((file.path, file.sha256) for file in tree.files), bundle)
    left, is_known = _left(config, previous), key in previous.left.sources
    if not config.functions or (is_known and left is not None):
        return PackagePlan(config=config, key=key, tree=tree, reused=left, reason="unchanged", bundle=bundle)
    changes = _differences(config, bundle, previous) or "sources, handlers or bytecode changed"
    return PackagePlan(
        config=config,
        key=key,
        tree=tree,
        reused=None,
        reason="a zip was changed or removed" if is_known and previous.build else changes,
        bundle=bundle,
    )


def _differences(config: PackageConfig, bundle: LayerDraft | None, previous: Previous) -> str:
    """Return how the distributions of the package differ from those of its first function in the *previous* build; empty if they do not."""
    if previous.build is None:
        return "not built before"
    name = config.functions[0].name if config.functions else ""
    before = next((package.distributions for package in previous.build.packages if package.name == name), ())
    return differences(before, () if bundle is None else bundle.selection.pins)


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


class Bundler(Protocol):
    """Puts distributions into the zips of functions; `lamina.pipeline.artifacts.ArtifactProvider` is one."""

    def paths(self, draft: LayerDraft) -> frozenset[str]:
        """Return the paths of the files of *draft*'s distributions."""

    def package(self, plan: LayerPlan, sources: PackageSources, mode: BytecodeMode, directory: Path) -> Packed:
        """Write the zips of *sources* with the distributions of *plan* into *directory*."""

    def fitted(
        self, plan: LayerPlan, make: Callable[[LayerPlan], Packed], previous: Previous
    ) -> tuple[LayerPlan, Packed]:
        """Return *plan* with as much bytecode as fits, and what *make* returns for it."""


def pack_functions(
    service: Service,
    plans: Sequence[PackagePlan],
    directory: Path,
    layers: Sequence[Layer],
    *,
    toolchain: Toolchain,
    store: Store,
    bundler: Bundler | None = None,
    previous: Previous | None = None,
) -> tuple[tuple[PackagePlan, ...], tuple[Package, ...]]:
    """
    Return the package of every function of *service*, reusing existing packages or writing new ones into *directory*.

    If a handler is missing from the sources, search the zips of *layers* and the distributions in the package for its module. *bundler* puts
    distributions into packages; *previous* is the last build. Also return *plans*, with less bytecode where a zip would exceed Lambda's limit.
    Raises PackageError, the errors of `compile_sources` and of *bundler*, and those of writing a zip.
    """
    layer_bytes = {layer.name: layer.unzipped_bytes for layer in layers}
    layer_bytes |= service.external_bytes
    new = [plan for plan in plans if plan.reused is None]
    read = all_sources(new)
    if read is None:
        raise ValueError("the package plan has no sources to pack")
    # Check all packages before the first is written, so that one error lists every handler that is missing.
    provided = _Provided(layers, new, bundler)
    check_handlers(read, target=service.target, provided=provided, external=_external_modules(service))
    made = list(_reused(plans, layer_bytes))
    packing = _Packing(
        service=service,
        directory=directory,
        toolchain=toolchain,
        store=store,
        bundler=bundler,
        previous=previous,
    )
    done: dict[PackageConfig, PackagePlan] = {}
    for plan, sources in zip(new, read, strict=True):
        done[plan.config], packed = packing.pack(plan, sources)
        made += packages(sources.config.functions, packed, directory, layer_bytes=layer_bytes) if packed else ()
    by_name = {package.name: package for package in made}
    return (
        tuple(done.get(plan.config, plan) for plan in plans),
        tuple(by_name[function.name] for function in service.functions),
    )


@frozen
class _Packing:
    """What all packages of a service are written with."""

    service: Service
    directory: Path
    toolchain: Toolchain
    store: Store
    bundler: Bundler | None
    previous: Previous | None

    def pack(self, plan: PackagePlan, sources: PackageSources) -> tuple[PackagePlan, Packed | None]:
        """Write the zips of *plan*, and return the plan, as far as the zip fits with bytecode, and what the zip contains."""
        mode, bundle, bundler = self.service.bytecode, plan.bundle, self.bundler
        if not isinstance(bundle, LayerPlan) or bundler is None or self.previous is None:
            extra = compile_sources(mode, sources.tree, self.toolchain, self.store)
            return plan, pack(sources, self.directory, extra=extra)
        bundle, packed = bundler.fitted(
            bundle, lambda each: bundler.package(each, sources, mode, self.directory), self.previous
        )
        return replace(plan, bundle=bundle, key=_key(self.service, plan.config, packed.fingerprint, bundle)), packed


def _reused(plans: Iterable[PackagePlan], layer_bytes: Mapping[str, int]) -> Iterator[Package]:
    """Yield the packages that are reused, with the current sizes of their layers in *layer_bytes*."""
    for plan in plans:
        if plan.reused is None:
            continue
        for function, package in zip(plan.config.functions, plan.reused, strict=True):
            total = package.unzipped_bytes + unzipped_layers(function, layer_bytes)
            yield replace(
                package,
                layers=function.layers,
                layer_arns=function.layer_arns,
                packaging=function.packaging.value,
                bundled=function.bundled,
                total_unzipped_bytes=total,
            )


def _key(service: Service, config: PackageConfig, sources: str, bundle: LayerPlan | None) -> str:
    handlers = [[function.name, function.handler] for function in config.functions]
    bytecode = None if service.bytecode is BytecodeMode.NONE else [RECIPE, *service.target.python]
    distributions = [] if bundle is None else [bundle.digest]
    return hashlib.sha256(json.dumps([_FORMAT, sources, handlers, bytecode, *distributions]).encode()).hexdigest()


class _Provided:
    """The names of the top-level modules in layers and of distributions in packages, found when the first name is tested."""

    def __init__(self, layers: Sequence[Layer], plans: Sequence[PackagePlan], bundler: Bundler | None) -> None:
        self._layers = layers
        self._plans = plans
        self._bundler = bundler

    def __contains__(self, module: object) -> bool:
        return module in self._modules

    @cached_property
    def _modules(self) -> frozenset[str]:
        paths = [path for layer in self._layers for path in View(layer.path).members if path.startswith(PREFIX)]
        for plan in self._plans:
            if self._bundler is not None and plan.bundle is not None:
                paths += self._bundler.paths(plan.bundle)
        return frozenset(path.removeprefix(PREFIX).partition("/")[0].removesuffix(".py") for path in paths)


def _external_modules(service: Service) -> frozenset[str]:
    """Return the names of the top-level modules in the pinned layers by ARN."""
    modules = [name for pin in service.pinned for name in pin.contents.modules_for(service.target.python)]
    return frozenset(name.partition(".")[0] for name in modules)
