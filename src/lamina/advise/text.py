"""The comparison and the recommendation as lines and tables, for people. Each table is a heading, a header, and rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamina.advise.recommend import MEASURE
from lamina.core.text import count, sized
from lamina.pipeline.checks.common import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.advise.advice import PackagingAdvice
    from lamina.advise.rows import ComparedLayout, FunctionSize
    from lamina.advise.why import NeedExplanation, Reason

_UNKNOWN = "-"


class TextTable(NamedTuple):
    """One table of the comparison."""

    heading: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def title(advice: PackagingAdvice) -> str:
    """Return what was compared."""
    return (
        f"{advice.service} for {advice.target}: {count(len(advice.needs.functions), 'function')}, "
        f"{count(len(advice.needs.distributions), 'distribution')}"
    )


def tables(advice: PackagingAdvice) -> Iterator[TextTable]:
    """Yield the tables: what deploys send to one environment and to all of them, and what Lambda keeps."""
    yield _sent(advice, 1)
    if advice.environments > 1:
        yield _sent(advice, advice.environments)
    yield _kept(advice)


def _sent(advice: PackagingAdvice, environments: int) -> TextTable:
    where = "one environment" if environments == 1 else f"{environments:,} environments"

    def row(each: ComparedLayout) -> tuple[str, ...]:
        if each.costs is None:
            return (_name(each), each.note.partition(":")[0] or _UNKNOWN, "", "", "", "")
        first, edit = each.costs.first.sent * environments, each.costs.edit.sent * environments
        bump, worst = each.costs.bump.sent * environments, each.costs.worst_bump.sent * environments
        seconds = first * 8 / advice.uplink_bits
        return (_name(each), sized(first), f"{seconds:,.1f} s", sized(edit), sized(bump), sized(worst))

    return TextTable(
        heading=f"sent by a deploy to {where}",
        header=("", "first deploy", f"at {speed(advice.uplink_bits)}", "edited handler", "update", "largest update"),
        rows=tuple(row(each) for each in advice.rows if each.costs is not None or environments == 1),
    )


def _kept(advice: PackagingAdvice) -> TextTable:
    limits, environments = advice.limits, advice.environments

    def stored(each: ComparedLayout, times: int) -> str:
        if each.costs is None or advice.deploys is None:
            return _UNKNOWN
        number = each.costs.year(advice.deploys) * times
        return f"{sized(number)} ({number / limits.code_storage_bytes:.0%})"

    def row(each: ComparedLayout) -> tuple[str, ...]:
        editable = _UNKNOWN if each.editable is None else f"{len(each.editable)} of {len(advice.needs.functions)}"
        return (
            _name(each),
            "unknown" if each.largest is None else _share(each.largest, advice),
            stored(each, 1),
            *((stored(each, environments),) if environments > 1 else ()),
            editable,
            _UNKNOWN if each.versioned is None else f"{each.versioned:,}",
            "not measured" if each.start is None else f"{each.start.milliseconds:,.0f} ms",
        )

    several = (f"in {environments:,} environments",) if environments > 1 else ()
    return TextTable(
        heading="kept by Lambda in one environment",
        header=("", "largest function", "stored in a year", *several, "editable", "versioned", "slowest start"),
        rows=tuple(row(each) for each in advice.rows if each.versioned is not None),
    )


def _share(size: FunctionSize, advice: PackagingAdvice) -> str:
    """Return *size* with its share of Lambda's limit."""
    if size.unzipped_bytes is None:
        return "unknown"
    share = size.unzipped_bytes / advice.limits.unzipped_bytes
    return f"{'at least ' if size.is_least else ''}{sized(size.unzipped_bytes)} ({share:.0%})"


def seconds(advice: PackagingAdvice) -> TextTable:
    """Return the table of the times that the uploads of each kind of deploy to one environment take."""
    rows = [(_name(each), each.costs) for each in advice.rows if each.costs is not None]
    return TextTable(
        heading=f"upload to one environment at {speed(advice.uplink_bits)}",
        header=("", "first deploy", "edited handler", "update", "largest update"),
        rows=tuple(
            (
                name,
                *(
                    f"{each.sent * 8 / advice.uplink_bits:,.1f} s"
                    for each in (costs.first, costs.edit, costs.bump, costs.worst_bump)
                ),
            )
            for name, costs in rows
        ),
    )


def sizes(advice: PackagingAdvice) -> TextTable:
    """Return the table of the unzipped size of each function with its layers, by layout; * marks those that the console opens."""
    rows = [each for each in advice.rows if each.functions]
    return TextTable(
        heading="unzipped size of each function with its layers, * if the console can edit it",
        header=("", *(each.kind.value for each in rows)),
        rows=tuple(
            (
                same[0].name,
                *(
                    f"{_share(each, advice)}{'*' if each.name in (row.editable or ()) else ''}"
                    for row, each in zip(rows, same, strict=True)
                ),
            )
            for same in zip(*(each.functions for each in rows), strict=True)
        ),
    )


def notes(advice: PackagingAdvice, *, all_names: bool = True) -> Iterator[str]:
    """Yield what the numbers are based on, and what is not known; not *all_names* of distributions, but a few."""
    history, limits = advice.history, advice.limits
    if history.revisions:
        yield f"updates: the last {count(history.revisions, 'change')} of the lock file in git"
    else:
        yield f"updates: each distribution by itself, because {history.unknown or 'git has no update of the lock file'}"
    if advice.deploys is None:
        yield "deploys in a year: unknown; set `--deploys-per-year N` and `--updates-per-year N`"
    else:
        yield (
            f"deploys in a year: {advice.deploys.edits:,} with edited code, {advice.deploys.bumps:,} with updates; no version is "
            "deleted"
        )
    yield (
        f"limits: {sized(limits.unzipped_bytes)} unzipped for a function with its layers, {sized(limits.code_storage_bytes)} of unzipped "
        "code in an account and region"
    )
    yield f"cold starts: {_measured(advice)}"
    for each in advice.rows:
        # The table has short notes on layouts without numbers.
        if each.note and (each.versioned is not None or ":" in each.note):
            yield f"{each.title}: {each.note}"
    if unneeded := advice.needs.unneeded:
        names = [each.name for each in unneeded]
        total = sum(each.unzipped_bytes for each in unneeded)
        yield (
            f"no function is known to need {listed(names, most=len(names)) if all_names else listed(names)} ({sized(total)}), so "
            "`zip-needed` leaves that out; if a function computes the name of an import, record it with `lamina coldstart --record`"
        )


def _measured(advice: PackagingAdvice) -> str:
    """Return what is known about cold starts, and how to know more."""
    starts = advice.starts
    if not starts.file:
        return f"not measured; measure them with `{MEASURE}`, or read those of deployed functions with `lamina coldstart --aws FUNCTION --logs 24 --json`"
    if starts.is_deployed:
        return (
            f"`{starts.file}` has those of the deployed functions; lamina takes their packaging for the configured one"
        )
    if starts.packages is None:
        return f"`{starts.file}` does not say which packaging was measured; measure again with `{MEASURE}`"
    if all(each.start is None for each in advice.rows):
        return f"`{starts.file}` was measured with another packaging; measure again with `{MEASURE}`"
    return f"`{starts.file}` has those of one packaging, measured on a machine of yours; the others are not measured"


def recommendation(advice: PackagingAdvice) -> Iterator[str]:
    """Yield the recommendation with its reasons."""
    found = advice.recommendation
    name = "a container image" if found.layout is None else found.layout.title
    same = any(
        each.is_configured
        and each.layout is not None
        and found.layout is not None
        and each.layout.shape == found.layout.shape
        for each in advice.rows
    )
    yield f"recommended: {name}{' (as configured)' if same else ''}"
    yield from (f"  because {reason}" for reason in found.reasons)
    for evidence in found.missing:
        yield f"  {evidence.text}: `{evidence.command}`"
    for other in found.alternatives:
        yield f"  alternative: {other.layout.title}, {other.text}"


def reason_lines(reason: Reason) -> Iterator[str]:
    """Yield why functions need a distribution, and why it is locked."""
    for each in reason.explanations:
        yield f"{each.function}: {_chain(each)}"
    if not reason.explanations:
        yield f"no function is known to need {reason.distribution} {reason.version}"
    parents = [*(["the project"] if reason.is_direct else []), *reason.required_by]
    if parents:
        yield f"locked because {', '.join(parents)} {'requires' if len(parents) == 1 else 'require'} it"
    else:
        yield f"no locked distribution requires {reason.distribution}, so the project may require it"


def _chain(each: NeedExplanation) -> str:
    """Return the way from the handler's module to the distribution: own modules, and then distributions."""
    steps = list(each.chain[:-1])
    if each.imported is not None:
        line = "" if each.imported.line is None else f":{each.imported.line}"
        steps[-1] += f" ({each.imported.path}{line})"
    steps += each.distributions[: each.required_from]
    required = [
        f"{name} (required by {by})" for by, name in zip(each.distributions, each.distributions[1:], strict=False)
    ]
    return " → ".join((*steps, *required[each.required_from - 1 :]))


def _name(each: ComparedLayout) -> str:
    return f"{each.title} (as configured)" if each.is_configured and each.title != "as configured" else each.title


def speed(bits: int) -> str:
    """Return *bits* per second as the option ``--uplink`` has it."""
    for unit, factor in (("Gbit", 10**9), ("Mbit", 10**6), ("kbit", 1000)):
        if bits % factor == 0:
            return f"{bits // factor} {unit}/s"
    return f"{bits} bit/s"
