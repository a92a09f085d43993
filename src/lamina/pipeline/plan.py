"""
Resolve a service into a plan: the content and digest of each layer, and the outputs of the last build to reuse.

::

    Service, lock ──resolve──▶ BuildPlan ──apply──▶ Result

`build`, its dry run, `publish`, `deploy` and the constructs use the same plan. Resolving downloads nothing, builds nothing
and writes nothing into the project. It records parsed lock files and imports in the store.

If a layer's digest depends on wheels that are missing from the store, the plan has a `LayerDraft` with the reason instead
of a `LayerPlan`; `complete` fetches the wheels and computes the digest. There is one exception to "downloads nothing":
hashed requirements do not name files, so resolving requests the files' names from the index once and stores them.
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
from lamina.pipeline.checks import configuration, left_out, sdk
from lamina.pipeline.layers import LayerDraft, LayerPlan, known_difference
from lamina.pipeline.packages import PackagePlan, all_sources, plan_packages, unchanged_packages
from lamina.pipeline.previous import Previous
from lamina.project.profile import PROFILE
from lamina.project.repository import commit_files
from lamina.project.service import BytecodeMode
from lamina.project.snapshot import Snapshot, take
from lamina.project.sources import walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.core.values import Finding, Pin, Selection
    from lamina.lock.types import LockFile
    from lamina.pipeline.context import BuildContext
    from lamina.project.service import LayerConfig, Service
    from lamina.project.sources import PackageSources, SourceFile, SourceTree


@frozen
class TargetPlan:
    """The plan of a build for one target."""

    service: Service
    """The service, with this target only."""
    layers: tuple[LayerDraft | LayerPlan, ...]
    missing: tuple[Pin, ...] = ()
    """The locked artifacts to download: those of layers that must be built, as far as the store lacks them."""
    local: tuple[SourcePin, ...]
    """The local packages to add to the function packages."""
    own_code: SourceTree | None = None
    """The service's own code for layers; ``None`` if no layer to plan contains it."""
    inputs: Snapshot
    """The state of every file that decided the plan, and of the directories where another lock file might appear."""
    previous: Previous
    is_unchanged: bool
    """Whether no input, option or output has changed since the last build, according to file stats."""
    findings: tuple[Finding, ...] = ()
    """Configuration mistakes that are only visible together with the lock file, and files that are left out."""
    packages: tuple[PackagePlan, ...] | None = None
    """The plan for each function package; ``None`` while local packages must still be built."""

    @property
    def place(self) -> str:
        """The output directory, relative to the project."""
        return self.previous.output

    @property
    def decided(self) -> tuple[LayerPlan, ...]:
        """The layers whose digest is known; all layers, once the plan is complete."""
        return tuple(layer for layer in self.layers if isinstance(layer, LayerPlan))

    @property
    def package_plans(self) -> tuple[PackagePlan, ...]:
        """The plan for each function package. Raises ValueError if the plan is not complete."""
        if self.packages is None:
            raise ValueError("the plan is not complete, because local packages have not been built yet")
        return self.packages

    @property
    def reused(self) -> bool:
        """Whether every layer and package is reused from the last build, so nothing is built."""
        layers = [layer for layer in self.decided if layer.reused is not None]
        packages = [] if self.packages is None else [plan for plan in self.packages if plan.reused is not None]
        return len(layers) == len(self.layers) and self.packages is not None and len(packages) == len(self.packages)

    @property
    def needs_interpreter(self) -> bool:
        """Whether applying the plan requires an interpreter of the target's minor version, to compile bytecode."""
        return self.service.bytecode is not BytecodeMode.NONE and not self.reused


@frozen
class BuildPlan:
    """The plan of a build for all targets of a service."""

    service: Service
    targets: tuple[TargetPlan, ...]
    """One plan for each target, starting with the main target."""

    @property
    def is_current(self) -> bool:
        """Whether, since this plan was resolved, no build of the project has finished and no reused output has changed."""
        return all(
            previous == each.previous
            and all(layer.reused == previous.layer(layer.name) for layer in each.decided if layer.reused is not None)
            for each in self.targets
            for previous in [Previous.of(each.previous.project, each.place)]
        )

    @property
    def missing(self) -> tuple[Pin, ...]:
        """The locked artifacts to download for all targets, without duplicates."""
        return tuple({pin.sha256: pin for target in self.targets for pin in target.missing}.values())


def resolve(context: BuildContext, service: Service) -> BuildPlan:
    """
    Return the plan for all targets of *service*: the content of each layer, and the outputs of the last build to reuse.

    Raises ConfigError if a recorded profile is unreadable, LockError if the lock is missing or unsuitable, and
    LocalBuildError if a local package is not a readable project. Raises BytecodeError if lamina does not support the target's
    bytecode. Raises FetchError if the index does not
    supply the files of hashed requirements.
    """
    context.reporter.stage("reading the lock file and the sources")
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
    Return *plan* with the missing digests, sources and packages.

    Without *fetch*, nothing is downloaded or built. A layer that needs a missing wheel then stays a `LayerDraft`, and
    `packages` stays ``None`` if a local package must be built.
    Raises the errors of `resolve`, and with *fetch* also those of fetching and building wheels.
    """
    service, previous = plan.service, plan.previous
    packages, findings = plan.packages, plan.findings
    if packages is None:
        read = artifacts.sources(service, plan.local, fetch=fetch and not plan.is_unchanged)
        if read is not None:
            packages = plan_packages(service, read, previous)
            trees = [package.tree for package in read]
            findings += (*left_out.secrets(service, trees), *left_out.named(service, trees))
        elif plan.is_unchanged:
            packages = unchanged_packages(service, previous)
    sources = None if packages is None else _with_layers(all_sources(packages), plan.layers)
    layers: list[LayerDraft | LayerPlan] = []
    needed: dict[str, Pin] = {}
    for layer in plan.layers:
        decided = layer
        if not isinstance(layer, LayerPlan):
            closure = closure_of(layer, plan.layers, service)
            bytecode = artifacts.choose_bytecode(service, closure, sources, own=layer.selection.pins, fetch=fetch)
            if bytecode is None:
                needed |= {pin.sha256: pin for pin in closure.pins}
                lacking = plan.local if sources is None else artifacts.wheels.lacking(closure.pins)
                difference = known_difference(layer, previous)
                reason = "; ".join(filter(None, (difference, _why_unknown(lacking, service.target.python))))
                decided = replace(layer, reason=reason, differs=bool(difference))
            else:
                decided = artifacts.plan(layer, bytecode, previous)
        layers.append(decided)
        if not isinstance(decided, LayerPlan) or decided.reused is None:
            needed |= {pin.sha256: pin for pin in layer.selection.pins}
    lacking = artifacts.wheels.lacking(needed.values())
    missing = plan.missing if fetch else tuple(pin for pin in lacking if not isinstance(pin, SourcePin))
    return replace(plan, layers=tuple(layers), packages=packages, findings=findings, missing=missing)


def closure_of(layer: LayerDraft, layers: Sequence[LayerDraft], service: Service) -> Closure:
    """Return the functions that use *layer*, and all the distributions that those functions can import from *layers*."""
    functions = tuple(function for function in service.functions if layer.name in function.layers)
    others = {name for function in functions for name in function.layers} - {layer.name}
    pins = {pin.name: pin for pin in layer.selection.pins}
    for other in layers:
        if other.name in others:
            pins = {pin.name: pin for pin in other.selection.pins} | pins
    return Closure(functions=functions, pins=tuple(pins[name] for name in sorted(pins)), recipe=layer.recipe)


def _with_layers(
    packages: tuple[PackageSources, ...] | None, layers: Sequence[LayerDraft]
) -> tuple[PackageSources, ...] | None:
    """Return *packages*, each with the service's own code in the *layers* of its functions, which they can import too."""
    if packages is None or not any(layer.own_code for layer in layers):
        return packages
    found = []
    for package in packages:
        names = {name for function in package.config.functions for name in function.layers}
        files = {file.path: file for layer in layers if layer.name in names for file in layer.own_code}
        files |= {file.path: file for file in package.tree.files}
        tree = replace(package.tree, files=tuple(files[path] for path in sorted(files)))
        found.append(replace(package, tree=tree))
    return tuple(found)


def _resolve_target(context: BuildContext, service: Service, place: str, *, is_unchanged: bool) -> TargetPlan:
    project = context.project
    lock_file = formats.find(project, service.lock, target=service.target)
    selections: dict[tuple[tuple[str, ...], ...], Selection] = {}
    local: dict[str, SourcePin] = {}
    inputs = dict.fromkeys(service.inputs)
    chosen: dict[str, Selection] = {}
    for config in service.layers:
        choice = (config.groups, config.extras, config.without)
        if choice not in selections:
            cached = _selection(context, service, config, lock_file)
            selections[choice], apart = _with_sources(cached.selection, service)
            local |= {pin.sha256: pin for pin in apart}
            inputs |= dict.fromkeys(cached.inputs)
        chosen[config.name] = selections[choice]
    shares = apportion(service.layers, chosen, everywhere=sdk.left_out(service))
    has_own_code = any(config.first_party for config in service.layers)
    tree = walk(project, service.source, service.include) if has_own_code and not is_unchanged else None
    drafts = [_draft(config, shares[config.name], tree) for config in service.layers]
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
        own_code=tree,
        inputs=take(
            project,
            [
                *inputs,
                *dict.fromkeys(path for pin in (*local.values(), *built) for path in pin.inputs),
                *formats.searched(lock_file, project, service.lock),
                project / PROFILE,
                # The statements of provenance name the commit.
                *commit_files(project),
            ],
        ),
        previous=previous,
        is_unchanged=is_unchanged,
        findings=(
            *configuration.check(service, chosen),
            *left_out.local_files(service, dict.fromkeys((*local.values(), *built))),
        ),
    )
    with ArtifactProvider(context, service.target) as artifacts:
        return complete(plan, artifacts, fetch=False)


def _draft(config: LayerConfig, selection: Selection, tree: SourceTree | None) -> LayerDraft:
    recipe = Recipe(exclude=config.exclude)
    own_code: tuple[SourceFile, ...] = ()
    if config.first_party and tree is not None:
        excluded = recipe.excluded()
        own_code = tuple(file for file in tree.files if not excluded(file.path))
    return LayerDraft(config=config, selection=selection, recipe=recipe, own_code=own_code)


def _selection(context: BuildContext, service: Service, layer: LayerConfig, lock_file: LockFile) -> CachedSelection:
    """Return the locked distributions of *layer*, from the store if this lock file was parsed before."""
    cached = recall(lock_file, layer, service.target, context.store)
    if cached is not None:
        return cached
    from lamina.lock.select import select

    lock = formats.read(
        lock_file,
        target=service.target,
        groups=layer.groups,
        extras=layer.extras,
        without=layer.without,
        index=context.index,
    )
    selection = select(lock, target=service.target)
    keep(selection, lock.inputs, lock_file, layer, store=context.store)
    return CachedSelection(selection, lock.inputs)


def _with_sources(selection: Selection, service: Service) -> tuple[Selection, tuple[SourcePin, ...]]:
    """Return *selection* with the sources to build for layers as pins, and the pins of those for function packages."""
    if not selection.sources:
        return selection, ()
    from lamina.fetch.source.assignment import assign

    return assign(selection, service)


def _why_unknown(lacking: Sequence[Pin], python: tuple[int, int]) -> str:
    if not lacking:
        return f"imports not analysed yet, because CPython {python[0]}.{python[1]} is not installed"
    built = [pin for pin in lacking if isinstance(pin, SourcePin)]
    counts = [f"{count(len(lacking) - len(built), 'wheel')} must be downloaded"] if len(built) < len(lacking) else []
    counts += [f"{', '.join(f'`{pin.name}`' for pin in built)} must be built"] if built else []
    return f"imports not analysed yet, because {' and '.join(counts)} first"
