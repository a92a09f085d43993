"""Find what would bring layers below Lambda's limit, with the bytes that each setting saves, from the estimate of a build."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement

from lamina.adopt.requirements import importable
from lamina.bytecode.imports.scan import scan
from lamina.core.frozen import replace
from lamina.core.names import normalized
from lamina.pipeline.checks.common import listed
from lamina.pipeline.checks.modules import modules_of
from lamina.pipeline.checks.sdk import left_out
from lamina.pipeline.estimate import estimate
from lamina.pipeline.plan import resolve
from lamina.pipeline.preflight import estimated_findings
from lamina.project.service import SdkPolicy
from lamina.project.sources import walk

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from lamina.adopt.plan import AdoptionPlan
    from lamina.adopt.requirements import AdoptedDistribution
    from lamina.pipeline.context import BuildContext
    from lamina.pipeline.estimate import Estimate
    from lamina.project.service import Service

_TESTS = "**/tests/"


def reductions(plan: AdoptionPlan, context: BuildContext, service: Service) -> Iterator[str]:
    """
    Yield the settings that would make the layers of *service* smaller, each with the bytes that it saves, and whether they suffice.

    The sizes are those of the first target without bytecode, as far as the index states them. Raises the errors of planning a build.
    """
    build = resolve(context, service)
    before = estimate(build, context)[0]
    lighter = replace(service, layers=tuple(replace(each, exclude=(*each.exclude, _TESTS)) for each in service.layers))
    after = estimate(resolve(context, lighter), context)[0]
    unused = _unused({name for layer in before for name in _sizes(layer)}, plan, service)
    runtime = left_out(replace(service, sdk=SdkPolicy.RUNTIME)) - left_out(service)
    for layer in before:
        if found := {name: size for name, size in _sizes(layer).items() if name in unused - runtime}:
            names = sorted(found, key=lambda name: (-found[name], name))
            written = ", ".join(f'"{name}"' for name in names)
            yield (
                f"`without = [{written}]` in `[tool.lamina.layers.{layer.name}]` saves "
                f"{sum(found.values()):,} bytes: no handler imports {_shown(found, names)}, as far as the metadata of the layer says"
            )
    if of_runtime := {name: size for layer in before for name, size in _sizes(layer).items() if name in runtime}:
        yield (
            f'`sdk = "runtime"` in `[tool.lamina]` saves {sum(of_runtime.values()):,} bytes: the runtime provides {listed(sorted(of_runtime))}'
        )
    tests = _total(before) - _total(after)
    if tests > 0:
        yield f'`exclude = ["{_TESTS}"]` in `[tool.lamina]` saves {tests:,} bytes of tests'
    left = [_without(each, unused | runtime) for each in after]
    if (saved := _total(before) - _total(left)) > 0:
        is_enough = not estimated_findings(build.targets[0], left)
        yield f"together they save {saved:,} bytes, which is {'enough' if is_enough else 'not enough: exclude other files, too'}"


def _sizes(layer: Estimate) -> dict[str, int]:
    return {share.pin.name: share.outline.unzipped_bytes for share in layer.shares if share.outline}


def _total(layers: Iterable[Estimate]) -> int:
    return sum(layer.unzipped_bytes for layer in layers)


def _without(layer: Estimate, names: Collection[str]) -> Estimate:
    return dataclasses.replace(layer, shares=tuple(each for each in layer.shares if each.pin.name not in names))


def _shown(sizes: Mapping[str, int], names: Iterable[str]) -> str:
    return ", ".join(f"`{name}` ({sizes[name]:,})" for name in names)


def _unused(names: Collection[str], plan: AdoptionPlan, service: Service) -> frozenset[str]:
    """Return those of *names* that come with the layer of *plan*, and that no handler of *service* imports, nor what it imports requires."""
    distributions = importable(plan.archive, service.target)
    modules = {each.name: each.modules for each in distributions}
    imported = {*_imports(service), *(each.handler.rpartition(".")[0] for each in plan.kept)}
    direct = {
        name
        for name in names
        if any(_are_related(module, other) for module in modules.get(name) or modules_of(name) for other in imported)
    }
    needs = _needs(distributions)
    adopted = _closure({*(each.name for each in plan.requirements), *needs}, needs)
    return frozenset(adopted & set(names)) - _closure(direct, needs)


def _imports(service: Service) -> Iterator[str]:
    """Yield the modules that the service's own code imports or names."""
    for package in service.packages:
        for file in walk(service.root, package.source, service.include).files:
            if file.path.endswith(".py"):
                found = scan(file.read(), python=service.target.python)
                yield from found.names
                yield from (each.module for each in found.imports if not each.level)


def _are_related(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _needs(distributions: Iterable[AdoptedDistribution]) -> dict[str, set[str]]:
    """Return the names of the distributions that each of *distributions* requires under any condition."""
    found: dict[str, set[str]] = {}
    for each in distributions:
        names = found.setdefault(each.name, set())
        for text in each.requires:
            # Metadata of others is not always valid.
            with suppress(InvalidRequirement):
                names.add(normalized(Requirement(text).name))
    return found


def _closure(names: Iterable[str], needs: Mapping[str, Collection[str]]) -> set[str]:
    found, waiting = set[str](), list(names)
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += needs.get(name, ())
    return found
