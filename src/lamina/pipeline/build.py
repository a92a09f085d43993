"""
Build a service: the one place that knows the order of a build.

::

    load ──▶ Service ──resolve──▶ BuildPlan ──complete──▶ fetch ──▶ splice, compose ──▶ Layer ──┐
                                                └──────────────▶ pack ─────────────▶ Package ──┴─check──▶ Result ──record

- *load* and *resolve* only read. What they return depends on the project, the store and the last build, and on no network,
  except that the index of hashed requirements is asked once.
- *complete* and *fetch* are the only stages with a network. What they admit to the store has the locked hash and matches its own RECORD.
- *splice* and *compose* copy bytes and decide nothing.
- *check* returns findings; the caller turns errors among them into an exit code.

Every output is written beside its destination and renamed, so a killed build leaves the last one whole.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from lamina.core.files import building, replace_file
from lamina.core.frozen import frozen
from lamina.core.reporter import SILENT
from lamina.core.values import Build
from lamina.pipeline import report, state
from lamina.pipeline.artifacts import ArtifactProvider
from lamina.pipeline.checks import run
from lamina.pipeline.context import BuildContext
from lamina.pipeline.packages import pack_functions
from lamina.pipeline.plan import complete, resolve
from lamina.pipeline.preflight import preflight_findings
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
    from lamina.pipeline.layers import LayerPlan
    from lamina.pipeline.plan import BuildPlan, TargetPlan
    from lamina.project.options import BuildOptions


@frozen
class Result:
    """A build for one target, and the plan that it applied."""

    plan: TargetPlan
    """Complete, unless the build was refused."""
    build: Build
    refused: bool = False
    """Whether nothing was fetched or made, because it could not be deployed."""
    others: tuple[Result, ...] = ()
    """The same service for its other targets."""

    @property
    def fetched(self) -> tuple[Pin, ...]:
        """The locked artifacts that the store did not hold."""
        return () if self.refused else self.plan.missing

    @property
    def targets(self) -> tuple[Result, ...]:
        """The results for all targets, this one first."""
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

    Raises whatever a stage raises; the outputs that were there before then stay.
    Findings, errors among them, are part of the result and not raised.
    """
    started_ns = time.time_ns()
    context = BuildContext.open(project, options, store=store, reporter=reporter)
    with context.store.in_use():
        service = config.load(project, options)
        with nullcontext(context) if team_store is None else team_store(context, service) as context:
            return apply(resolve(context, service), context, started_ns=started_ns)


def apply(plan: BuildPlan, context: BuildContext, *, started_ns: int) -> Result:
    """
    Make what *plan* says, for all targets at once, and record it for the next build.

    What targets have in common is fetched, spliced and composed once. *started_ns* is when the first of what decided the plan was
    read, in nanoseconds since the epoch. Raises what the first target raises that fails.
    """
    if any(findings := preflight_findings(plan, context)):
        first, *others = [
            _refused(target, found, started_ns) for target, found in zip(plan.targets, findings, strict=True)
        ]
        return Result(plan=first.plan, build=first.build, refused=True, others=tuple(others))
    deduplication = TargetDeduplication()
    with building(context.output / report.OUTPUT_DIRECTORY):
        if context.output == context.project and not plan.is_current:
            # Another build of the project has finished since: its outputs may be reused, and those that the plan reuses may have gone.
            plan = resolve(context, plan.service)
        first, *others = _each(plan.targets, context, deduplication, started_ns)
        result = Result(plan=first.plan, build=first.build, others=tuple(others))
        if context.output == context.project and not all(target.is_unchanged for target in plan.targets):
            _remove_other_targets(context, [target.place for target in plan.targets])
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
    """Bring the layers and packages of one target to disk."""
    output = context.output / plan.place
    if plan.local:
        names = ", ".join(f"`{pin.name}`" for pin in plan.local)
        context.reporter.note(
            f"Local packages go into the function packages, because they change with the code: {names}"
        )
    with ArtifactProvider(context, plan.service.target) as artifacts:
        plan = complete(plan, artifacts)
        artifacts.fetch([layer for layer in plan.decided if layer.reused is None])
        layers = tuple(_layer(layer, output / "layers", artifacts, deduplication) for layer in plan.decided)
        packages = pack_functions(
            plan.service,
            plan.package_plan,
            output / "functions",
            layers,
            toolchain=artifacts.toolchain,
            store=context.store,
        )
    _remove_others(output, [*layers, *packages])
    build = Build(
        service=plan.service.name,
        target=plan.service.target,
        layers=layers,
        packages=packages,
        findings=(*plan.findings, *run.check(layers, packages, plan.service)),
        reused=plan.reused,
        seconds=_seconds_since(started_ns),
    )
    return Result(plan=plan, build=build)


def _layer(plan: LayerPlan, directory: Path, artifacts: ArtifactProvider, deduplication: TargetDeduplication) -> Layer:
    if plan.reused is not None:
        deduplication.offer(plan.reused)
        return plan.reused
    destination = directory / f"{plan.name}.zip"
    return deduplication.layer(plan.digest, plan.name, destination, lambda: artifacts.layer(plan, destination))


def _refused(plan: TargetPlan, findings: tuple[Finding, ...], started_ns: int) -> Result:
    """Return the result of a build that ends before it downloads what could never be deployed."""
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


def _seconds_since(started_ns: int) -> float:
    return (time.time_ns() - started_ns) / 1e9


def _remove_others(output: Path, outputs: Sequence[Layer | Package]) -> None:
    """Remove the zips of layers and functions that the project does not have any more."""
    wanted = {each.path for each in outputs}
    for directory in ("layers", "functions"):
        for path in (output / directory).glob("*.zip"):
            if path not in wanted:
                path.unlink()


def _remove_other_targets(context: BuildContext, places: Sequence[str]) -> None:
    """Remove the outputs for targets that this build is not for."""
    wanted = {context.output / place for place in places}
    for path in (context.output / report.OUTPUT_DIRECTORY).glob(f"python*/{report.BUILD_NAME}"):
        if path.parent not in wanted:
            import shutil

            shutil.rmtree(path.parent)


def _record(result: Result, context: BuildContext, *, started_ns: int) -> None:
    """Write the reports, and what lets the next build find nothing to do; those of the first target cover all of them."""
    # Until all of it is written, nothing vouches for the outputs: a build may be killed between two of these files.
    for each in result.targets:
        (context.project / each.plan.place / state.STATE_NAME).unlink(missing_ok=True)
    inputs = [_inputs(each) for each in result.targets]
    for other, seen in zip(result.others, inputs[1:], strict=True):
        _record_target(other, (), seen, context, started_ns=started_ns)
    _record_target(result, result.others, _joined(inputs), context, started_ns=started_ns)


def _inputs(result: Result) -> Snapshot:
    """Return everything that decided what was built, as it was when it was read."""
    tree = result.plan.package_plan.tree
    return Snapshot((*result.plan.inputs.observations, *(tree.snapshot.observations if tree else ())))


def _record_target(
    result: Result, others: Sequence[Result], inputs: Snapshot, context: BuildContext, *, started_ns: int
) -> None:
    project, place = context.project, result.plan.place
    builds = [result.build, *(other.build for other in others)]
    replace_file(project / place / report.BUILD_NAME, report.encode(builds[0], project=project, others=builds[1:]))
    if _changed_since(inputs, started_ns):
        # Somebody edited a file during the build: what was read may be older than what is there, so remember nothing.
        return
    paths = [project / each.plan.place / report.BUILD_NAME for each in (result, *others)]
    paths += [layer.path for build in builds for layer in build.layers]
    paths += [package.path for build in builds for package in build.packages]
    state.remember(
        project,
        asked=context.options.asked(),
        inputs=inputs,
        sources=result.plan.package_plan.key,
        outputs=[path.relative_to(project).as_posix() for path in paths],
        state_file=f"{place}/{state.STATE_NAME}",
    )


def _joined(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return one snapshot of everything; of a path that was looked at several times, the first look."""
    looks = [observation for snapshot in snapshots for observation in snapshot.observations]
    return Snapshot(tuple({look.path: look for look in reversed(looks)}.values()))


def _changed_since(inputs: Snapshot, started_ns: int) -> bool:
    return any(max(seen.stat[:2]) >= started_ns for seen in inputs.observations if seen.kind == "file")
