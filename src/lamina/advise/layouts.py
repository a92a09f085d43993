"""Make the layouts to compare, and the plan of a build for each. Pure: needs and a plan in, layouts and plans out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.advise.values import Layout, LayoutFunction, LayoutLayer
from lamina.core.errors import ConfigError
from lamina.core.frozen import replace
from lamina.pipeline.checks.common import listed
from lamina.pipeline.layers import LayerDraft, bundle_draft
from lamina.project.functions import DEFAULT_LAYER
from lamina.project.service import LayerConfig, Packaging

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.advise.values import Needs
    from lamina.core.values import Pin
    from lamina.pipeline.plan import TargetPlan
    from lamina.project.service import Service


def check_excludes(service: Service) -> None:
    """Raise `ConfigError` if the layers of *service* have different ``exclude``: other layouts would have files that none has now, or lack some."""
    if len({frozenset(layer.exclude) for layer in service.selected}) > 1:
        raise ConfigError(
            f"layers {listed([layer.name for layer in service.selected])} have different `exclude`, so other packagings cannot be compared",
            hint="set `exclude` in `[tool.lamina]` for all layers",
        )


def configured(plan: TargetPlan) -> Layout:
    """Return the layout that the configuration of *plan* has now."""
    service = plan.service
    held = {draft.name: frozenset(pin.name for pin in draft.selection.pins) for draft in plan.layers}
    zipped: dict[str, LayoutLayer] = {}
    for package, bundle in zip(service.packages, plan.bundles, strict=True):
        if bundle is not None:
            names = frozenset(pin.name for pin in bundle.selection.pins)
            zipped |= {each.name: LayoutLayer(name=bundle.name, distributions=names) for each in package.functions}
    return Layout(
        title="as configured",
        layers=(
            *(LayoutLayer(name=name, distributions=names) for name, names in held.items()),
            *dict.fromkeys(zipped.values()),
        ),
        functions=tuple(
            LayoutFunction(
                name=each.name,
                packaging=each.packaging,
                layers=(zipped[each.name].name,) if each.name in zipped else each.layers,
            )
            for each in service.functions
        ),
    )


def zips_with_everything(needs: Needs) -> Layout:
    """Return the layout in which each function's zip has all distributions."""
    return _with_one_set(needs, "zip per function, everything in each", Packaging.ZIP)


def one_layer(needs: Needs) -> Layout:
    """Return the layout in which all functions have one layer with all distributions."""
    return _with_one_set(needs, "one shared layer", Packaging.LAYER)


def _with_one_set(needs: Needs, title: str, packaging: Packaging) -> Layout:
    everything = frozenset(each.name for each in needs.distributions)
    return Layout(
        title=title,
        layers=(LayoutLayer(name=DEFAULT_LAYER, distributions=everything),),
        functions=tuple(
            LayoutFunction(name=each.function, packaging=packaging, layers=(DEFAULT_LAYER,)) for each in needs.functions
        ),
    )


def layer_for_each(needs: Needs) -> Layout:
    """Return the layout in which each distribution is a layer that all functions have. It is only weighed: Lambda allows five layers."""
    names = tuple(each.name for each in needs.distributions)
    return Layout(
        title="a layer for each distribution",
        layers=tuple(LayoutLayer(name=name, distributions=frozenset({name})) for name in names),
        functions=tuple(
            LayoutFunction(name=each.function, packaging=Packaging.LAYER, layers=names) for each in needs.functions
        ),
    )


def zips_with_needed(needs: Needs) -> Layout:
    """Return the layout in which each function's zip has only what the function needs."""
    names: dict[frozenset[str], str] = {}
    for each in needs.functions:
        names.setdefault(each.distributions, f"only-{each.function}")
    return Layout(
        title="zip per function, only what it needs",
        layers=tuple(LayoutLayer(name=name, distributions=held) for held, name in names.items()),
        functions=tuple(
            LayoutFunction(name=each.function, packaging=Packaging.ZIP, layers=(names[each.distributions],))
            for each in needs.functions
        ),
    )


def plan_of(layout: Layout, plan: TargetPlan, pins: Mapping[str, Pin]) -> TargetPlan:
    """Return the plan of a build with *layout* in place of that of *plan*, without digests. *pins* are the distributions by name."""
    service = service_of(layout, plan.service)
    first = plan.contents[0]
    shares = {
        layer.name: replace(first.selection, pins=tuple(pins[name] for name in layer.only or ()))
        for layer in service.selected
    }
    return replace(
        plan,
        service=service,
        layers=tuple(
            LayerDraft(config=layer, selection=shares[layer.name], recipe=first.recipe.modules)
            for layer in service.layers
        ),
        bundles=tuple(bundle_draft(package, service.selected, shares) for package in service.packages),
        missing=(),
        is_unchanged=False,
        findings=(),
        packages=None,
    )


def service_of(layout: Layout, service: Service) -> Service:
    """Return *service* with *layout*, each set of distributions as the key ``only`` has it."""
    first = service.selected[0]
    by_name = {
        each.name: LayerConfig(
            name=each.name,
            groups=first.groups,
            extras=first.extras,
            exclude=first.exclude,
            only=tuple(sorted(each.distributions)),
        )
        for each in layout.layers
    }
    attached = {name for each in layout.functions if each.packaging is Packaging.LAYER for name in each.layers}
    chosen = {each.name: each for each in layout.functions}
    functions = tuple(
        replace(
            function,
            packaging=chosen[function.name].packaging,
            layers=chosen[function.name].layers if chosen[function.name].packaging is Packaging.LAYER else (),
            bundled=chosen[function.name].layers if chosen[function.name].packaging is Packaging.ZIP else (),
        )
        for function in service.functions
    )
    return replace(
        service,
        functions=functions,
        layers=tuple(each for name, each in by_name.items() if name in attached),
        bundles=tuple(each for name, each in by_name.items() if name not in attached),
    )
