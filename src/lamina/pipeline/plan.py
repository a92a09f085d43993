"""
Resolve a service into a plan: what each layer holds, its digest, and what the last build left of it.

::

    Service, lock ──resolve──▶ BuildPlan ──apply──▶ Result

`build`, its dry run, `publish`, `deploy` and the constructs take the same plan. Resolving fetches nothing, builds nothing and writes
nothing into the project; the store keeps what was read of locks and imports. A digest that depends on wheels that the store does not hold is ``None``, with the reason; `complete` decides
it once they may be fetched. The one exception is hashed requirements, which name no files: their index is asked once, and its answer kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.archive.segment import Recipe
from lamina.bytecode.choice import Closure
from lamina.core.frozen import frozen, replace
from lamina.core.text import count
from lamina.core.values import SourcePin
from lamina.lock import formats
from lamina.lock.cache import CachedSelection, keep, recall
from lamina.pipeline import report, state
from lamina.pipeline.apportion import apportion
from lamina.pipeline.artifacts import ArtifactProvider
from lamina.pipeline.checks import configuration, sdk
from lamina.pipeline.layers import LayerDraft, LayerPlan, known_difference
from lamina.pipeline.packages import PackagePlan, plan_packages, unchanged_packages
from lamina.pipeline.previous import Previous
from lamina.project.profile import PROFILE
from lamina.project.snapshot import Snapshot, take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.core.values import Finding, Pin, Selection
    from lamina.lock.types import LockFile
    from lamina.pipeline.context import BuildContext
    from lamina.project.service import LayerConfig, Service


@frozen
class TargetPlan:
    """What a build does for one target."""

    service: Service
    """With this one target."""
    layers: tuple[LayerDraft | LayerPlan, ...]
    missing: tuple[Pin, ...] = ()
    """Locked artifacts that the store does not hold, of layers that are to be made."""
    local: tuple[SourcePin, ...]
    """First-party packages that go into the function packages."""
    inputs: Snapshot
    """Every file whose content decided the plan, and the directories where another lock might appear, as they were."""
    previous: Previous
    is_unchanged: bool
    """Whether nothing at all has changed since the last build."""
    findings: tuple[Finding, ...] = ()
    """Mistakes of the configuration that only the lock shows."""
    packages: PackagePlan | None = None
    """What decides the function packages; ``None`` until local packages are built."""

    @property
    def place(self) -> str:
        """Where the outputs go, relative to the project."""
        return self.previous.output

    @property
    def decided(self) -> tuple[LayerPlan, ...]:
        """The layers whose digest is known; all of them once the plan is complete."""
        return tuple(layer for layer in self.layers if isinstance(layer, LayerPlan))

    @property
    def package_plan(self) -> PackagePlan:
        """What decides the function packages; raises ValueError for a plan that is not complete."""
        if self.packages is None:
            raise ValueError("local packages have not been built yet")
        return self.packages

    @property
    def reused(self) -> bool:
        """Whether the last build left every layer and package as this one would make them."""
        layers = [layer for layer in self.decided if layer.reused is not None]
        return len(layers) == len(self.layers) and self.packages is not None and self.packages.reused is not None


@frozen
class BuildPlan:
    """What a build does, for all targets of a service."""

    service: Service
    targets: tuple[TargetPlan, ...]
    """The first one is the main target."""

    @property
    def is_current(self) -> bool:
        """Whether no other build of the project has finished since this was resolved, and what it reuses is still there."""
        return all(
            previous == each.previous
            and all(layer.reused == previous.layer(layer.name) for layer in each.decided if layer.reused is not None)
            for each in self.targets
            for previous in [Previous.of(each.previous.project, each.place)]
        )

    @property
    def missing(self) -> tuple[Pin, ...]:
        """Locked artifacts that the store does not hold, each once."""
        return tuple({pin.sha256: pin for target in self.targets for pin in target.missing}.values())


def resolve(context: BuildContext, service: Service) -> BuildPlan:
    """
    Decide what each layer of *service* holds, for each of its targets, and what of it the last build left.

    Raises ConfigError, LockError, LocalBuildError, BytecodeError where imports must be followed and the target's interpreter is missing,
    and FetchError where an index must be asked for the files of locked hashes.
    """
    places = (report.OUTPUT_DIRECTORY, *(report.place_of(target) for target in service.others))
    services = [replace(service, target=target, others=()) for target in (service.target, *service.others)]
    is_unchanged = state.recall(str(context.project), context.options.asked()) is not None
    return BuildPlan(
        service=service,
        targets=tuple(
            _resolve_target(context, each, place, is_unchanged=is_unchanged)
            for each, place in zip(services, places, strict=True)
        ),
    )


def complete(plan: TargetPlan, artifacts: ArtifactProvider, *, fetch: bool = True) -> TargetPlan:
    """
    Return *plan* with the digests, the sources and the packages that it lacks.

    Without *fetch* only what is in the store is read, and what depends on anything else stays ``None``.
    Raises as `resolve` does, and with *fetch* whatever fetching and building wheels raise.
    """
    service, previous = plan.service, plan.previous
    packages = plan.packages
    if packages is None:
        tree = artifacts.sources(service, plan.local, fetch=fetch and not plan.is_unchanged)
        if tree is not None:
            packages = plan_packages(service, tree, previous)
        elif plan.is_unchanged:
            packages = unchanged_packages(service, previous)
    sources = None if packages is None else packages.tree
    layers: list[LayerDraft | LayerPlan] = []
    needed: dict[str, Pin] = {}
    for layer in plan.layers:
        decided = layer
        if not isinstance(layer, LayerPlan):
            closure = closure_of(layer, plan.layers, service)
            bytecode = artifacts.choose_bytecode(service, closure, sources, fetch=fetch)
            if bytecode is None:
                needed |= {pin.sha256: pin for pin in closure.pins}
                lacking = plan.local if sources is None else artifacts.wheels.lacking(closure.pins)
                difference = known_difference(layer, previous)
                reason = "; ".join(filter(None, (difference, _why_unknown(lacking))))
                decided = replace(layer, reason=reason, differs=bool(difference))
            else:
                decided = LayerPlan.of(layer, bytecode, previous)
        layers.append(decided)
        if not isinstance(decided, LayerPlan) or decided.reused is None:
            needed |= {pin.sha256: pin for pin in layer.selection.pins}
    lacking = artifacts.wheels.lacking(needed.values())
    missing = plan.missing if fetch else tuple(pin for pin in lacking if not isinstance(pin, SourcePin))
    return replace(plan, layers=tuple(layers), packages=packages, missing=missing)


def closure_of(layer: LayerDraft, layers: Sequence[LayerDraft], service: Service) -> Closure:
    """Return what the functions of *layer*, one of *layers*, can import from."""
    functions = tuple(function for function in service.functions if layer.name in function.layers)
    others = {name for function in functions for name in function.layers} - {layer.name}
    pins = {pin.name: pin for pin in layer.selection.pins}
    for other in layers:
        if other.name in others:
            pins = {pin.name: pin for pin in other.selection.pins} | pins
    return Closure(functions=functions, pins=tuple(pins[name] for name in sorted(pins)), recipe=layer.recipe)


def _resolve_target(context: BuildContext, service: Service, place: str, *, is_unchanged: bool) -> TargetPlan:
    project = context.project
    lock_file = formats.find(project, service.lock)
    selections: dict[tuple[tuple[str, ...], tuple[str, ...]], Selection] = {}
    local: dict[str, SourcePin] = {}
    inputs = dict.fromkeys(service.inputs)
    chosen: dict[str, Selection] = {}
    for config in service.layers:
        choice = (config.groups, config.extras)
        if choice not in selections:
            cached = _selection(context, service, config, lock_file)
            selections[choice], apart = _with_sources(cached.selection, service)
            local |= {pin.sha256: pin for pin in apart}
            inputs |= dict.fromkeys(cached.inputs)
        chosen[config.name] = selections[choice]
    shares = apportion(service.layers, chosen, everywhere=sdk.left_out(service))
    drafts = [
        LayerDraft(config=config, selection=shares[config.name], recipe=Recipe(exclude=config.exclude))
        for config in service.layers
    ]
    previous = Previous.of(project, place)
    layers = tuple(
        LayerPlan.unchanged(draft, left) if is_unchanged and (left := previous.layer(draft.name)) else draft
        for draft in drafts
    )
    built = [pin for layer in layers for pin in layer.selection.pins if isinstance(pin, SourcePin)]
    plan = TargetPlan(
        service=service,
        layers=layers,
        local=tuple(local.values()),
        inputs=take(
            project,
            [
                *inputs,
                *dict.fromkeys(path for pin in (*local.values(), *built) for path in pin.inputs),
                *formats.searched(lock_file, project, service.lock),
                project / PROFILE,
            ],
        ),
        previous=previous,
        is_unchanged=is_unchanged,
        findings=configuration.check(service, chosen),
    )
    with ArtifactProvider(context, service.target) as artifacts:
        return complete(plan, artifacts, fetch=False)


def _selection(context: BuildContext, service: Service, layer: LayerConfig, lock_file: LockFile) -> CachedSelection:
    """Return what the lock holds for *layer*; a lock that was read before is not parsed again."""
    cached = recall(lock_file, layer, service.target, context.store)
    if cached is not None:
        return cached
    from lamina.lock.select import select

    lock = formats.read(lock_file, target=service.target, groups=layer.groups, extras=layer.extras, index=context.index)
    selection = select(lock, target=service.target)
    keep(selection, lock.inputs, lock_file, layer, store=context.store)
    return CachedSelection(selection, lock.inputs)


def _with_sources(selection: Selection, service: Service) -> tuple[Selection, tuple[SourcePin, ...]]:
    """Return *selection* with pins for what has to be built, and apart from it what goes into the function packages."""
    if not selection.sources:
        return selection, ()
    from lamina.fetch.source.assignment import assign

    return assign(selection, service)


def _why_unknown(lacking: Sequence[Pin]) -> str:
    built = [pin for pin in lacking if isinstance(pin, SourcePin)]
    counts = [f"{count(len(lacking) - len(built), 'wheel')} not fetched yet"] if len(built) < len(lacking) else []
    counts += [f"not built yet: {', '.join(f'`{pin.name}`' for pin in built)}"] if built else []
    return f"imports not analysed yet: {'; '.join(counts)}"
