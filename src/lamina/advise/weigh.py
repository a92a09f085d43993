"""
Weigh layouts: compute the sizes of the zips that a build with each layout writes, without writing them.

The plan of each layout is completed as for a build, and its zips are composed of the same segments, so the sizes equal those of the
files. The store keeps the sizes of a zip under its digest and Lambda's limit, which decide every byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.advise.deploys import WeighedArchive
from lamina.advise.layouts import plan_of
from lamina.advise.values import WeighedDistribution
from lamina.archive.package import pack
from lamina.bytecode.segment import compile_sources
from lamina.core.store import key_of
from lamina.core.target import quotas
from lamina.core.temporary import temporary_directory
from lamina.pipeline.layers import LayerPlan
from lamina.pipeline.packages import all_sources
from lamina.pipeline.plan import complete
from lamina.project.service import Packaging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from lamina.advise.values import Layout
    from lamina.core.store import Store
    from lamina.core.values import Distribution, Pin
    from lamina.pipeline.artifacts import ArtifactProvider
    from lamina.pipeline.packages import PackagePlan
    from lamina.pipeline.plan import TargetPlan
    from lamina.project.service import Function

WEIGHTS_AREA = "weights"
"""The area of the store with the sizes of layers and zips that were weighed."""
_FORMAT = 2


class WeighedZip(NamedTuple):
    """The sizes of one zip, and the share of each distribution in it."""

    zipped_bytes: int
    unzipped_bytes: int
    distributions: tuple[WeighedDistribution, ...]


class ZipSizes:
    """Computes the sizes of the zips of one target."""

    def __init__(self, artifacts: ArtifactProvider, store: Store) -> None:
        self._artifacts = artifacts
        self._store = store

    def complete(self, layout: Layout, plan: TargetPlan, pins: Mapping[str, Pin]) -> TargetPlan:
        """
        Return the complete plan of *layout*, in place of the layout of *plan*. *pins* are the distributions by name.

        Raises the errors of planning, and of fetching wheels.
        """
        return complete(plan_of(layout, plan, pins), self._artifacts)

    def weigh_plan(self, plan: TargetPlan) -> tuple[WeighedArchive, ...]:
        """
        Return the zips that a build of *plan*, which is complete, writes.

        Raises the errors of building layers and packages.
        """
        return (*(self._weighed_layer(each, plan) for each in plan.decided), *self._packages(plan))

    def _weighed_layer(self, layer: LayerPlan, plan: TargetPlan) -> WeighedArchive:
        found = self.layer(layer, plan)
        return WeighedArchive(
            kind=Packaging.LAYER,
            name=layer.name,
            functions=tuple(each.name for each in plan.service.functions if layer.name in each.layers),
            distributions=frozenset(each.name for each in found.distributions),
            zipped_bytes=found.zipped_bytes,
            unzipped_bytes=found.unzipped_bytes,
        )

    def layer(self, layer: LayerPlan, plan: TargetPlan) -> WeighedZip:
        """Return the sizes of *layer*, from the last build or the store if they are known."""

        def weighed() -> WeighedZip:
            _, made = self._artifacts.fitted(
                layer, lambda each: each.reused or self._artifacts.measure(each), plan.previous
            )
            return WeighedZip(made.zipped_bytes, made.unzipped_bytes, _shares(made.distributions))

        return self._kept(key_of(_FORMAT, quotas().unzipped_bytes, layer.digest), weighed)

    def _kept(self, key: str, weighed: Callable[[], WeighedZip]) -> WeighedZip:
        """Return the sizes that the store has under *key*, which knows Lambda's limit: a zip has less bytecode if it does not fit otherwise."""
        place = self._store.entry(WEIGHTS_AREA, key, ".json")
        known = self._store.read_document(place, _parsed)
        if known is None:
            known = weighed()
            self._store.write_document(place, _document(known))
        return known

    def _packages(self, plan: TargetPlan) -> Iterator[WeighedArchive]:
        """Yield the zips of functions."""
        read = all_sources(plan.package_plans) or self._artifacts.sources(plan.service, plan.local, fetch=True) or ()
        for package, sources in zip(plan.package_plans, read, strict=True):
            if not package.config.functions:
                continue
            found = self._package(package, plan)
            files = {file.path: file.origin for file in sources.tree.files}
            yield WeighedArchive(
                kind=Packaging.ZIP,
                name=package.config.functions[0].name,
                functions=tuple(each.name for each in package.config.functions),
                distributions=frozenset(each.name for each in found.distributions),
                handlers=tuple(_handler(each, files) for each in package.config.functions),
                sources=frozenset(files.values()),
                zipped_bytes=found.zipped_bytes,
                unzipped_bytes=found.unzipped_bytes,
            )

    def _package(self, package: PackagePlan, plan: TargetPlan) -> WeighedZip:
        if package.reused:
            made = package.reused[0]
            return WeighedZip(made.zipped_bytes, made.unzipped_bytes, _shares(made.distributions))
        key = key_of(_FORMAT, quotas().unzipped_bytes, "package", package.key)
        return self._kept(key, lambda: self._packed(package, plan))

    def _packed(self, package: PackagePlan, plan: TargetPlan) -> WeighedZip:
        sources, mode, bundle = package.sources, plan.service.bytecode, package.bundle
        if sources is None:
            raise ValueError("the plan has no sources to pack")
        if not isinstance(bundle, LayerPlan):
            extra = compile_sources(mode, sources.tree, self._artifacts.toolchain, self._store)
            with temporary_directory("weigh") as directory:
                packed = pack(sources, directory, extra=extra)
            if packed is None:
                raise ValueError("the package has no functions")
            return WeighedZip(packed.zipped_bytes, packed.unzipped_bytes, ())
        _, made = self._artifacts.fitted(
            bundle, lambda each: self._artifacts.measure_package(each, sources, mode), plan.previous
        )
        return WeighedZip(made.zipped_bytes, made.unzipped_bytes, _shares(made.distributions))


def _handler(function: Function, files: Mapping[str, Path]) -> Path | None:
    """Return the file of the handler of *function* among *files*, by path in the package; ``None`` if a distribution has it."""
    path = function.module.replace(".", "/")
    return files.get(f"{path}.py") or files.get(f"{path}/__init__.py")


def _shares(distributions: Iterable[Distribution]) -> tuple[WeighedDistribution, ...]:
    return tuple(
        WeighedDistribution(
            name=each.name,
            version=each.version,
            zipped_bytes=each.zipped_bytes,
            unzipped_bytes=each.unzipped_bytes + each.bytecode_bytes,
        )
        for each in distributions
    )


def _parsed(content: Mapping[str, Any]) -> WeighedZip:
    return WeighedZip(
        zipped_bytes=int(content["zipped_bytes"]),
        unzipped_bytes=int(content["unzipped_bytes"]),
        distributions=tuple(
            WeighedDistribution(
                name=str(name), version=str(version), zipped_bytes=int(zipped), unzipped_bytes=int(unzipped)
            )
            for name, version, zipped, unzipped in content["distributions"]
        ),
    )


def _document(weighed: WeighedZip) -> dict[str, Any]:
    rows = [[each.name, each.version, each.zipped_bytes, each.unzipped_bytes] for each in weighed.distributions]
    return {"zipped_bytes": weighed.zipped_bytes, "unzipped_bytes": weighed.unzipped_bytes, "distributions": rows}
