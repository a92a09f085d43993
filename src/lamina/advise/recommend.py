"""
Recommend a layout, with reasons. Pure: needs, thresholds, measured times and what rules a layout out decide.

The rules are tried in this order, and the first one that applies decides; docs/explanation/packaging-advice.md has the same numbers:

1. No layer for a service without distributions, or with one function whose zip stays small.
2. Several layers if they save a function a third of the one layer, and a lot of bytes, and it is measured to start slowly with one layer.
   Also if they are configured, and the time with one layer is not known.
3. One layer for all functions.
4. The best split, because one layer is not possible.
5. Zips with only what each function needs, because no split is possible.
6. A container image for each function that exceeds the limit with nothing but what it needs.

A layout that cannot be built, or that exceeds a limit, is never recommended. A distribution that no function is known to need stays in all
functions that need any, because an import may be hidden from analysis. It is left out only if nothing fits otherwise.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from lamina.advise.layouts import one_layer, zips_with_everything, zips_with_needed
from lamina.advise.split import best_split, several_layers
from lamina.advise.values import NoSplit, Split
from lamina.core.frozen import frozen, replace
from lamina.core.text import count, sized
from lamina.pipeline.checks.common import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lamina.advise.thresholds import AdviceThresholds
    from lamina.advise.values import Layout, LimitExcess, Needs
    from lamina.core.target import Quotas

MEASURE = "lamina coldstart --baseline coldstart.json --write-baseline"
"""The command that measures the cold starts of the configured layout, for `lamina advise`."""


@frozen
class MeasuredStart:
    """The measured initialisation of a function."""

    milliseconds: float
    source: str
    """Where the time comes from, such as ``CloudWatch, 24 hours``."""


@frozen
class MissingEvidence:
    """A measurement that could change the recommendation."""

    text: str
    command: str
    """The command that gets it."""


@frozen
class Alternative:
    """A layout that is not recommended."""

    layout: Layout
    text: str
    """Why it could be chosen, or why it is not recommended."""


@frozen
class Recommendation:
    """The layout to use, and why."""

    layout: Layout | None
    """``None`` for a container image for each function that exceeds the limit."""
    reasons: tuple[str, ...]
    missing: tuple[MissingEvidence, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    split: Split | NoSplit
    """The best split, also if it is not recommended."""
    left_out: tuple[str, ...] = ()
    """The distributions that no function is known to need, and that the layout leaves out because nothing fits otherwise."""


def recommend(
    needs: Needs,
    thresholds: AdviceThresholds,
    *,
    limits: Quotas,
    measured: Mapping[str, MeasuredStart] | None = None,
    configured: Layout | None = None,
    obstacle: Callable[[Layout], str] = lambda _: "",
) -> Recommendation:
    """
    Return the layout to use for the service with *needs*, which has the layout *configured* now.

    *measured* are the times of functions with one layer for all functions, as far as they are known. *obstacle* returns why a layout
    cannot be used, or an empty text.
    """
    case = _Case(needs, thresholds, limits=limits, measured=measured or {}, configured=configured, obstacle=obstacle)
    rules = (_no_layer, _worthwhile_layers, _one_layer, _necessary_layers, _zips, _as_configured)
    found = (found for rule in rules if (found := rule(case)) is not None)
    return next(found, None) or _image(case)


class _Case:
    """What the rules decide about."""

    def __init__(
        self,
        needs: Needs,
        thresholds: AdviceThresholds,
        *,
        limits: Quotas,
        measured: Mapping[str, MeasuredStart],
        configured: Layout | None,
        obstacle: Callable[[Layout], str],
    ) -> None:
        self.needs = needs
        self.thresholds = thresholds
        self.limits = limits
        self.measured = measured
        self.configured = configured
        self.obstacle = obstacle
        self.one_layer = one_layer(needs)
        self.full = frozenset(each.function for each in needs.functions if each.external_layers >= limits.layers)
        """The functions that can have no further layer."""

    @cached_property
    def no_one_layer(self) -> str:
        """Why one layer for all functions is not possible; empty if it is."""
        excesses = one_layer_excesses(self.needs, self.limits)
        return _excess_text(excesses) if excesses else self.why_not(self.one_layer)

    def why_not(self, layout: Layout) -> str:
        """Return the obstacle of *layout* for a sentence that says that it is not possible; empty if there is none."""
        return self.obstacle(layout).removeprefix("impossible: ")

    @cached_property
    def split(self) -> Split | NoSplit:
        """The best split; without what no function is known to need only if one layer is not possible, and nothing fits otherwise."""
        split = self._split(_with_unneeded(self.needs))
        return self._split(self.needs) if isinstance(split, NoSplit) and self.no_one_layer else split

    @cached_property
    def left_out(self) -> tuple[str, ...]:
        """The distributions that *split* leaves out."""
        if not self.no_one_layer or isinstance(self._split(_with_unneeded(self.needs)), Split):
            return ()
        return tuple(each.name for each in self.needs.unneeded)

    def _split(self, needs: Needs) -> Split | NoSplit:
        """Return the best split, in which the functions in *full* have their layers in their zips, so that no limit of their number applies."""
        functions = tuple(
            replace(each, external_layers=0) if each.function in self.full else each for each in needs.functions
        )
        return best_split(
            replace(needs, functions=functions), layer_cost=self.thresholds.layer_cost, limits=self.limits
        )

    @cached_property
    def savings(self) -> dict[str, int]:
        """How many unzipped bytes less each function has with *split* than with one layer, if any."""
        if isinstance(self.split, NoSplit):
            return {}
        sizes = {each.name: each.unzipped_bytes for each in self.needs.distributions}
        layers = {layer.name: sum(sizes[name] for name in layer.distributions) for layer in self.split.layers}
        found = {
            each.name: sum(sizes.values()) - sum(layers[name] for name in each.layers) for each in self.split.functions
        }
        return {name: saved for name, saved in found.items() if saved}

    @cached_property
    def drastic_savings(self) -> dict[str, int]:
        """Those of *savings* that are worth several layers if the function starts slowly, the largest first."""
        total = sum(each.unzipped_bytes for each in self.needs.distributions)
        least = max(self.thresholds.split_saving, total * self.thresholds.split_share / 100)
        found = {name: saved for name, saved in self.savings.items() if saved >= least}
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @property
    def reasons_beyond(self) -> tuple[str, ...]:
        """Why one layer is not possible, and what is left out."""
        reason = f"one layer for all functions is not possible: {self.no_one_layer}"
        text = f"nothing fits together with what no function is known to need: {listed(self.left_out)}"
        return (reason, text) if self.left_out else (reason,)


def _no_layer(case: _Case) -> Recommendation | None:
    needs, layout = case.needs, zips_with_everything(case.needs)
    zipped = needs.functions[0].own_zipped_bytes + sum(each.zipped_bytes for each in needs.distributions)
    most, only = case.thresholds.small_function, Alternative(layout=case.one_layer, text="if you add functions")
    is_small = len(needs.functions) == 1 and zipped <= most
    too_large = any(each.unzipped_bytes for each in one_layer_excesses(needs, case.limits))
    if (needs.distributions and not is_small) or too_large or case.obstacle(layout):
        return None
    if not needs.distributions:
        return Recommendation(layout=layout, reasons=("the functions have no distributions",), split=case.split)
    reason = (
        f"the zip of the only function has {sized(zipped)} with all distributions, which is not more than `small-function` "
        f"({sized(most)})"
    )
    return Recommendation(
        layout=layout, reasons=(reason,), alternatives=() if case.no_one_layer else (only,), split=case.split
    )


def _worthwhile_layers(case: _Case) -> Recommendation | None:
    split, savings = case.split, case.drastic_savings
    if case.no_one_layer or isinstance(split, NoSplit) or len(split.layers) < 2 or not savings:
        return None
    several = several_layers(split)
    known = [name for name in savings if name in case.measured]
    slow = [name for name in known if case.measured[name].milliseconds >= case.thresholds.slow_start_ms]
    is_configured = case.configured is not None and case.configured.shape == several.shape
    if case.obstacle(several) or not (slow or (is_configured and len(known) < len(savings))):
        return None
    missing: tuple[MissingEvidence, ...] = ()
    if slow:
        reasons = (f"{_saved(slow, savings)} with several layers, and {_times(slow, case)} with one layer",)
    else:
        reasons = (f"they are configured, and {_saved([*savings], savings)} than with one layer",)
        text = (
            "how the functions start with one layer is not measured; to compare, write `one-layer`, build and measure"
        )
        missing = (MissingEvidence(text=text, command=MEASURE),)
    return Recommendation(
        layout=several,
        reasons=(*reasons, *gap_text(split)),
        missing=missing,
        alternatives=(Alternative(layout=case.one_layer, text="less to publish and to version"),),
        split=split,
    )


def _one_layer(case: _Case) -> Recommendation | None:
    if case.no_one_layer:
        return None
    split, thresholds, savings = case.split, case.thresholds, case.drastic_savings
    reasons = ["one layer for all functions is the default"]
    if isinstance(split, NoSplit) or len(split.layers) < 2 or case.obstacle(several := several_layers(split)):
        reasons.append(f"no other layer saves {sized(thresholds.layer_cost)} over all functions")
        return Recommendation(layout=case.one_layer, reasons=tuple(reasons), split=split)
    unknown = [name for name in savings if name not in case.measured]
    known = [name for name in savings if name in case.measured]
    if known:
        reasons.append(
            f"{_saved(known, savings)} with several layers, but {_times(known, case)}, less than `slow-start` "
            f"({thresholds.slow_start_ms:,} ms)"
        )
    elif not savings:
        share = f"{sized(thresholds.split_saving)} and {thresholds.split_share}%"
        reasons.append(f"several layers save no function {share}")
    text = f"saves {sized(sum(case.savings.values()))} over all functions"
    if unknown:
        which = listed(unknown) if len(unknown) == 1 else f"one of {listed(unknown)}"
        text = f"if {which} starts in {thresholds.slow_start_ms:,} ms or more"
    return Recommendation(
        layout=case.one_layer,
        reasons=tuple(reasons),
        missing=(_missing(unknown, savings),) if unknown else (),
        alternatives=(Alternative(layout=several, text="; ".join((text, *gap_text(split)))),),
        split=split,
    )


def _necessary_layers(case: _Case) -> Recommendation | None:
    split = case.split
    if isinstance(split, NoSplit):
        return None
    zipped = case.full & {each.name for each in split.functions if each.layers}
    layout = several_layers(split, zipped)
    if case.obstacle(layout):
        return None
    text = f"the distributions of {listed(sorted(zipped))} go into the zip, as Lambda allows no further layer"
    return Recommendation(
        layout=layout,
        reasons=(*case.reasons_beyond, *((text,) if zipped else ()), *gap_text(split)),
        alternatives=tuple(
            Alternative(layout=zips, text="no layers to publish and to version")
            for zips in [zips_with_needed(case.needs)]
            if not case.obstacle(zips)
        ),
        split=split,
        left_out=case.left_out,
    )


def _zips(case: _Case) -> Recommendation | None:
    split, layout = case.split, zips_with_needed(case.needs)
    if (isinstance(split, NoSplit) and split.is_inevitable) or case.obstacle(layout):
        return None
    if isinstance(split, Split):
        reason = case.why_not(several_layers(split))
        text = f"several layers are not possible{f': {reason}' if reason != case.no_one_layer else ', for the same reason'}"
    else:
        found = "there is no split within the limits" if split.is_proven else "no split within the limits was found"
        text = (
            f"{found}: in the closest one, {_excess_text(split.excesses)}; a zip with only what the function needs fits"
        )
    left_out = tuple(each.name for each in case.needs.unneeded)
    return Recommendation(layout=layout, reasons=(*case.reasons_beyond, text), split=split, left_out=left_out)


def _as_configured(case: _Case) -> Recommendation | None:
    if case.configured is None or case.obstacle(case.configured):
        return None
    return Recommendation(
        layout=case.configured, reasons=(*case.reasons_beyond, "no other packaging is possible"), split=case.split
    )


def _image(case: _Case) -> Recommendation:
    split = case.split
    if isinstance(split, NoSplit) and split.is_inevitable:
        text = f"only with what it needs itself, {_excess_text(split.excesses)}; this is possible only with a container image"
    else:
        text = f"zips are not possible: {case.why_not(zips_with_needed(case.needs))}"
    return Recommendation(layout=None, reasons=(*case.reasons_beyond, text), split=split, left_out=case.left_out)


def one_layer_excesses(needs: Needs, limits: Quotas) -> tuple[LimitExcess, ...]:
    """Return the functions that exceed a limit if all distributions are in one layer that all functions have."""
    everything = frozenset(each.name for each in needs.distributions)
    functions = tuple(replace(each, distributions=everything) for each in needs.functions)
    found = best_split(replace(needs, functions=functions), layer_cost=0, limits=limits)
    return found.excesses if isinstance(found, NoSplit) else ()


def _with_unneeded(needs: Needs) -> Needs:
    """Return *needs* with the distributions that no function is known to need in all functions that need any, or else in all functions."""
    unneeded = frozenset(each.name for each in needs.unneeded)
    any_needed = any(each.distributions for each in needs.functions)
    return replace(
        needs,
        functions=tuple(
            replace(each, distributions=each.distributions | unneeded) if each.distributions or not any_needed else each
            for each in needs.functions
        ),
    )


def _excess_text(excesses: Sequence[LimitExcess]) -> str:
    """Return by how much the worst of *excesses* exceeds Lambda's limits, and how many others do."""
    worst = max(excesses, key=lambda each: (each.unzipped_bytes, each.layers))
    over = [f"{count(worst.unzipped_bytes, 'byte')} above the limit"] if worst.unzipped_bytes else []
    over += [f"{count(worst.layers, 'layer')} above the limit"] if worst.layers else []
    more = f", and {count(len(excesses) - 1, 'more function')}" if len(excesses) > 1 else ""
    return f"`{worst.function}` is {' and '.join(over)}{more}"


def _saved(functions: Sequence[str], savings: Mapping[str, int]) -> str:
    """Return how much less *functions* have, the largest saving first."""
    most = max(savings[name] for name in functions)
    if len(functions) == 1:
        return f"`{functions[0]}` has {sized(most)} less"
    return f"{count(len(functions), 'function')} have up to {sized(most)} less"


def _times(functions: Sequence[str], case: _Case) -> str:
    """Return in which time *functions* start, and where this was measured."""
    times = [case.measured[name] for name in functions]
    source = ", ".join(sorted({each.source for each in times}))
    least, most = (f"{pick(each.milliseconds for each in times):,.0f}" for pick in (min, max))
    if len(functions) == 1:
        return f"starts in {most} ms ({source})"
    return f"start in {f'{least} to {most}' if least != most else most} ms ({source})"


def gap_text(split: Split) -> tuple[str, ...]:
    """Return how far *split* can be from the optimum, if that is not proven to be the optimum."""
    if not split.gap:
        return ()
    return (f"this split is the best that was found; a better one could save at most {split.gap:.1%} of its cost",)


def _missing(functions: Sequence[str], savings: Mapping[str, int]) -> MissingEvidence:
    return MissingEvidence(
        text=f"the initialisation of {listed(functions)} with one layer is not measured; {_saved(functions, savings)} with several "
        "layers",
        command=MEASURE,
    )
