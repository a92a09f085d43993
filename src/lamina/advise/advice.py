"""Compare the layouts of one target of a service: needs, weights, deploys and limits of each, and the recommendation."""

from __future__ import annotations

import datetime as dt
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamina.advise.deploys import DeploysPerYear
from lamina.advise.hiding import HiddenModules
from lamina.advise.history import read_history
from lamina.advise.layouts import check_excludes, configured, layer_for_each, one_layer
from lamina.advise.needs import NeedsSearch
from lamina.advise.recommend import recommend
from lamina.advise.rows import LayoutRows
from lamina.advise.starts import MeasuredStarts, read_starts
from lamina.advise.thresholds import load as load_thresholds
from lamina.advise.values import FunctionNeeds, Needs, WeighedDistribution
from lamina.advise.weigh import ZipSizes
from lamina.advise.why import reason
from lamina.aws.publish import config as publishing
from lamina.bytecode.interpreter import environment_variable, how_to_install, not_found
from lamina.core.errors import BytecodeError, ConfigError, PathCollisionError
from lamina.core.frozen import frozen, replace
from lamina.core.target import quotas
from lamina.pipeline.artifacts import ArtifactProvider
from lamina.pipeline.checks import sdk
from lamina.pipeline.checks.common import listed
from lamina.pipeline.plan import complete, resolve
from lamina.project import config
from lamina.project.service import BytecodeMode, Packaging, SdkPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.advise.history import History
    from lamina.advise.recommend import Recommendation
    from lamina.advise.rows import ComparedLayout
    from lamina.advise.why import Reason
    from lamina.core.target import Quotas, Target
    from lamina.pipeline.context import BuildContext
    from lamina.pipeline.plan import TargetPlan
    from lamina.project.service import Service

BASELINE = "coldstart.json"
"""The file in the project with measured cold starts, unless another one is given."""
UPLINK_BITS = 20_000_000


@frozen
class PackagingAdvice:
    """The comparison of all layouts for one target."""

    service: str
    target: Target
    needs: Needs
    rows: tuple[ComparedLayout, ...]
    history: History
    deploys: DeploysPerYear | None
    """The deploys in a year; ``None`` if they are unknown."""
    environments: int
    uplink_bits: int
    """The speed of the connection in bits per second."""
    recommendation: Recommendation
    limits: Quotas
    starts: MeasuredStarts


@frozen
class AdviceOptions:
    """What the user says about the deploys of the service. What is ``None`` comes from the project."""

    environments: int | None = None
    """The number of environments; by default, the regions times the roles of ``[tool.lamina.publish]``."""
    uplink_bits: int = UPLINK_BITS
    deploys_per_year: int | None = None
    """The number of deploys in a year; by default, that of commits."""
    updates_per_year: int | None = None
    """The number of those with updated distributions; by default, the share of the commits."""
    starts: Path | None = None
    """The file with measured cold starts; by default, `BASELINE` if the project has it."""


def advise(context: BuildContext, options: AdviceOptions) -> PackagingAdvice:
    """
    Compare the layouts of the project of *context* for its main target.

    Nothing in the project is written. Raises `ConfigError` for a service without functions, with its own code in a layer, or with layers
    that have different files excluded, and the errors of building its layers and packages.
    """
    service, plan = _plan(context)
    check_excludes(service)
    limits = quotas()
    environments = options.environments or _environments(context.project)
    with ArtifactProvider(context, service.target) as artifacts:
        plan = complete(plan, artifacts)
        search = NeedsSearch(plan, artifacts, context.store)
        sizes = ZipSizes(artifacts, context.store)
        needed = _needed(search, service)
        context.reporter.stage("weighing layouts")
        needs = _weighed_needs(plan, search, sizes, needed)
        history = read_history(service, context, search.pins, local=plan.local, now=dt.datetime.now(dt.UTC))
        now, starts = configured(plan), _starts(context.project, options, service)
        if starts.is_deployed:
            starts = replace(starts, packages=now.packages)
        rows = LayoutRows(
            plan,
            search,
            sizes,
            needs,
            limits=limits,
            configured=now,
            history=history,
            starts=starts,
            hidden=HiddenModules(plan, search, artifacts, now),
        )
        recommendation = recommend(
            needs,
            load_thresholds(context.project),
            limits=limits,
            measured=starts.of(one_layer(needs)),
            configured=now,
            obstacle=rows.obstacle,
        )
        return PackagingAdvice(
            service=service.name,
            target=service.target,
            needs=needs,
            rows=tuple(rows.all(recommendation)),
            history=history,
            deploys=_deploys(history, options),
            environments=environments,
            uplink_bits=options.uplink_bits,
            recommendation=recommendation,
            limits=limits,
            starts=starts,
        )


def _environments(project: Path) -> int:
    """Return the number of environments in the configuration of *project*."""
    found = publishing.load(project)
    return max(1, len(found.regions)) * max(1, len(found.roles))


def _starts(project: Path, options: AdviceOptions, service: Service) -> MeasuredStarts:
    path = options.starts or project / BASELINE
    return read_starts(path, service) if options.starts is not None or path.is_file() else MeasuredStarts()


def _needed(search: NeedsSearch, service: Service) -> Mapping[str, frozenset[str]]:
    """Return what each function needs; with ``sdk = "bundle"``, also the AWS SDK, without which it cannot be built."""
    with _finding_imports(service):
        needed = search.needed()
    always = search.closed(sdk.core() & search.pins.keys()) if service.sdk is SdkPolicy.BUNDLE else frozenset[str]()
    return {name: names | always for name, names in needed.items()}


@contextmanager
def _finding_imports(service: Service) -> Iterator[None]:
    """Say why an interpreter is needed although no bytecode is compiled. Raises `BytecodeError` if there is none."""
    python = service.target.python
    try:
        yield
    except BytecodeError as error:
        if service.bytecode is not BytecodeMode.NONE:
            raise
        if str(error) == str(not_found(python)):
            raise BytecodeError(
                f"no CPython {python[0]}.{python[1]} found on this machine to find the imports of functions",
                hint=f"{how_to_install(python)}; or set `{environment_variable(python)}` to its executable",
            ) from error
        raise BytecodeError(f"the imports of functions cannot be found: {error}", hint="upgrade lamina") from error


def explain(context: BuildContext, distribution: str, functions: Sequence[str]) -> Reason:
    """
    Return why *functions*, or all if there are none, need *distribution*, a normalised name.

    Raises `ConfigError` if there is no such distribution or function, and the errors of `advise`.
    """
    service, plan = _plan(context)
    chosen = [each for each in service.functions if not functions or each.name in functions]
    if unknown := sorted({*functions} - {each.name for each in chosen}):
        raise ConfigError(
            f"the service has no function {' and '.join(f'`{name}`' for name in unknown)}",
            hint=f"name one of {', '.join(f'`{each.name}`' for each in service.functions)}",
        )
    with ArtifactProvider(context, service.target) as artifacts:
        plan = complete(plan, artifacts)
        search = NeedsSearch(plan, artifacts, context.store)
        if distribution in {pin.name for pin in plan.local}:
            raise ConfigError(
                f"`{distribution}` is a local package, whose code is in the zips of functions",
                hint=f"name a distribution that it requires: {listed(required)}"
                if (required := search.locked_for(distribution))
                else "see what layers have: `lamina build --dry-run`",
            )
        if distribution not in search.pins:
            raise ConfigError(
                f"no layer of the service has the distribution `{distribution}`",
                hint="see what layers have: `lamina build --dry-run`",
            )
        with _finding_imports(service):
            return reason(distribution, chosen, search, service)


def _plan(context: BuildContext) -> tuple[Service, TargetPlan]:
    service = config.load(context.project, context.options, store=context.store)
    if not service.functions:
        raise ConfigError(
            "without functions, there are no packagings to compare",
            hint="add the handlers to `[tool.lamina.functions]`; `lamina init --dry-run` finds them",
        )
    if own := [each.name for each in service.selected if each.first_party]:
        raise ConfigError(
            f"layer `{own[0]}` has the service's own code, which other packagings cannot be compared with",
            hint="put the code into the zips of functions: remove `first-party`",
        )
    # A name in `only` may be locked for another target only.
    plan = resolve(context, service).targets[0]
    return plan.service, plan


def _weighed_needs(
    plan: TargetPlan, search: NeedsSearch, sizes: ZipSizes, needed: Mapping[str, frozenset[str]]
) -> Needs:
    """Return the needs with the sizes that distributions have in one layer, and functions without any."""
    unweighed = Needs(
        distributions=tuple(
            WeighedDistribution(name=pin.name, version=pin.version, zipped_bytes=0, unzipped_bytes=0)
            for pin in search.pins.values()
        ),
        functions=tuple(
            FunctionNeeds(function=each.name, distributions=needed[each.name], own_zipped_bytes=0, own_unzipped_bytes=0)
            for each in plan.service.functions
        ),
    )
    whole = sizes.complete(one_layer(unweighed), plan, search.pins)
    try:
        archives = sizes.weigh_plan(whole)
    except PathCollisionError:
        # Functions of which none has both distributions can have those that are not possible in one layer.
        whole = sizes.complete(layer_for_each(unweighed), plan, search.pins)
        archives = sizes.weigh_plan(whole)
    own = {name: each for each in archives if each.kind is Packaging.ZIP for name in each.functions}
    layers = [sizes.layer(layer, whole) for layer in whole.decided]
    external = plan.service.external_bytes
    return Needs(
        distributions=tuple(
            sorted((each for layer in layers for each in layer.distributions), key=lambda each: each.name)
        ),
        functions=tuple(
            FunctionNeeds(
                function=each.name,
                distributions=needed[each.name],
                own_zipped_bytes=own[each.name].zipped_bytes,
                own_unzipped_bytes=own[each.name].unzipped_bytes,
                external_layers=len(each.layer_arns),
                external_unzipped_bytes=sum(external.get(arn, 0) for arn in each.layer_arns),
            )
            for each in plan.service.functions
        ),
        layer_bytes=max(
            (layer.unzipped_bytes - sum(each.unzipped_bytes for each in layer.distributions) for layer in layers),
            default=0,
        ),
    )


def _deploys(history: History, options: AdviceOptions) -> DeploysPerYear | None:
    """Return the deploys in a year, as far as the user and git say both numbers; the share of updates is that of git."""
    edits, bumps = history.edits_per_year, history.bumps_per_year
    total, updates = options.deploys_per_year, options.updates_per_year
    if total is not None and updates is None and edits is not None and bumps is not None and edits + bumps:
        # In integers: a float would lose digits.
        updates = (2 * total * bumps + edits + bumps) // (2 * (edits + bumps))
    if total is not None and updates is not None:
        return DeploysPerYear(edits=max(0, total - updates), bumps=updates)
    if total is not None or edits is None or bumps is None:
        return None
    return DeploysPerYear(edits=edits, bumps=bumps if updates is None else updates)
