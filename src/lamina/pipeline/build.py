"""
Build a service. This module defines the order of the stages.

::

    load ──▶ Service ──resolve──▶ BuildPlan ──complete──▶ fetch ──▶ splice, compose ──▶ Layer ──┐
                                                └──────────────▶ pack ─────────────▶ Package ──┴─check──▶ Result ──record

- *load* and *resolve* do not change the project or the outputs. Their results depend on the project, the store and the
  last build. They use no network, except that *resolve* requests the files of hashed requirements from the index.
- *complete* and *fetch* download. Each downloaded file has the locked hash, and each wheel matches its own RECORD.
  Before a large download, lamina requests the wheels' file indexes, to see whether the layers would exceed Lambda's limits.
- *splice* and *compose* copy bytes and make no decisions.
- *check* returns findings. The caller turns error findings into an exit code.

Each output is written to a temporary file and renamed, so a killed build leaves no partial output.
"""

from __future__ import annotations

import datetime as dt
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from lamina.core.files import building, own_directory, remove_file, replace_file
from lamina.core.frozen import frozen, replace
from lamina.core.reporter import SILENT
from lamina.core.target import quotas
from lamina.core.values import Build
from lamina.pipeline import history, report, state
from lamina.pipeline.artifacts import ArtifactProvider
from lamina.pipeline.checks import imports, run
from lamina.pipeline.checks.common import listed
from lamina.pipeline.checks.ignoring import divided
from lamina.pipeline.context import BuildContext
from lamina.pipeline.layers import LayerPlan
from lamina.pipeline.packages import pack_functions
from lamina.pipeline.plan import complete, resolve
from lamina.pipeline.preflight import preflight_findings, require_interpreters
from lamina.pipeline.statements import statement_paths, write_statements
from lamina.pipeline.targets import TargetDeduplication
from lamina.project import config
from lamina.project.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.values import Finding, Layer, Package, Pin
    from lamina.pipeline.context import TeamStore
    from lamina.pipeline.plan import BuildPlan, TargetPlan
    from lamina.project.options import BuildOptions

_OUTPUTS = ("layers", "functions")


@frozen
class Result:
    """The build for one target, with the plan that was applied."""

    plan: TargetPlan
    """The applied plan; complete, unless the build was refused."""
    build: Build
    refused: bool = False
    """Whether the build stopped before fetching anything, because the result would exceed Lambda's limits."""
    others: tuple[Result, ...] = ()
    """The results for the service's other targets."""

    @property
    def fetched(self) -> tuple[Pin, ...]:
        """The locked artifacts that this build fetched for this target, because the store lacked them."""
        return () if self.refused else self.plan.missing

    @property
    def targets(self) -> tuple[Result, ...]:
        """The results for all targets, starting with this one."""
        return (self, *self.others)


def build(
    project: Path,
    options: BuildOptions,
    *,
    store: Store | None = None,
    team_store: TeamStore | None = None,
    reporter: Reporter = SILENT,
) -> Result:
    """
    Build the layers and function packages of *project* into its ``.lamina`` directory.

    The result includes all findings; error findings are not raised. If the layers would certainly exceed Lambda's limits,
    the build stops before it downloads anything, and the result is `refused`.
    Raises the errors of every stage. Outputs that were not yet replaced then stay unchanged.
    """
    started_ns = time.time_ns()
    context = BuildContext.open(project, options, store=store, reporter=reporter)
    with context.store.in_use(reporter):
        service = config.load(project, options, store=context.store)
        for note in service.notes:
            reporter.note(note)
        with nullcontext(context) if team_store is None else team_store(context, service) as context:
            return apply(resolve(context, service), context, started_ns=started_ns)


def apply(plan: BuildPlan, context: BuildContext, *, started_ns: int) -> Result:
    """
    Build all targets of *plan* in parallel. Record the result for the next build, if the project itself is the output.

    Artifacts that several targets share are fetched, spliced and composed once. *started_ns* is the time before the plan's
    first input was read, in nanoseconds since the epoch. If targets fail, raises the error of the first one in *plan*.
    """
    require_interpreters(plan, context)
    if any(findings := preflight_findings(plan, context)):
        first, *others = [
            _refused(target, found, started_ns) for target, found in zip(plan.targets, findings, strict=True)
        ]
        return Result(plan=first.plan, build=first.build, refused=True, others=tuple(others))
    deduplication = TargetDeduplication()
    with building(context.output / report.OUTPUT_DIRECTORY):
        if context.output == context.project and not plan.is_current:
            # Another build of the project has finished since. Its outputs may be reusable, and outputs that the plan reuses
            # may be gone.
            plan = resolve(context, plan.service)
        outdated = _other_targets(context, [target.place for target in plan.targets])
        first, *others = _each(plan.targets, context, deduplication, started_ns)
        result = Result(plan=first.plan, build=first.build, others=tuple(others))
        if context.output == context.project and not all(target.is_unchanged for target in plan.targets):
            if outdated:
                import shutil  # slow to import, and rarely needed

                for directory in outdated:
                    shutil.rmtree(directory)
            _record(result, context, started_ns=started_ns)
    return result


def _each(
    targets: Sequence[TargetPlan], context: BuildContext, deduplication: TargetDeduplication, started_ns: int
) -> list[Result]:
    if len(targets) == 1:
        return [_build_target(targets[0], context, deduplication, started_ns)]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(targets), "lamina-target") as pool:
        futures = [pool.submit(_build_target, target, context, deduplication, started_ns) for target in targets]
        return [future.result() for future in futures]


def _build_target(
    plan: TargetPlan, context: BuildContext, deduplication: TargetDeduplication, started_ns: int
) -> Result:
    """Build the layers and packages of one target, check them, and delete outdated zips."""
    output = context.output / plan.place
    for name in _OUTPUTS:
        own_directory(context.output, f"{plan.place}/{name}")
    if plan.local:
        names = ", ".join(f"`{pin.name}`" for pin in plan.local)
        context.reporter.note(f"adding local packages to the function packages instead of a layer: {names}")
    with ArtifactProvider(context, plan.service.target) as artifacts:
        plan = complete(plan, artifacts)
        new = [each.bundle for each in plan.package_plans if each.reused is None and isinstance(each.bundle, LayerPlan)]
        artifacts.fetch([*(layer for layer in plan.decided if layer.reused is None), *new])
        made = [_layer(layer, plan, output / "layers", artifacts, deduplication) for layer in plan.decided]
        plan, layers = replace(plan, layers=tuple(each for each, _ in made)), tuple(layer for _, layer in made)
        for each in plan.decided:
            if each.reused is None and each.uncompiled:
                context.reporter.note(_uncompiled(each))
            if each.reused is None and each.is_empty:
                context.reporter.note(
                    f"layer `{each.name}` is empty: no distributions are locked for it, or all are left out; its zip only contains a manifest"
                )
        if any(each.reused is None for each in plan.package_plans):
            context.reporter.stage("packing functions")
        plans, packages = pack_functions(
            plan.service,
            plan.package_plans,
            output / "functions",
            layers,
            toolchain=artifacts.toolchain,
            store=context.store,
            bundler=artifacts,
            previous=plan.previous,
        )
        plan = replace(plan, packages=plans)
        for bundle in {each.bundle.name: each.bundle for each in plans if each.reused is None and each.bundle}.values():
            if isinstance(bundle, LayerPlan) and bundle.uncompiled:
                context.reporter.note(_uncompiled(bundle))
        context.reporter.stage("checking imports")
        trees = {each.config: each.tree for each in plan.package_plans}
        bundles = dict(zip(plan.service.packages, plan.bundles, strict=True))
        missing = imports.check(
            layers, packages, plan.service, plan.decided, trees, bundles=bundles, store=artifacts.imports
        )
    _remove_others(output, [*layers, *packages])
    context.reporter.stage("checking layers and packages")
    found = (*plan.findings, *run.check(layers, packages, plan.service, today=_date(started_ns)), *missing)
    findings, ignored = divided(found, plan.service.ignore)
    build = Build(
        service=plan.service.name,
        target=plan.service.target,
        layers=layers,
        packages=packages,
        findings=findings,
        ignored=ignored,
        reused=plan.reused,
        seconds=_seconds_since(started_ns),
    )
    return Result(plan=plan, build=build)


def _layer(
    layer: LayerPlan,
    plan: TargetPlan,
    directory: Path,
    artifacts: ArtifactProvider,
    deduplication: TargetDeduplication,
) -> tuple[LayerPlan, Layer]:
    """
    Return the built or reused *layer* of *plan*, with the plan that it was built from.

    If the layer would exceed Lambda's limit only because of bytecode, build it with less bytecode.
    """

    def make(layer: LayerPlan) -> Layer:
        if layer.reused is not None:
            deduplication.offer(layer.reused)
            return layer.reused
        destination = directory / f"{layer.name}.zip"
        return deduplication.layer(layer.digest, layer.name, destination, lambda: artifacts.layer(layer, destination))

    return artifacts.fitted(layer, make, plan.previous)


def _uncompiled(layer: LayerPlan) -> str:
    return (
        f"{layer.shown} does not contain the bytecode of {listed(layer.uncompiled)}: with it, "
        f"{'it' if layer.is_bundle else 'the layer'} would exceed Lambda's limit of {quotas().unzipped_bytes:,} bytes unzipped"
    )


def _refused(plan: TargetPlan, findings: tuple[Finding, ...], started_ns: int) -> Result:
    """Return the result of a build that stops before downloading, because the layers would exceed Lambda's limits."""
    build = Build(
        service=plan.service.name,
        target=plan.service.target,
        layers=(),
        packages=(),
        findings=findings,
        reused=False,
        seconds=_seconds_since(started_ns),
    )
    return Result(plan=plan, build=build, refused=True)


def _date(started_ns: int) -> dt.date:
    return dt.datetime.fromtimestamp(started_ns / 1e9, tz=dt.UTC).date()


def _seconds_since(started_ns: int) -> float:
    return (time.time_ns() - started_ns) / 1e9


def _remove_others(output: Path, outputs: Sequence[Layer | Package]) -> None:
    """Delete the zips in *output* that are not in *outputs*: those of layers and functions that no longer exist."""
    wanted = {each.path for each in outputs}
    for directory in _OUTPUTS:
        for path in (output / directory).glob("*.zip"):
            if path not in wanted:
                remove_file(path)


def _other_targets(context: BuildContext, places: Sequence[str]) -> list[str]:
    """
    Return the output directories of targets that are not in *places*, the directories of this build's targets.

    Raises `ForeignFileError` if one of them is a link.
    """
    found = (context.output / report.OUTPUT_DIRECTORY).glob(f"python*/{report.BUILD_NAME}")
    others = {path.parent.relative_to(context.output).as_posix() for path in found} - set(places)
    return [own_directory(context.output, place) for place in sorted(others)]


def _record(result: Result, context: BuildContext, *, started_ns: int) -> None:
    """Write the reports and the state for the next build. The first target's report and state cover all targets."""
    # Delete the old state first: a build that is killed while writing must not leave state for files it did not write.
    for each in result.targets:
        remove_file(context.project / each.plan.place / state.STATE_NAME)
    inputs = [_inputs(each) for each in result.targets]
    _write_statements(result, inputs, context.project, started_ns=started_ns)
    history.record_build(context.project, [each.build for each in result.targets], started_ns=started_ns)
    for other, seen in zip(result.others, inputs[1:], strict=True):
        _record_target(other, (), seen, context, started_ns=started_ns)
    _record_target(result, result.others, _joined(inputs), context, started_ns=started_ns)


def _write_statements(result: Result, inputs: Sequence[Snapshot], project: Path, *, started_ns: int) -> None:
    """Write the statements of provenance of all targets, or delete those of a target whose inputs changed while it was built."""
    for each, seen in zip(result.targets, inputs, strict=True):
        if _changed_since(seen, started_ns):
            for path in statement_paths(each.build):
                remove_file(path)
        else:
            files = [observation.path for observation in seen.observations if observation.kind == "file"]
            write_statements(each.plan, each.build, project, files)


def _inputs(result: Result) -> Snapshot:
    """Return a snapshot of every file that decided the result; each file's state is that at the time of reading."""
    trees = [result.plan.own_code, *(plan.tree for plan in result.plan.package_plans)]
    # Several packages often contain the same directories.
    return _joined([result.plan.inputs, *(tree.snapshot for tree in trees if tree is not None)])


def _record_target(
    result: Result, others: Sequence[Result], inputs: Snapshot, context: BuildContext, *, started_ns: int
) -> None:
    project, place = context.project, result.plan.place
    builds = [result.build, *(other.build for other in others)]
    content = report.encode(builds[0], project=project, others=builds[1:], output=place)
    replace_file(project / place / report.BUILD_NAME, content)
    if _changed_since(inputs, started_ns):
        # A file was edited during the build, so the build may have read an older version. Record no state.
        return
    paths = [project / each.plan.place / report.BUILD_NAME for each in (result, *others)]
    paths += [layer.path for build in builds for layer in build.layers]
    paths += [package.path for build in builds for package in build.packages]
    paths += [path for build in builds for path in statement_paths(build)]
    state.remember(
        project,
        asked=context.options.asked(),
        inputs=inputs,
        sources=[plan.key for plan in result.plan.package_plans],
        outputs=[path.relative_to(project).as_posix() for path in paths],
        state_file=f"{place}/{state.STATE_NAME}",
    )


def _joined(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Merge *snapshots* into one. If several contain a path, keep its state in the first of them."""
    looks = [observation for snapshot in snapshots for observation in snapshot.observations]
    return Snapshot(observations=tuple({look.path: look for look in reversed(looks)}.values()))


def _changed_since(inputs: Snapshot, started_ns: int) -> bool:
    return any(max(seen.stat[:2]) >= started_ns for seen in inputs.observations if seen.kind == "file")
