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
from lamina.pipeline.apportion import apportion, check_locked, not_locked
from lamina.pipeline.artifacts import ArtifactProvider
from lamina.pipeline.checks import configuration, left_out, sdk
from lamina.pipeline.layers import LayerDraft, LayerPlan, bundle_draft, known_difference
from lamina.pipeline.packages import PackagePlan, all_sources, plan_packages, unchanged_packages
from lamina.pipeline.previous import Previous
from lamina.project.profile import PROFILE
from lamina.project.repository import commit_files
from lamina.project.service import BytecodeMode
from lamina.project.snapshot import Snapshot, take
from lamina.project.sources import walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.bytecode.choice import BytecodeChoice
    from lamina.core.values import Finding, Pin, Selection
    from lamina.lock.types import LockFile
    from lamina.pipeline.apportion import UnlockedName
    from lamina.pipeline.context import BuildContext
    from lamina.project.service import LayerConfig, PackageConfig, Service
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
    bundles: tuple[LayerDraft | LayerPlan | None, ...] = ()
    """The distributions in each of the service's packages, in their order; ``None`` for a package without distributions."""
    unused: tuple[Selection, ...] = ()
    """The distributions of each of the service's `bundles` that no package has."""
    not_locked: tuple[UnlockedName, ...] = ()
    """The names in ``only`` of layers that are not locked for this target."""

    @property
    def place(self) -> str:
        """The output directory, relative to the project."""
        return self.previous.output

    @property
    def decided(self) -> tuple[LayerPlan, ...]:
        """The layers whose digest is known; all layers, once the plan is complete."""
        return tuple(layer for layer in self.layers if isinstance(layer, LayerPlan))

    @property
    def contents(self) -> tuple[LayerDraft | LayerPlan, ...]:
        """Everything that consists of distributions: the layers, and then the parts of packages."""
        return (*self.layers, *(bundle for bundle in self.bundles if bundle is not None))

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
    targets = tuple(
        _resolve_target(context, each, place, is_unchanged=is_unchanged)
        for each, place in zip(services, places, strict=True)
    )
    check_locked([each.not_locked for each in targets])
    return BuildPlan(service=service, targets=targets)


def complete(plan: TargetPlan, artifacts: ArtifactProvider, *, fetch: bool = True) -> TargetPlan:
    """
    Return *plan* with the missing digests, sources and packages.

    Without *fetch*, nothing is downloaded or built. A layer that needs a missing wheel then stays a `LayerDraft`, and
    `packages` stays ``None`` if a local package must be built.
    Raises the errors of `resolve`, and with *fetch* also those of fetching and building wheels.
    """
    service = plan.service
    packages, read, findings = _read(plan, artifacts, fetch=fetch)
    decisions = _Decisions(plan, artifacts, _with_layers(read, plan.layers), fetch=fetch)
    asked = [(layer, closure_of(layer, plan.layers, service), layer.selection.pins) for layer in plan.layers]
    undecided = packages is None or not all(package.is_decided for package in packages)
    bundled = [
        (bundle, bundle_closure(bundle, config), ())
        for bundle, config in zip(plan.bundles, service.packages, strict=True)
        if undecided and bundle is not None
    ]
    decided = decisions.decide([*asked, *bundled])
    layers = tuple(decided[: len(asked)])
    needed = [layer for layer in layers if not isinstance(layer, LayerPlan) or layer.reused is None]
    bundles = plan.bundles
    if undecided:
        done = iter(decided[len(asked) :])
        bundles = tuple(None if bundle is None else next(done) for bundle in plan.bundles)
        packages = None if read is None else plan_packages(service, read, bundles, plan.previous)
    reused = [False] * len(bundles) if packages is None else [package.reused is not None for package in packages]
    needed += [bundle for bundle, left in zip(bundles, reused, strict=True) if bundle is not None and not left]
    pins = {pin.sha256: pin for each in needed for pin in each.selection.pins}
    lacking = artifacts.wheels.lacking((decisions.unread | pins).values())
    missing = plan.missing if fetch else tuple(pin for pin in lacking if not isinstance(pin, SourcePin))
    return replace(plan, layers=layers, packages=packages, bundles=bundles, findings=findings, missing=missing)


def _read(
    plan: TargetPlan, artifacts: ArtifactProvider, *, fetch: bool
) -> tuple[tuple[PackagePlan, ...] | None, tuple[PackageSources, ...] | None, tuple[Finding, ...]]:
    """Return the planned packages of *plan* and their sources, as far as they are known, and the findings."""
    service, packages = plan.service, plan.packages
    if packages is not None:
        return packages, all_sources(packages), plan.findings
    if plan.is_unchanged and any(bundle is not None for bundle in plan.bundles):
        # What the packages contain is not planned again.
        packages = unchanged_packages(service, plan.previous)
        if packages is not None:
            return packages, None, plan.findings
    read = artifacts.sources(service, plan.local, fetch=fetch and not plan.is_unchanged)
    if read is not None:
        trees = [package.tree for package in read]
        return None, read, (*plan.findings, *left_out.secrets(service, trees), *left_out.named(service, trees))
    return (unchanged_packages(service, plan.previous) if plan.is_unchanged else None), None, plan.findings


class _Decisions:
    """Chooses the bytecode of layers and of what packages contain, and with it their digests."""

    def __init__(
        self,
        plan: TargetPlan,
        artifacts: ArtifactProvider,
        sources: tuple[PackageSources, ...] | None,
        *,
        fetch: bool,
    ) -> None:
        self._plan = plan
        self._artifacts = artifacts
        self._sources = sources
        self._fetch = fetch
        self.unread: dict[str, Pin] = {}
        """The distributions to read before the undecided layers and packages can be decided, by SHA-256."""

    def decide(self, asked: Sequence[tuple[LayerDraft, Closure, Sequence[Pin]]]) -> list[LayerDraft]:
        """
        Return the plan of each layer in *asked*, or the layer with the reason if that is impossible.

        A layer is asked for with the functions and distributions that decide its bytecode, and its own pins if these are for layers.
        """
        drafts = [(closure, own) for layer, closure, own in asked if not isinstance(layer, LayerPlan)]
        found = iter(self._artifacts.choose_bytecode(self._plan.service, drafts, self._sources, fetch=self._fetch))
        return [
            layer if isinstance(layer, LayerPlan) else self._decided(layer, closure, next(found))
            for layer, closure, _ in asked
        ]

    def _decided(self, layer: LayerDraft, closure: Closure, bytecode: BytecodeChoice | None) -> LayerDraft:
        plan, artifacts = self._plan, self._artifacts
        if bytecode is not None:
            return artifacts.plan(layer, bytecode, plan.previous)
        self.unread |= {pin.sha256: pin for pin in closure.pins}
        lacking = plan.local if self._sources is None else artifacts.wheels.lacking(closure.pins)
        difference = "" if layer.is_bundle else known_difference(layer, plan.previous)
        reason = "; ".join(filter(None, (difference, _why_unknown(lacking, plan.service.target.python))))
        return replace(layer, reason=reason, differs=bool(difference))


def bundle_closure(bundle: LayerDraft, config: PackageConfig) -> Closure:
    """Return the functions that share the package *config*, and the distributions in it, *bundle*."""
    # Modules have the same names and imports in a layer, so that what is known of them is shared.
    return Closure(functions=config.functions, pins=bundle.selection.pins, recipe=bundle.recipe.modules)


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
    selections: dict[tuple[tuple[str, ...] | None, ...], Selection] = {}
    local: dict[str, SourcePin] = {}
    inputs = dict.fromkeys(service.inputs)
    chosen: dict[str, Selection] = {}
    for config in service.selected:
        choice = (config.groups, config.extras, config.without, config.only)
        if choice not in selections:
            cached = locked_selection(context, service, config, lock_file)
            selections[choice], apart = _with_sources(cached.selection, service)
            local |= {pin.sha256: pin for pin in apart}
            inputs |= dict.fromkeys(cached.inputs)
        chosen[config.name] = selections[choice]
    everywhere = sdk.left_out(service)
    shares = apportion(service.selected, chosen, everywhere=everywhere)
    has_own_code = any(config.first_party for config in service.layers)
    tree = walk(project, service.source, service.include) if has_own_code and not is_unchanged else None
    drafts = [_draft(config, shares[config.name], tree) for config in service.layers]
    bundles = tuple(bundle_draft(package, service.selected, shares) for package in service.packages)
    previous = Previous.of(project, place)
    layers = tuple(
        LayerPlan.unchanged(draft, left) if is_unchanged and (left := previous.layer(draft.name)) else draft
        for draft in drafts
    )
    built = [
        pin for each in (*layers, *filter(None, bundles)) for pin in each.selection.pins if isinstance(pin, SourcePin)
    ]
    plan = TargetPlan(
        service=service,
        layers=layers,
        bundles=bundles,
        unused=tuple(
            shares[config.name]
            for config in service.bundles
            if not any(config.name in package.bundled for package in service.packages)
        ),
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
        not_locked=not_locked(service.selected, chosen, everywhere),
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


def locked_selection(
    context: BuildContext, service: Service, layer: LayerConfig, lock_file: LockFile
) -> CachedSelection:
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
        only=layer.only,
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
