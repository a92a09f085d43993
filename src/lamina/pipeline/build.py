"""
The one place that knows the order: what a build does, stage by stage.

::

    load ──▶ Service ──read, select──▶ Selection ──fetch──▶ Wheel ──splice──▶ Contribution ──compose──▶ Layer ──┐
                  └──walk──▶ SourceTree ──pack──────────────────────────────────────────────▶ Package ──────────┴─check──▶ Build

- *load, read, select* only read, and neither a network nor the running machine decides what they return
  (hashed requirements name no files, so their index is asked once, and its answer kept in the store).
- *digest* is the identity of a layer. It is known here, before anything is fetched; where the zip on disk has it already,
  the stages after it do not run for that layer.
- *fetch* is the only stage with a network. What it admits to the store has the locked hash and matches its own RECORD.
- *splice* and *compose* copy bytes and decide nothing.
- *check* returns findings; it is for the caller to turn errors among them into an exit code.

Every output is written beside its destination and renamed, so a killed build leaves the last one whole.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from lamina.bytecode.choice import choose
from lamina.bytecode.toolchain import Toolchain
from lamina.core.files import building, replace_file
from lamina.core.frozen import frozen, replace
from lamina.core.reporter import SILENT
from lamina.core.values import Build, Finding
from lamina.pipeline import report, state
from lamina.pipeline.checks import finished
from lamina.pipeline.layers import Draft, LayerPlan, Outcome, closure_of, make_layer, reuse, why
from lamina.pipeline.packages import Packing, pack_functions
from lamina.pipeline.plan import BuildContext, BuildOptions, BuildPlan, local_inputs, plan_for
from lamina.pipeline.preflight import preflight_findings
from lamina.pipeline.previous import Previous
from lamina.pipeline.remote_store import shared
from lamina.pipeline.targets import TargetDeduplication
from lamina.project import config
from lamina.project.snapshot import Snapshot, take
from lamina.project.sources import walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.values import Layer, Package, Pin
    from lamina.fetch.provider import WheelProvider
    from lamina.project.service import Service
    from lamina.project.snapshot import Observation
    from lamina.project.sources import SourceTree

__all__ = ["BuildOptions", "Result", "build", "with_local"]


@frozen
class Result:
    """A build, and the story of it."""

    build: Build
    outcomes: tuple[Outcome, ...]
    """One for each layer."""
    packing: Packing | None
    """``None`` where the build ended before it made anything."""
    fetched: tuple[Pin, ...] = ()
    """What was not in the store."""
    others: tuple[Result, ...] = ()
    """The same service for its other targets."""


def build(project: Path, options: BuildOptions, *, store: Store | None = None, reporter: Reporter = SILENT) -> Result:
    """
    Build the layers and function packages of *project* into its ``.lamina`` directory.

    Raises whatever a stage raises; what was there before then still stands.
    Findings, errors among them, are part of the result and not raised.
    """
    session = BuildContext.open(project, options, store=store, reporter=reporter)
    with session.store.in_use():
        service = config.load(project, options.overrides)
        with shared(session, service) as session:
            return _build_several(session, service) if service.others else _build(session, service)


def _build(session: BuildContext, service: Service) -> Result:
    started, started_ns = time.perf_counter(), time.time_ns()
    planned = plan_for(session, service)
    if findings := preflight_findings(planned, session):
        return _refused(planned, findings, seconds=time.perf_counter() - started)
    with building(session.output_directory):
        result, inputs = _make(planned, session, TargetDeduplication(), started=started)
        _remove_other_targets(session, ())
        _record(session, result, inputs, started_ns=started_ns)
    return result


def _build_several(session: BuildContext, service: Service) -> Result:
    """
    Build for all targets at once: the first into the output directory itself, each other one into a directory in it.

    What they have in common is fetched, spliced and composed once. Raises what the first of those raises that fails.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most services have one target

    started_ns = time.time_ns()
    sharing = TargetDeduplication()
    first = (session, replace(service, others=()))
    others = [
        (replace(session, output=report.place_of(target)), replace(service, target=target, others=()))
        for target in service.others
    ]
    with building(session.output_directory), ThreadPoolExecutor(len(others) + 1, "lamina-target") as pool:
        futures = [pool.submit(_build_one_of, *each, sharing, started_ns=started_ns) for each in (first, *others)]
        (result, inputs), *rest = [future.result() for future in futures]
        result = replace(result, others=tuple(other for other, _ in rest))
        if all(each.packing is not None for each in (result, *result.others)):
            _remove_other_targets(session, [each.output_directory for each, _ in others])
            _record(session, result, _joined([inputs, *(other for _, other in rest)]), started_ns=started_ns)
    return result


def _build_one_of(
    session: BuildContext, service: Service, sharing: TargetDeduplication, *, started_ns: int
) -> tuple[Result, Snapshot]:
    """Build for one of several targets; the first is recorded when all are done."""
    started = time.perf_counter()
    planned = plan_for(session, service)
    if findings := preflight_findings(planned, session):
        return _refused(planned, findings, seconds=time.perf_counter() - started), Snapshot(())
    result, inputs = _make(planned, session, sharing, started=started)
    if session.output != report.OUTPUT_DIRECTORY:
        _record(session, result, inputs, started_ns=started_ns)
    return result, inputs


def _make(
    planned: BuildPlan, session: BuildContext, sharing: TargetDeduplication, *, started: float
) -> tuple[Result, Snapshot]:
    """Bring the planned layers and the packages to disk; return also everything that decided what they are."""
    project, store, service = session.project, session.store, planned.service
    previous = Previous.of(project, session.output)
    tree = walk(project, service.source, service.include)
    with Toolchain(service.target.python, store) as toolchain:
        fetched = session.provider(service.target)
        tree = with_local(tree, planned, fetched, session)
        layers, outcomes = _layers(planned, tree, previous, fetched, toolchain, session=session, sharing=sharing)
        packing = pack_functions(service, tree, project, previous, layers, toolchain=toolchain, store=store)
    _remove_others(session.output_directory, [*layers, *packing.packages])
    build = Build(
        service=service.name,
        target=service.target,
        layers=layers,
        packages=packing.packages,
        findings=(*planned.findings, *finished.check(layers, packing.packages, service)),
        reused=packing.reused and all(outcome.reused for outcome in outcomes),
        seconds=time.perf_counter() - started,
    )
    result = Result(build=build, outcomes=outcomes, packing=packing, fetched=planned.missing)
    return result, Snapshot((*take(project, planned.inputs).observations, *packing.snapshot.observations))


def _joined(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return one snapshot of everything; of a path that was looked at several times, the first look."""
    seen: dict[str, Observation] = {}
    for snapshot in snapshots:
        for observation in snapshot.observations:
            seen.setdefault(observation.path, observation)
    return Snapshot(tuple(seen.values()))


def with_local(tree: SourceTree, planned: BuildPlan, fetched: WheelProvider, session: BuildContext) -> SourceTree:
    """Return the first-party sources together with the content of local packages."""
    if not planned.local:
        return tree
    from lamina.fetch.source.unpack import unpack  # noqa: PLC0415 - most services have none

    named = ", ".join(f"`{pin.name}`" for pin in planned.local)
    session.reporter.note(f"Local packages go into the function packages, because they change with the code: {named}")
    wheels = fetched.all(planned.local)
    return unpack(tree, wheels, local_inputs(planned.local), root=session.project, store=session.store)


def _refused(planned: BuildPlan, findings: tuple[Finding, ...], *, seconds: float) -> Result:
    """Return the result of a build that ends before it downloads what could never be deployed."""
    build = Build(
        service=planned.service.name,
        target=planned.service.target,
        layers=(),
        packages=(),
        findings=findings,
        reused=False,
        seconds=seconds,
    )
    return Result(build=build, outcomes=(), packing=None)


def _layers(
    planned: BuildPlan,
    tree: SourceTree,
    previous: Previous,
    fetched: WheelProvider,
    toolchain: Toolchain,
    *,
    session: BuildContext,
    sharing: TargetDeduplication,
) -> tuple[tuple[Layer, ...], tuple[Outcome, ...]]:
    plans = [_complete(draft, planned, tree, fetched, toolchain, store=session.store) for draft in planned.layers]
    found = {each.config.name: reuse(each, previous) for each in plans}
    fetched.all(pin for each in plans if found[each.config.name] is None for pin in each.selection.pins)
    layers: list[Layer] = []
    outcomes: list[Outcome] = []
    for each in plans:
        name = each.config.name
        layer = found[name]
        outcomes.append(
            Outcome(name=name, reused=layer is not None, reason="unchanged" if layer else why(each, previous))
        )
        if layer is None:
            wheels = fetched.all(each.selection.pins)
            make = partial(
                make_layer,
                each,
                wheels,
                output=session.output_directory,
                store=session.store,
                toolchain=toolchain,
                reporter=session.reporter,
            )
            layer = sharing.layer(each.digest, name, session.output_directory / "layers" / f"{name}.zip", make)
        else:
            sharing.offer(layer)
        layers.append(layer)
    return tuple(layers), tuple(outcomes)


def _complete(
    draft: Draft, planned: BuildPlan, tree: SourceTree, fetched: WheelProvider, toolchain: Toolchain, *, store: Store
) -> LayerPlan:
    closure = closure_of(draft, planned.layers, planned.service)
    choice = choose(planned.service, closure, tree, fetch=fetched.all, toolchain=toolchain, store=store)
    return LayerPlan.of(draft, choice)


def _remove_others(output: Path, outputs: Sequence[Layer | Package]) -> None:
    """Remove the zips of layers and functions that the project does not have any more."""
    wanted = {each.path for each in outputs}
    for directory in ("layers", "functions"):
        for path in (output / directory).glob("*.zip"):
            if path not in wanted:
                path.unlink()


def _remove_other_targets(session: BuildContext, wanted: Sequence[Path]) -> None:
    """Remove the outputs for targets that this build is not for."""
    for path in session.output_directory.glob(f"python*/{report.BUILD_NAME}"):
        if path.parent not in wanted:
            import shutil  # noqa: PLC0415 - needed when a target goes

            shutil.rmtree(path.parent)


def _record(session: BuildContext, result: Result, inputs: Snapshot, *, started_ns: int) -> None:
    """Write the report, and what lets the next build find nothing to do; that of the first target is for all of them."""
    project, place = session.project, session.output
    builds = [result.build, *(other.build for other in result.others)]
    replace_file(project / place / report.BUILD_NAME, report.encode(result.build, project=project, others=builds[1:]))
    state_file = f"{place}/{state.STATE_NAME}"
    if _changed_since(inputs, started_ns) or result.packing is None:
        # Somebody edits while we build: what was read may be older than what is there, so remember nothing.
        (project / state_file).unlink(missing_ok=True)
        return
    paths = [output.path for build in builds for output in build.layers]
    paths += [output.path for build in builds for output in build.packages]
    outputs = [path.relative_to(project).as_posix() for path in paths]
    state.remember(
        project,
        asked=session.options.asked(),
        inputs=inputs,
        sources=result.packing.key,
        outputs=outputs,
        state_file=state_file,
    )


def _changed_since(inputs: Snapshot, started_ns: int) -> bool:
    return any(max(seen.stat[:2]) >= started_ns for seen in inputs.observations if seen.kind == "file")
