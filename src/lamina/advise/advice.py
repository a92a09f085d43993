"""Compare the layouts of one target of a service: needs, weights, deploys and limits of each, and the recommendation."""

from __future__ import annotations

import datetime as dt
from enum import Enum
from typing import TYPE_CHECKING

from lamina.advise.deploys import DeploysPerYear, costs
from lamina.advise.history import read_history
from lamina.advise.layouts import configured, one_layer, zips_with_everything, zips_with_needed
from lamina.advise.needs import NeedsSearch
from lamina.advise.recommend import recommend
from lamina.advise.split import NoSplit, several_layers
from lamina.advise.starts import read_starts
from lamina.advise.thresholds import load as load_thresholds
from lamina.advise.values import FunctionNeeds, Needs, WeighedDistribution
from lamina.advise.weigh import Scale
from lamina.core.errors import ConfigError, PathCollisionError
from lamina.core.frozen import frozen
from lamina.core.target import quotas
from lamina.core.text import count
from lamina.pipeline.artifacts import ArtifactProvider
from lamina.pipeline.plan import complete, resolve
from lamina.project import config
from lamina.project.service import Packaging

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.advise.deploys import DeployCosts, WeighedArchive
    from lamina.advise.history import History
    from lamina.advise.needs import Reason
    from lamina.advise.recommend import MeasuredStart, Recommendation
    from lamina.advise.values import Layout
    from lamina.core.target import Target
    from lamina.pipeline.context import BuildContext
    from lamina.pipeline.plan import TargetPlan
    from lamina.project.service import Service


class LayoutKind(Enum):
    """A way to package a service."""

    CONFIGURED = "configured"
    """As the configuration says now, if that is none of the others."""
    ZIP_EVERYTHING = "zip-everything"
    ZIP_NEEDED = "zip-needed"
    ONE_LAYER = "one-layer"
    SEVERAL_LAYERS = "several-layers"
    IMAGE = "image"
    IMAGE_SHARED_BASE = "image-shared-base"
    EXTERNAL_LAYERS = "external-layers"
    """The layers by ARN that functions have in addition, whatever the layout."""


@frozen
class FunctionSize:
    """The unzipped bytes of a function with all its layers, those by ARN as far as they are pinned."""

    name: str
    unzipped_bytes: int


@frozen
class ComparedLayout:
    """One row of the comparison. What is not known is ``None``, with the reason in *note*."""

    kind: LayoutKind
    title: str
    is_configured: bool = False
    """Whether the configuration has this layout now."""
    layout: Layout | None = None
    archives: tuple[WeighedArchive, ...] = ()
    costs: DeployCosts | None = None
    functions: tuple[FunctionSize, ...] = ()
    """The sizes of the functions, in the order of the configuration."""
    editable: int | None = None
    """The number of functions that the Lambda console's editor opens."""
    versioned: int | None = None
    """The number of layers and functions that get versions."""
    start: MeasuredStart | None = None
    """The measured initialisation of the slowest function."""
    note: str = ""

    @property
    def largest(self) -> FunctionSize | None:
        """The function with the most unzipped bytes."""
        return max(self.functions, key=lambda each: each.unzipped_bytes, default=None)


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


@frozen
class AdviceOptions:
    """What the user says about the deploys of the service."""

    environments: int
    uplink_bits: int
    deploys_per_year: int | None = None
    """The number of deploys in a year; ``None`` to count commits."""
    starts: Path | None = None
    """The file with the measured cold starts of the configured layout."""


def advise(context: BuildContext, options: AdviceOptions) -> PackagingAdvice:
    """
    Compare the layouts of the project of *context* for its main target.

    Nothing in the project is written. Raises `ConfigError` for a service without functions, or with its own code in a layer, and the errors
    of building its layers and packages.
    """
    service, plan = _plan(context)
    with ArtifactProvider(context, service.target) as artifacts:
        plan = complete(plan, artifacts)
        search = NeedsSearch(plan, artifacts, context.store)
        scale = Scale(artifacts, context.store)
        needed = search.needed()
        context.reporter.stage("weighing layouts")
        needs = _weighed_needs(plan, search, scale, needed)
        history = read_history(service, context, search.pins, now=dt.datetime.now(dt.UTC))
        starts = {} if options.starts is None else read_starts(options.starts, service)
        recommendation = recommend(
            needs, load_thresholds(context.project), limits=quotas(), measured=starts, configured=configured(plan)
        )
        rows = _Rows(plan, search, scale, history, starts)
        return PackagingAdvice(
            service=service.name,
            target=service.target,
            needs=needs,
            rows=tuple(rows.all(needs, recommendation)),
            history=history,
            deploys=_deploys(history, options),
            environments=options.environments,
            uplink_bits=options.uplink_bits,
            recommendation=recommendation,
        )


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
        if distribution not in search.pins:
            raise ConfigError(
                f"no layer of the service has the distribution `{distribution}`",
                hint="see what layers have: `lamina build --dry-run`",
            )
        return search.reason(distribution, chosen)


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


def _weighed_needs(plan: TargetPlan, search: NeedsSearch, scale: Scale, needed: Mapping[str, frozenset[str]]) -> Needs:
    """Return the needs with the sizes that distributions have in one layer, and functions without any."""
    service = plan.service
    unweighed = Needs(
        distributions=tuple(
            WeighedDistribution(name=pin.name, version=pin.version, zipped_bytes=0, unzipped_bytes=0)
            for pin in search.pins.values()
        ),
        functions=tuple(
            FunctionNeeds(function=each.name, distributions=needed[each.name], own_zipped_bytes=0, own_unzipped_bytes=0)
            for each in service.functions
        ),
    )
    whole = scale.complete(one_layer(unweighed), plan, search.pins)
    own = {name: each for each in scale.weigh_plan(whole) if each.kind is Packaging.ZIP for name in each.functions}
    external = service.external_bytes
    return Needs(
        distributions=tuple(each for layer in whole.decided for each in scale.layer(layer, whole).distributions),
        functions=tuple(
            FunctionNeeds(
                function=each.name,
                distributions=needed[each.name],
                own_zipped_bytes=own[each.name].zipped_bytes,
                own_unzipped_bytes=own[each.name].unzipped_bytes,
                external_layers=len(each.layer_arns),
                external_unzipped_bytes=sum(external.get(arn, 0) for arn in each.layer_arns),
            )
            for each in service.functions
        ),
    )


class _Rows:
    """Makes the rows of the comparison."""

    def __init__(
        self,
        plan: TargetPlan,
        search: NeedsSearch,
        scale: Scale,
        history: History,
        starts: Mapping[str, MeasuredStart],
    ) -> None:
        self._plan = plan
        self._search = search
        self._scale = scale
        self._history = history
        self._starts = starts
        self._configured = configured(plan)

    def all(self, needs: Needs, recommendation: Recommendation) -> Iterator[ComparedLayout]:
        """Yield the rows, that of the configured layout first unless another row has the same layout."""
        layouts = [
            (LayoutKind.ZIP_EVERYTHING, zips_with_everything(needs)),
            (LayoutKind.ZIP_NEEDED, zips_with_needed(needs)),
            (LayoutKind.ONE_LAYER, one_layer(needs)),
        ]
        split = recommendation.split
        if not isinstance(split, NoSplit) and len(split.layers) > 1:
            # The recommended layout may have it with some functions as zips.
            recommended = recommendation.layout
            is_split = recommended is not None and recommended.layers == split.layers
            layout = recommended if recommended is not None and is_split else several_layers(split)
            layouts.append((LayoutKind.SEVERAL_LAYERS, layout))
        if all(self._configured.shape != layout.shape for _, layout in layouts):
            yield self._row(LayoutKind.CONFIGURED, self._configured, needs)
        for kind, layout in layouts:
            yield self._row(kind, layout, needs)
        if isinstance(split, NoSplit):
            yield ComparedLayout(
                kind=LayoutKind.SEVERAL_LAYERS, title="several layers", note="none is within Lambda's limits"
            )
        elif len(split.layers) == 1:
            yield ComparedLayout(
                kind=LayoutKind.SEVERAL_LAYERS, title="several layers", note="the best split is one layer"
            )
        yield ComparedLayout(kind=LayoutKind.IMAGE, title="image per function", note="not measured")
        yield ComparedLayout(
            kind=LayoutKind.IMAGE_SHARED_BASE, title="image per function, shared base", note="not measured"
        )
        yield from self._external()

    def _row(self, kind: LayoutKind, layout: Layout, needs: Needs) -> ComparedLayout:
        is_configured = self._configured.shape == layout.shape
        plan = self._plan if is_configured else self._scale.complete(layout, self._plan, self._search.pins)
        try:
            archives = self._scale.weigh_plan(plan)
        except PathCollisionError as error:
            # Own code and a distribution can have conflicting paths, which only a zip with both has.
            return ComparedLayout(
                kind=kind, title=layout.title, is_configured=is_configured, note=f"impossible: {error}"
            )
        console_bytes = quotas().console_bytes
        totals = {
            each.function: each.external_unzipped_bytes
            + sum(archive.unzipped_bytes for archive in archives if each.function in archive.functions)
            for each in needs.functions
        }
        slowest = max(self._starts.values(), key=lambda each: each.milliseconds, default=None)
        return ComparedLayout(
            kind=kind,
            title=layout.title,
            is_configured=is_configured,
            layout=layout,
            archives=archives,
            costs=costs(archives, self._history.bumps),
            functions=tuple(FunctionSize(name=name, unzipped_bytes=size) for name, size in totals.items()),
            editable=sum(
                len(each.functions)
                for each in archives
                if each.kind is Packaging.ZIP and each.zipped_bytes <= console_bytes
            ),
            versioned=len(totals) + sum(each.kind is Packaging.LAYER for each in archives),
            start=slowest if is_configured else None,
            note=f"exceeds Lambda's limit of {quotas().unzipped_bytes:,} bytes"
            if max(totals.values()) > quotas().unzipped_bytes
            else "",
        )

    def _external(self) -> Iterator[ComparedLayout]:
        service = self._plan.service
        arns = dict.fromkeys(arn for function in service.functions for arn in function.layer_arns)
        if not arns:
            return
        known = service.external_bytes
        unpinned = sum(arn not in known for arn in arns)
        totals = {each.name: sum(known.get(arn, 0) for arn in each.layer_arns) for each in service.functions}
        yield ComparedLayout(
            kind=LayoutKind.EXTERNAL_LAYERS,
            title=f"{count(len(arns), 'layer')} by ARN, in addition",
            functions=tuple(FunctionSize(name=name, unzipped_bytes=size) for name, size in totals.items()),
            versioned=len(arns),
            note=f"{count(unpinned, 'layer')} not pinned, so of unknown size: run `lamina pin`" if unpinned else "",
        )


def _deploys(history: History, options: AdviceOptions) -> DeploysPerYear | None:
    """Return the deploys in a year: the commits, scaled to the number that the user gives."""
    edits, bumps = history.edits_per_year, history.bumps_per_year
    if options.deploys_per_year is not None:
        total = (edits or 0) + (bumps or 0)
        updates = round(options.deploys_per_year * (bumps or 0) / total) if total else 0
        return DeploysPerYear(edits=options.deploys_per_year - updates, bumps=updates)
    return None if edits is None or bumps is None else DeploysPerYear(edits=edits, bumps=bumps)
