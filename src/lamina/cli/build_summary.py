"""Summarise a build for the terminal: layers, packages, sizes and limits, from the document of the build report."""

from __future__ import annotations

from lamina.core.text import count, megabytes, table

TYPE_CHECKING = False  # a build with nothing to do does not import `typing`
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from lamina.pipeline.build import Result
    from lamina.pipeline.plan import TargetPlan

_LARGEST = 12
_LEFT_OUT = 3
_DIGEST_DIGITS = 16


def document(result: Result, *, project: Path) -> dict[str, Any]:
    """Return the build report of *result*, with all its targets, for the project directory *project*."""
    from lamina.pipeline import report

    return report.document(result.build, project=project, others=[other.build for other in result.others])


def documents(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Split a build report into one document for each target, the default target first. An empty report has none."""
    return [document, *document.get("other_targets", ())] if document else []


def lines(
    document: Mapping[str, Any], result: Result | None, *, verbose: bool = False, width: int | None = None
) -> Iterator[str]:
    """
    Yield the lines of the summary of a build report *document*.

    *result* adds the reasons for rebuilding and the files excluded from packages; it is None if nothing has changed since the last build.
    *verbose* lists all distributions, functions and excluded files, instead of only the largest or first ones. *width* is the width of
    tables in characters.
    """
    results = () if result is None else result.targets
    reasons = [_reasons(each.plan) for each in results]
    for number, each in enumerate(documents(document)):
        yield from _target(each, reasons[number] if reasons else {}, verbose=verbose, width=width)
    if result is None:
        yield f"nothing to do ({document['seconds']:.2f} s)"
        return
    yield from _left_out(result, verbose=verbose)
    yield _closing(result)


def _reasons(plan: TargetPlan) -> dict[str, str]:
    """Return why layers, by name, and zips with distributions, by their functions' names after a slash, were built."""
    packages = [each for each in plan.packages or () if each.reused is None and each.bundle is not None]
    return {layer.name: layer.reason for layer in plan.decided if layer.reused is None} | {
        f"/{function.name}": each.reason for each in packages for function in each.config.functions
    }


def _target(
    document: Mapping[str, Any], reasons: Mapping[str, str], *, verbose: bool, width: int | None
) -> Iterator[str]:
    """Yield the summary of one target; *reasons* maps each rebuilt layer's name to the reason."""
    target = document["target"]
    for layer in document["layers"]:
        made = reasons.get(layer["name"])
        state = f"built ({made})" if made else "unchanged"
        yield f"layer {layer['name']} for {target['runtime']} on {target['architecture']}: {state}"
        yield from _archive(layer, verbose=verbose, width=width, lists=verbose or bool(made))
        yield f"  digest {layer['digest'][:_DIGEST_DIGITS]}  sha256 {layer['sha256'][:_DIGEST_DIGITS]}"
    yield from _bundling(document["functions"], reasons, verbose=verbose, width=width)
    yield from _functions(document["functions"], document.get("limits"), verbose=verbose, width=width)


def _bundling(
    functions: list[Mapping[str, Any]], reasons: Mapping[str, str], *, verbose: bool, width: int | None
) -> Iterator[str]:
    """Yield the summary of each zip with distributions. Functions that share it have one."""
    alike: dict[str, list[Mapping[str, Any]]] = {}
    for row in functions:
        if row.get("distributions"):
            alike.setdefault(row["sha256"], []).append(row)
    for first, *others in alike.values():
        made = reasons.get(f"/{first['name']}")
        more = f" and {count(len(others), 'more function')}" if others else ""
        yield f"zip of {first['name']}{more} with dependencies: {f'built ({made})' if made else 'unchanged'}"
        yield from _archive(first, verbose=verbose, width=width, lists=verbose or bool(made))


def _archive(archive: Mapping[str, Any], *, verbose: bool, width: int | None, lists: bool) -> Iterator[str]:
    """Yield the path and sizes of the layer or zip *archive*, after its distributions if *lists* is set."""
    if lists:
        yield from _distributions(archive, verbose=verbose, width=width)
    yield (
        f"  {archive['path']}  {megabytes(archive['zipped_bytes'])} zipped, "
        f"{megabytes(archive['unzipped_bytes'])} unzipped, {count(archive['files'], 'file')}"
    )


def _distributions(archive: Mapping[str, Any], *, verbose: bool, width: int | None) -> Iterator[str]:
    ordered = sorted(archive["distributions"], key=lambda row: (-row["zipped_bytes"], row["name"]))
    shown = ordered if verbose or len(ordered) <= _LARGEST + 1 else ordered[:_LARGEST]
    rows = [_distribution(f"{row['name']} {row['version']}", (row,)) for row in shown]
    if rest := ordered[len(shown) :]:
        rows.append(_distribution(f"{len(rest)} more", rest))
    if rows:
        yield from table(("", "zipped", "unzipped", "bytecode"), rows, width=width)


def _distribution(label: str, rows: Iterable[Mapping[str, Any]]) -> tuple[str, str, str, str]:
    rows = tuple(rows)
    bytecode = sum(row["bytecode_bytes"] for row in rows)
    return (
        label,
        megabytes(sum(row["zipped_bytes"] for row in rows)),
        megabytes(sum(row["unzipped_bytes"] for row in rows)),
        megabytes(bytecode) if bytecode else "",
    )


def _functions(
    functions: list[Mapping[str, Any]], limits: Mapping[str, int] | None, *, verbose: bool, width: int | None
) -> Iterator[str]:
    if not functions:
        return
    largest = max(functions, key=lambda row: row["total_unzipped_bytes"])
    zips = len({row["sha256"] for row in functions})
    editable = sum(row["console_editable"] for row in functions)
    size = megabytes(max(row["zipped_bytes"] for row in functions))
    has_layers = any(row["layers"] or row.get("layer_arns") for row in functions)
    yield (
        f"{_sharing(len(functions), zips, size)}, "
        f"{'' if editable == len(functions) else f'{editable} of {len(functions)} '}editable in the Lambda console"
    )
    if verbose:
        yield from table(
            ("", "zipped", "with layers" if has_layers else "unzipped"),
            [
                (row["name"], megabytes(row["zipped_bytes"]), megabytes(row["total_unzipped_bytes"]))
                for row in functions
            ],
            width=width,
        )
    if limits:
        used, limit = largest["total_unzipped_bytes"], limits["unzipped_bytes"]
        layers = len(largest["layers"]) + len(largest.get("layer_arns", ()))
        subject = f"  largest function{' with layers' if has_layers else ''}: {largest['name']}, {megabytes(used)}"
        yield (
            f"{subject} of {megabytes(limit)} unzipped ({used / limit:.0%}), {megabytes(limit - used)} left"
            if used <= limit
            else f"{subject} unzipped, {megabytes(used - limit)} above the limit of {megabytes(limit)}"
        )
        if has_layers:
            yield f"  layers of this function: {layers} of {limits['layers']}"


def _sharing(functions: int, zips: int, size: str) -> str:
    """Format how many functions share how many packages. *size* is the formatted size of the largest package."""
    if zips > 1:
        return f"{functions} functions in {zips} packages (up to {size} each)"
    return f"{count(functions, 'function')} {'in' if functions == 1 else 'share'} 1 package ({size})"


def _left_out(result: Result, *, verbose: bool) -> list[str]:
    if result.plan.packages is None or result.refused:
        return []
    trees = [plan.tree for plan in result.plan.packages if plan.tree is not None and (verbose or plan.reused is None)]
    # Several packages can contain the same directories.
    left_out = sorted({each.path: each for tree in trees for each in tree.ignored}.values(), key=lambda each: each.path)
    if not left_out:
        return []
    if verbose:
        return ["files excluded from packages:", *(f"  {each.path}: {each.reason}" for each in left_out)]
    names = ", ".join(each.path for each in left_out[:_LEFT_OUT])
    more = f" and {len(left_out) - _LEFT_OUT} more (-v lists them)" if len(left_out) > _LEFT_OUT else ""
    return [f"files excluded from packages: {names}{more}"]


def _closing(result: Result) -> str:
    seconds = f"{result.build.seconds:.2f} s"
    if result.refused:
        return f"stopped after {seconds} without downloading or building: the layers could not be deployed"
    if all(each.build.reused for each in result.targets):
        return f"nothing to do ({seconds})"
    fetched = ""
    # A wheel that several targets need is downloaded once.
    if pins := {pin.sha256: pin for each in result.targets for pin in each.fetched}:
        size = sum(pin.size or 0 for pin in pins.values())
        fetched = f", downloaded {count(len(pins), 'wheel')}{f' ({megabytes(size)})' if size else ''}"
    return f"done in {seconds}{fetched}"
