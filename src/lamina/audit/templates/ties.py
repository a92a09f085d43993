"""Find what lamina builds for a function or layer of a deploy description."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.frozen import frozen
from lamina.core.values import Layer, Package

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lamina.audit.inspection import Inspection
    from lamina.audit.templates.descriptions import ReadDescription
    from lamina.core.values import Build
    from lamina.project.service import Function
    from lamina.project.templates.types import Deployed

_QUALIFIED = 2
"""How many dots a handler has at least that names its function in a whole repository, such as ``orders.create.handler``."""


@frozen
class Fitting:
    """A runtime and the architectures on which something that lamina builds works."""

    runtime: str
    architectures: tuple[str, ...]


def fitting_function(function: Deployed, description: ReadDescription, inspection: Inspection) -> tuple[Fitting, ...]:
    """
    Return on what the function works, once for each target; nothing if lamina does not build it.

    A function that deploys a zip of lamina's is that of one target. Otherwise the name or the handler tells, and each target
    counts. A handler tells nothing if another function of *description* has the name.
    """
    exact = list(_exact(function, description, inspection))
    if exact:
        return tuple(dict.fromkeys(exact))
    return tuple(
        dict.fromkeys(
            _fitting(build, _layers(build, package.layers))
            for build in inspection.builds
            for package in build.packages
            if _is_named(function, package) and not _is_another(function, package, description)
        )
    )


def fitting_layer(layer: Deployed, description: ReadDescription, inspection: Inspection) -> Fitting | None:
    """Return on what the layer of *description* works, or ``None`` if lamina does not build it."""
    found = built_layers(layer, description, inspection)
    return next((_fitting(build, [own]) for build, own in found), None)


def built_layers(
    layer: Deployed | None, description: ReadDescription, inspection: Inspection
) -> Iterator[tuple[Build, Layer]]:
    """Yield the layers that lamina builds with the content of *layer*, each with its build."""
    path = description.path(layer)
    for build, own in () if path is None else inspection.outputs.copied(path):
        if isinstance(own, Layer):
            yield build, own


def _exact(function: Deployed, description: ReadDescription, inspection: Inspection) -> Iterator[Fitting]:
    path = description.path(function)
    for build, package in () if path is None else inspection.outputs.copied(path):
        if isinstance(package, Package):
            yield _fitting(build, _layers(build, package.layers))
    for stated in function.layers:
        for build, own in built_layers(description.layer(stated.value), description, inspection):
            yield _fitting(build, [own])


def _fitting(build: Build, layers: Sequence[Layer]) -> Fitting:
    offered = build.target.offered_architectures
    common = tuple(each for each in offered if all(each in build.architectures(layer) for layer in layers))
    return Fitting(runtime=build.target.runtime, architectures=common)


def _layers(build: Build, names: Iterable[str]) -> list[Layer]:
    return [layer for layer in build.layers if layer.name in names]


def _is_named(function: Deployed, package: Package) -> bool:
    """Return whether *function* has the name of *package*, or its handler if that is distinctive."""
    is_distinctive = package.handler.replace("/", ".").count(".") >= _QUALIFIED
    return package.name in function.names or (is_distinctive and function.handler == package.handler)


def _is_another(function: Deployed, package: Package, description: ReadDescription) -> bool:
    """Return whether another function than *function* has the name of *package* in *description*, or deploys its zip."""
    return package.name in description.names and package.name not in function.claimed_names


def configured_function(function: Deployed, description: ReadDescription, inspection: Inspection) -> Function | None:
    """Return the configured function that *function* is: the one with its name, or the only one that its name or handler tells."""
    names = {
        package.name
        for package in inspection.builds[0].packages
        if _is_named(function, package) and not _is_another(function, package, description)
    }
    known = [each for each in inspection.service.functions if each.name in names]
    return next((each for each in known if each.name == function.name), known[0] if len(known) == 1 else None)
