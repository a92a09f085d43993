"""The comparison and the recommendation as lines and tables, for people. Each table is a heading, a header, and rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamina.core.target import quotas
from lamina.core.text import count, megabytes
from lamina.pipeline.checks.common import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.advise.advice import ComparedLayout, PackagingAdvice
    from lamina.advise.why import NeedExplanation, Reason

_UNKNOWN = "-"
_MOST_BYTES = 1_000_000_000
MEASURE = "lamina coldstart --baseline coldstart.json --write-baseline"
"""The command that measures the cold starts of the configured layout, for `lamina advise`."""


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
        return (_name(each), size(first), f"{seconds:,.1f} s", size(edit), size(bump), size(worst))

    return TextTable(
        heading=f"sent by a deploy to {where}",
        header=("", "first deploy", f"at {speed(advice.uplink_bits)}", "edited handler", "update", "largest update"),
        rows=tuple(row(each) for each in advice.rows if each.costs is not None or environments == 1),
    )


def _kept(advice: PackagingAdvice) -> TextTable:
    limits = quotas()

    def row(each: ComparedLayout) -> tuple[str, ...]:
        largest, year = each.largest, _UNKNOWN
        if each.costs is not None and advice.deploys is not None:
            stored = each.costs.year(advice.deploys)
            year = f"{size(stored)} ({stored / limits.code_storage_bytes:.0%})"
        return (
            _name(each),
            _UNKNOWN
            if largest is None
            else f"{size(largest.unzipped_bytes)} ({largest.unzipped_bytes / limits.unzipped_bytes:.0%})",
            year,
            _UNKNOWN if each.editable is None else f"{each.editable} of {len(advice.needs.functions)}",
            _UNKNOWN if each.versioned is None else f"{each.versioned:,}",
            "not measured" if each.start is None else f"{each.start.milliseconds:,.0f} ms",
        )

    return TextTable(
        heading="kept by Lambda in one environment",
        header=("", "largest function", "stored in a year", "editable", "versioned", "slowest start"),
        rows=tuple(row(each) for each in advice.rows if each.versioned is not None),
    )


def sizes(advice: PackagingAdvice) -> TextTable:
    """Return the table of the unzipped size of each function with its layers, by layout."""
    rows = [each for each in advice.rows if each.functions]
    return TextTable(
        heading="unzipped size of each function with its layers",
        header=("", *(each.kind.value for each in rows)),
        rows=tuple(
            (same[0].name, *(size(each.unzipped_bytes) for each in same))
            for same in zip(*(each.functions for each in rows), strict=True)
        ),
    )


def notes(advice: PackagingAdvice) -> Iterator[str]:
    """Yield what the numbers are based on, and what is not known."""
    history, limits = advice.history, quotas()
    if history.revisions:
        yield f"updates: the last {count(history.revisions, 'change')} of the lock file in git"
    else:
        yield f"updates: each distribution by itself, because {history.unknown or 'git has no update of the lock file'}"
    if advice.deploys is None:
        yield "deploys in a year: unknown; set `--deploys-per-year N`"
    else:
        yield (
            f"deploys in a year: {advice.deploys.edits:,} with edited code, {advice.deploys.bumps:,} with updates; no version is "
            "deleted"
        )
    yield (
        f"limits: {size(limits.unzipped_bytes)} unzipped for a function with its layers, {size(limits.code_storage_bytes)} of unzipped "
        "code in an account and region"
    )
    if all(each.start is None for each in advice.rows):
        yield f"cold starts: not measured; measure them with `{MEASURE}`"
    else:
        yield "cold starts: measured for the configured packaging only"
    for each in advice.rows:
        # The table has short notes on layouts without numbers.
        if each.note and (each.versioned is not None or ":" in each.note):
            yield f"{each.title}: {each.note}"
    if unneeded := advice.needs.unneeded:
        yield f"no function is known to need {listed([each.name for each in unneeded])}"


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


def size(number: int) -> str:
    """Return *number* of bytes in MB or kB, and from 1,000 MB on in GB."""
    return f"{number / 1e9:,.2f} GB" if number >= _MOST_BYTES else megabytes(number)


def speed(bits: int) -> str:
    """Return *bits* per second as the option ``--uplink`` has it."""
    for unit, factor in (("Gbit", 10**9), ("Mbit", 10**6), ("kbit", 1000)):
        if bits % factor == 0:
            return f"{bits // factor} {unit}/s"
    return f"{bits} bit/s"
