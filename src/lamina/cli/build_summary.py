"""A build in words: what was made and why, what is large, how close to the limits. Works on the report's document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.cli.console import megabytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["count", "lines", "table"]

_LARGEST = 12
_DIGEST_DIGITS = 16


def lines(document: Mapping[str, Any], *, reasons: Mapping[str, str], verbose: bool = False) -> Iterator[str]:
    """
    Yield the summary of a build's *document*.

    *reasons* says per layer why it was made; one that is missing there was reused.
    *verbose* lists every distribution and function, not only the largest.
    """
    target = document["target"]
    for layer in document["layers"]:
        made = reasons.get(layer["name"])
        story = f"built: {made}" if made else "unchanged"
        yield f"layer {layer['name']} for {target['runtime']} on {target['architecture']}, {story}"
        if made or verbose:
            yield from _distributions(layer, verbose=verbose)
        yield (
            f"  {layer['path']}  {megabytes(layer['zipped_bytes'])} zipped, "
            f"{megabytes(layer['unzipped_bytes'])} unzipped, {layer['files']:,} files"
        )
        yield f"  digest {layer['digest'][:_DIGEST_DIGITS]}  sha256 {layer['sha256'][:_DIGEST_DIGITS]}"
    yield from _functions(document["functions"], document.get("limits"), verbose=verbose)


def _distributions(layer: Mapping[str, Any], *, verbose: bool) -> Iterator[str]:
    ordered = sorted(layer["distributions"], key=lambda row: (-row["zipped_bytes"], row["name"]))
    shown = ordered if verbose or len(ordered) <= _LARGEST + 1 else ordered[:_LARGEST]
    rows = [_distribution(f"{row['name']} {row['version']}", (row,)) for row in shown]
    if rest := ordered[len(shown) :]:
        rows.append(_distribution(f"{len(rest)} more", rest))
    yield from table(("", "zipped", "unzipped", "bytecode"), rows)


def _distribution(label: str, rows: Iterable[Mapping[str, Any]]) -> tuple[str, str, str, str]:
    rows = tuple(rows)
    bytecode = sum(row["bytecode_bytes"] for row in rows)
    return (
        label,
        megabytes(sum(row["zipped_bytes"] for row in rows)),
        megabytes(sum(row["unzipped_bytes"] for row in rows)),
        megabytes(bytecode) if bytecode else "",
    )


def _functions(functions: list[Mapping[str, Any]], limits: Mapping[str, int] | None, *, verbose: bool) -> Iterator[str]:
    if not functions:
        return
    largest = max(functions, key=lambda row: row["total_unzipped_bytes"])
    zips = len({row["sha256"] for row in functions})
    editable = sum(row["console_editable"] for row in functions)
    size = megabytes(max(row["zipped_bytes"] for row in functions))
    yield (
        f"{count(len(functions), 'function')} in {count(zips, 'package')} of {size}, "
        f"{editable} of {len(functions)} editable in the console"
    )
    if verbose:
        yield from table(
            ("", "zipped", "with layers"),
            [
                (row["name"], megabytes(row["zipped_bytes"]), megabytes(row["total_unzipped_bytes"]))
                for row in functions
            ],
        )
    if limits:
        used, limit = largest["total_unzipped_bytes"], limits["unzipped_bytes"]
        yield (
            f"  largest with its layers: {largest['name']}, {megabytes(used)} of {megabytes(limit)} unzipped "
            f"({used / limit:.0%}), {megabytes(limit - used)} left"
            if used <= limit
            else f"  largest with its layers: {largest['name']}, {megabytes(used)} unzipped, "
            f"{megabytes(used - limit)} over the limit of {megabytes(limit)}"
        )
        yield f"  layers: {len(largest['layers'])} of {limits['layers']}"


def count(number: int, noun: str) -> str:
    """Return *number* with the *noun* in its number."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield *rows* under *header* in columns: the first to the left, the others to the right."""
    every = [header, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(header))]
    for row in every:
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()
