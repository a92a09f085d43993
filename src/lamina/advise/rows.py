"""Weigh each layout, and make the rows of the comparison."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from lamina.advise.deploys import costs
from lamina.advise.layouts import one_layer, zips_with_everything, zips_with_needed
from lamina.advise.split import several_layers
from lamina.advise.values import NoSplit
from lamina.core.errors import PathCollisionError
from lamina.core.frozen import frozen, replace
from lamina.core.text import count
from lamina.project.service import Packaging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.advise.deploys import DeployCosts, WeighedArchive
    from lamina.advise.hiding import HiddenModules
    from lamina.advise.history import History
    from lamina.advise.needs import NeedsSearch
    from lamina.advise.recommend import MeasuredStart, Recommendation
    from lamina.advise.starts import MeasuredStarts
    from lamina.advise.values import FunctionNeeds, Layout, LayoutShape, Needs
    from lamina.advise.weigh import ZipSizes
    from lamina.core.target import Quotas
    from lamina.pipeline.plan import TargetPlan


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
    """The unzipped bytes of a function with all its layers."""

    name: str
    unzipped_bytes: int | None
    """``None`` if nothing is known."""
    is_least: bool = False
    """Whether the function has layers by ARN of unknown size in addition."""


@frozen
class ComparedLayout:
    """One row of the comparison. What is not known is ``None``, with the reason in *note*."""

    kind: LayoutKind
    title: str
    is_configured: bool = False
    """Whether the configuration has this layout now."""
    layout: Layout | None = None
    """``None`` if there is no such layout, or it cannot be built."""
    archives: tuple[WeighedArchive, ...] = ()
    costs: DeployCosts | None = None
    functions: tuple[FunctionSize, ...] = ()
    """The sizes of the functions, in the order of the configuration."""
    editable: tuple[str, ...] | None = None
    """The functions that the Lambda console's editor opens."""
    versioned: int | None = None
    """The number of layers and functions that get versions."""
    start: MeasuredStart | None = None
    """The measured initialisation of the slowest function."""
    obstacle: str = ""
    """Why the layout cannot be used; empty if it can be built and deployed."""
    note: str = ""

    @property
    def largest(self) -> FunctionSize | None:
        """The function with the most unzipped bytes; ``None`` if one of them is unknown."""
        if any(each.unzipped_bytes is None for each in self.functions):
            return None
        found = max(self.functions, key=lambda each: each.unzipped_bytes or 0, default=None)
        is_least = any(each.is_least for each in self.functions)
        return None if found is None else replace(found, is_least=is_least)


class LayoutRows:
    """Makes the rows of the comparison. Each layout is weighed once."""

    def __init__(
        self,
        plan: TargetPlan,
        search: NeedsSearch,
        sizes: ZipSizes,
        needs: Needs,
        *,
        limits: Quotas,
        configured: Layout,
        history: History,
        starts: MeasuredStarts,
        hidden: HiddenModules,
    ) -> None:
        self._plan = plan
        self._search = search
        self._sizes = sizes
        self._needs = needs
        self._limits = limits
        self._configured = configured
        self._history = history
        self._starts = starts
        self._hidden = hidden
        self._weighed: dict[LayoutShape, tuple[tuple[WeighedArchive, ...], str]] = {}

    def obstacle(self, layout: Layout) -> str:
        """Return why *layout* cannot be used, or an empty text. Raises the errors of weighing."""
        return self._weigh(layout)[1]

    def all(self, recommendation: Recommendation) -> Iterator[ComparedLayout]:
        """Yield the rows, that of the configured layout first unless another row has the same layout."""
        layouts = [
            (LayoutKind.ZIP_EVERYTHING, zips_with_everything(self._needs)),
            (LayoutKind.ZIP_NEEDED, zips_with_needed(self._needs)),
            (LayoutKind.ONE_LAYER, one_layer(self._needs)),
        ]
        split, recommended = recommendation.split, recommendation.layout
        known = {layout.shape for _, layout in layouts}
        if recommended is not None and recommended != self._configured and recommended.shape not in known:
            # The best split can have some functions as zips.
            layouts.append((LayoutKind.SEVERAL_LAYERS, recommended))
        elif not isinstance(split, NoSplit) and len(split.layers) > 1:
            layouts.append((LayoutKind.SEVERAL_LAYERS, several_layers(split)))
        if all(self._configured.shape != layout.shape for _, layout in layouts):
            yield self._row(LayoutKind.CONFIGURED, self._configured)
        for kind, layout in layouts:
            yield self._row(kind, layout)
        if layouts[-1][0] is not LayoutKind.SEVERAL_LAYERS:
            note = "none is within Lambda's limits" if isinstance(split, NoSplit) else "the best split is one layer"
            yield ComparedLayout(kind=LayoutKind.SEVERAL_LAYERS, title="several layers", note=note)
        yield ComparedLayout(kind=LayoutKind.IMAGE, title="image per function", note="not measured")
        yield ComparedLayout(
            kind=LayoutKind.IMAGE_SHARED_BASE, title="image per function, shared base", note="not measured"
        )
        yield from self._external()

    def _weigh(self, layout: Layout) -> tuple[tuple[WeighedArchive, ...], str]:
        """Return the zips of *layout*, none if they cannot be built, and why the layout cannot be used."""
        shape = layout.shape
        if shape not in self._weighed:
            is_configured = self._configured.shape == shape
            plan = self._plan if is_configured else self._sizes.complete(layout, self._plan, self._search.pins)
            try:
                archives = self._sizes.weigh_plan(plan)
            except PathCollisionError as error:
                # Own code and a distribution, or two distributions, can have conflicting paths, which only a zip with both has.
                self._weighed[shape] = (), f"impossible: {error}"
            else:
                self._weighed[shape] = archives, self._limit(layout, archives) or self._hidden.obstacle(layout)
        return self._weighed[shape]

    def _limit(self, layout: Layout, archives: tuple[WeighedArchive, ...]) -> str:
        """Return which limit *layout* exceeds, or an empty text."""
        attached = {each.name: len(each.layers) for each in layout.functions if each.packaging is Packaging.LAYER}
        counts = {
            each.function: attached.get(each.function, 0) + each.external_layers for each in self._needs.functions
        }
        name, most = max(counts.items(), key=lambda item: item[1])
        if most > self._limits.layers:
            return f"exceeds Lambda's limit of {self._limits.layers} layers: `{name}` has {most}"
        if max(_total(each, archives) for each in self._needs.functions) > self._limits.unzipped_bytes:
            return f"exceeds Lambda's limit of {self._limits.unzipped_bytes:,} bytes"
        return ""

    def _row(self, kind: LayoutKind, layout: Layout) -> ComparedLayout:
        is_configured = self._configured.shape == layout.shape
        archives, obstacle = self._weigh(layout)
        if not archives:
            return ComparedLayout(
                kind=kind, title=layout.title, is_configured=is_configured, obstacle=obstacle, note=obstacle
            )
        external, service = self._plan.service.external_bytes, self._plan.service
        unpinned = {each.name for each in service.functions if not external.keys() >= {*each.layer_arns}}
        measured = self._starts.of(layout).values()
        return ComparedLayout(
            kind=kind,
            title=layout.title,
            is_configured=is_configured,
            layout=layout,
            archives=archives,
            costs=costs(archives, self._history.bumps),
            functions=tuple(
                FunctionSize(
                    name=each.function,
                    unzipped_bytes=_total(each, archives),
                    is_least=each.function in unpinned,
                )
                for each in self._needs.functions
            ),
            editable=tuple(
                each.function
                for each in self._needs.functions
                if any(
                    each.function in archive.functions and archive.zipped_bytes <= self._limits.console_bytes
                    for archive in archives
                    if archive.kind is Packaging.ZIP
                )
            ),
            versioned=len(self._needs.functions) + sum(each.kind is Packaging.LAYER for each in archives),
            start=max(measured, key=lambda each: each.milliseconds, default=None),
            obstacle=obstacle,
            note=obstacle,
        )

    def _external(self) -> Iterator[ComparedLayout]:
        service = self._plan.service
        arns = dict.fromkeys(arn for function in service.functions for arn in function.layer_arns)
        if not arns:
            return
        known = service.external_bytes
        unpinned = sum(arn not in known for arn in arns)
        yield ComparedLayout(
            kind=LayoutKind.EXTERNAL_LAYERS,
            title=f"{count(len(arns), 'layer')} by ARN, in addition",
            functions=tuple(
                FunctionSize(
                    name=each.name,
                    unzipped_bytes=sum(known.get(arn, 0) for arn in each.layer_arns)
                    if known.keys() & {*each.layer_arns} or not each.layer_arns
                    else None,
                    is_least=not known.keys() >= {*each.layer_arns},
                )
                for each in service.functions
            ),
            versioned=len(arns),
            note=f"{count(unpinned, 'layer')} not pinned, so of unknown size: run `lamina pin`" if unpinned else "",
        )


def _total(function: FunctionNeeds, archives: tuple[WeighedArchive, ...]) -> int:
    """Return the unzipped bytes of *function* with all its layers, as far as they are known."""
    own = sum(each.unzipped_bytes for each in archives if function.function in each.functions)
    return own + function.external_unzipped_bytes
