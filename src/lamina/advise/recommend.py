"""
Recommend a layout, with reasons. Pure: needs, thresholds and measured times decide.

The rules are tried in this order, and the first one that applies decides:

1. A service without distributions, or with one function whose zip stays small, needs no layer.
2. If one layer for all functions is within Lambda's limits, it is recommended, unless several layers save a function a third of it, and a
   lot of bytes, and it is measured to start slowly. Then several layers are recommended. They still are
   when they are configured, because times that are measured with them say nothing about one layer.
3. If one layer exceeds a limit, the best split is recommended, and if there is none, zips with only what each function needs.
4. If a function exceeds the limit with nothing but what it needs, only an image helps.

A distribution that no function is known to need is kept where all functions have it, because an import may be hidden from analysis. It is
left out only if nothing fits otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.advise.layouts import one_layer, zips_with_everything, zips_with_needed
from lamina.advise.split import LimitExcess, NoSplit, Split, best_split, several_layers
from lamina.core.frozen import frozen, replace
from lamina.core.text import count, megabytes
from lamina.pipeline.checks.common import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lamina.advise.thresholds import AdviceThresholds
    from lamina.advise.values import Layout, Needs
    from lamina.core.target import Quotas

_DRASTIC = 1 / 3
"""The least share of the one layer that several layers have to save a function before they are worth it."""


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
    missing: tuple[MissingEvidence, ...]
    alternatives: tuple[Alternative, ...]
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
) -> Recommendation:
    """
    Return the layout to use for the service with *needs*.

    *measured* are the times of functions with the layout *configured*, as far as they are known.
    """
    everywhere = _with_unneeded(needs)
    crowded = frozenset(each.function for each in needs.functions if each.external_layers >= limits.layers)
    split = _split(everywhere, crowded, thresholds, limits)
    excesses = tuple(_one_layer_excesses(needs, limits))
    small = _small_reason(needs, thresholds)
    if small is not None and not any(each.unzipped_bytes for each in excesses):
        one = Alternative(layout=one_layer(needs), text="if the service gets more functions")
        return Recommendation(
            layout=zips_with_everything(needs),
            reasons=(small,),
            missing=(),
            alternatives=() if excesses else (one,),
            split=split,
        )
    if not excesses:
        return _within_limits(needs, split, thresholds, measured or {}, configured)
    reasons = [f"one layer for all functions is not possible: {_excess_text(excesses)}"]
    left_out: tuple[str, ...] = ()
    if isinstance(split, NoSplit) and needs.unneeded:
        split = _split(needs, crowded, thresholds, limits)
        left_out = tuple(each.name for each in needs.unneeded)
        reasons.append(f"nothing fits together with what no function is known to need: {listed(left_out)}")
    return _beyond_limits(needs, split, crowded, reasons, left_out)


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


def _split(needs: Needs, crowded: frozenset[str], thresholds: AdviceThresholds, limits: Quotas) -> Split | NoSplit:
    """Return the best split, in which the functions *crowded* have their layers in their zips, so that no limit of their number applies."""
    functions = tuple(
        replace(each, external_layers=0) if each.function in crowded else each for each in needs.functions
    )
    return best_split(replace(needs, functions=functions), layer_cost=thresholds.layer_cost, limits=limits)


def _small_reason(needs: Needs, thresholds: AdviceThresholds) -> str | None:
    """Return why the service needs no layer, or ``None`` if it may need one."""
    if not needs.distributions:
        return "the functions have no distributions"
    if len(needs.functions) != 1:
        return None
    zipped = needs.functions[0].own_zipped_bytes + sum(each.zipped_bytes for each in needs.distributions)
    if zipped > thresholds.small_function:
        return None
    return (
        f"the zip of the only function has {megabytes(zipped)} with all distributions, at most {megabytes(thresholds.small_function)}, "
        "so that a layer saves nothing that matters"
    )


def _one_layer_excesses(needs: Needs, limits: Quotas) -> Iterator[LimitExcess]:
    """Return the functions that exceed a limit if all distributions are in one layer that all functions have."""
    total = sum(each.unzipped_bytes for each in needs.distributions)
    for each in needs.functions:
        size = total + each.own_unzipped_bytes + each.external_unzipped_bytes
        excess = LimitExcess(
            function=each.function,
            unzipped_bytes=max(0, size - limits.unzipped_bytes),
            layers=max(0, each.external_layers + 1 - limits.layers),
        )
        if excess.unzipped_bytes or excess.layers:
            yield excess


def _excess_text(excesses: Sequence[LimitExcess]) -> str:
    """Return by how much the worst of *excesses* exceeds Lambda's limits, and how many others do."""
    worst = max(excesses, key=lambda each: (each.unzipped_bytes, each.layers))
    over = [f"{worst.unzipped_bytes:,} bytes above the limit"] if worst.unzipped_bytes else []
    over += [f"{count(worst.layers, 'layer')} above the limit"] if worst.layers else []
    more = f", and {count(len(excesses) - 1, 'more function')}" if len(excesses) > 1 else ""
    return f"`{worst.function}` is {' and '.join(over)}{more}"


def _within_limits(
    needs: Needs,
    split: Split | NoSplit,
    thresholds: AdviceThresholds,
    measured: Mapping[str, MeasuredStart],
    configured: Layout | None,
) -> Recommendation:
    """Return one layer, or *split* if sizes and measured times are for it."""
    default = "one layer for all functions is the default"
    if isinstance(split, NoSplit) or len(split.layers) < 2:
        return Recommendation(
            layout=one_layer(needs),
            reasons=(f"{default}, and no other layer saves {megabytes(thresholds.layer_cost)} over all functions",),
            missing=(),
            alternatives=(),
            split=split,
        )
    savings = _drastic_savings(needs, split, thresholds)
    several, one = several_layers(split), Alternative(layout=one_layer(needs), text="less to publish and to version")
    if savings and configured is not None and configured.shape == several.shape:
        # Times that were measured with several layers say nothing about one layer.
        reason = f"configured so, and `{next(iter(savings))}` has {megabytes(next(iter(savings.values())))} less than with one layer"
        return Recommendation(
            layout=several, reasons=(reason, *_gap(split)), missing=(), alternatives=(one,), split=split
        )
    known = {name: measured[name] for name in savings if name in measured}
    times = {
        name: f"`{name}` has {megabytes(savings[name])} less with several layers, and starts in "
        f"{start.milliseconds:,.0f} ms ({start.source})"
        for name, start in known.items()
    }
    slow = [name for name, start in known.items() if start.milliseconds >= thresholds.slow_start_ms]
    if slow:
        reasons = (*(times[name] for name in slow), *_gap(split))
        return Recommendation(layout=several, reasons=reasons, missing=(), alternatives=(one,), split=split)
    unknown = [name for name in savings if name not in measured]
    reasons = (
        tuple(f"{text}, less than {thresholds.slow_start_ms:,} ms" for text in times.values())
        if savings
        else (f"several layers save no function {megabytes(thresholds.split_saving)} and a third",)
    )
    return Recommendation(
        layout=one_layer(needs),
        reasons=(default, *reasons),
        missing=(_missing(unknown, savings),) if unknown else (),
        alternatives=(
            Alternative(
                layout=several,
                text=f"if one of {listed(unknown)} starts in {thresholds.slow_start_ms:,} ms or more"
                if unknown
                else f"saves {megabytes(sum(_savings(needs, split).values()))} over all functions",
            ),
        ),
        split=split,
    )


def _gap(split: Split) -> Iterator[str]:
    """Yield how far *split* can be from the optimum, if that is not proven to be the optimum."""
    if split.gap:
        yield f"this split is the best that was found; a better one could save at most {split.gap:.1%} of its cost"


def _missing(functions: Sequence[str], savings: Mapping[str, int]) -> MissingEvidence:
    largest = max(functions, key=lambda name: savings[name])
    return MissingEvidence(
        text=f"the initialisation of {listed(functions)} is not measured; `{largest}` has {megabytes(savings[largest])} less with "
        "several layers",
        command="lamina coldstart --baseline coldstart.json --write-baseline",
    )


def _savings(needs: Needs, split: Split) -> dict[str, int]:
    """Return how many unzipped bytes less each function has with *split* than with one layer, if any."""
    total = sum(each.unzipped_bytes for each in needs.distributions)
    sizes = _layer_sizes(needs, split)
    found = {each.name: total - sum(sizes[name] for name in each.layers) for each in split.functions}
    return {name: saved for name, saved in found.items() if saved}


def _drastic_savings(needs: Needs, split: Split, thresholds: AdviceThresholds) -> dict[str, int]:
    """Return those of `_savings` that are large, the largest first."""
    total = sum(each.unzipped_bytes for each in needs.distributions)
    found = {
        name: saved
        for name, saved in _savings(needs, split).items()
        if saved >= thresholds.split_saving and saved >= _DRASTIC * total
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _layer_sizes(needs: Needs, split: Split) -> dict[str, int]:
    sizes = {each.name: each.unzipped_bytes for each in needs.distributions}
    return {layer.name: sum(sizes[name] for name in layer.distributions) for layer in split.layers}


def _beyond_limits(
    needs: Needs, split: Split | NoSplit, crowded: frozenset[str], reasons: Sequence[str], left_out: tuple[str, ...]
) -> Recommendation:
    """Return *split*, or zips or images if there is none."""
    if isinstance(split, Split):
        zipped = crowded & {each.name for each in split.functions if each.layers}
        if zipped:
            reasons = (
                *reasons,
                f"the distributions of {listed(sorted(zipped))} go into the zip, because Lambda allows no further layer",
            )
        return Recommendation(
            layout=several_layers(split, zipped),
            reasons=(*reasons, *_gap(split)),
            missing=(),
            alternatives=(Alternative(layout=zips_with_needed(needs), text="no layers to publish and to version"),),
            split=split,
            left_out=left_out,
        )
    if split.is_inevitable:
        text = f"only with what it needs itself, {_excess_text(split.excesses)}; this is possible only with a container image"
        layout = None
    else:
        found = "there is no split within the limits" if split.is_proven else "no split within the limits was found"
        text = (
            f"{found}: in the closest one, {_excess_text(split.excesses)}; a zip with only what the function needs fits"
        )
        layout = zips_with_needed(needs)
    return Recommendation(
        layout=layout, reasons=(*reasons, text), missing=(), alternatives=(), split=split, left_out=left_out
    )
