"""``lamina build`` at the root of a workspace: build every service, print one table, and return the highest exit code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lamina.cli import build_summary
from lamina.cli.console import Console, emit_json
from lamina.cli.options import build_options
from lamina.cli.stopping import killable
from lamina.core.errors import CheckFailedError, ConfigError, LaminaError
from lamina.core.frozen import frozen
from lamina.core.text import count, megabytes, table
from lamina.pipeline import workspace

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from lamina.pipeline.workspace import ServiceResult, Workspace

_VERSION = "1"
_SHOWN = 20


@frozen
class _ServiceRow:
    """One service in the table."""

    name: str
    """The service's directory, relative to the workspace root."""
    summary: str
    is_unchanged: bool = False
    is_refused: bool = False
    """Whether the build stopped before fetching anything, because the result would exceed Lambda's limits."""
    document: Mapping[str, Any] | None = None
    """The build report, or None if the build failed."""
    error: LaminaError | None = None
    fetched: frozenset[str] = frozenset()
    """The SHA-256 hashes of the wheels that this build downloaded."""

    @property
    def findings(self) -> list[Mapping[str, Any]]:
        """The findings of all targets, as objects of the build report."""
        return [finding for each in build_summary.documents(self.document or {}) for finding in each["findings"]]

    @property
    def exit_code(self) -> int:
        """The exit code that a build of this service alone would have."""
        return 0 if self.failure is None else self.failure.exit_code

    @property
    def failure(self) -> LaminaError | None:
        """Why the service is not built or must not be deployed; ``None`` if neither is so."""
        messages = dict.fromkeys(row["message"] for row in self._errors)
        return self.error or (CheckFailedError("; ".join(messages)) if messages else None)

    @property
    def has_failed_checks(self) -> bool:
        """Whether layers and packages were written that must not be deployed."""
        return bool(self._errors) and not self.is_refused

    @property
    def outcome(self) -> str:
        """The last column of the table."""
        if self.has_failed_checks:
            return f"check failed: {', '.join(dict.fromkeys(row['rule'] for row in self._errors))}"
        return self.summary

    @property
    def _errors(self) -> list[Mapping[str, Any]]:
        return [row for row in self.findings if row["severity"] == "error"]


def run(arguments: argparse.Namespace, found: Workspace) -> int:
    """Build all services of the workspace *found*, or show their dry runs; return the highest exit code."""
    if arguments.dry_run:
        return _dry_run(arguments, found)
    started = time.perf_counter()
    with Console.of(arguments) as console, killable(arguments, console):
        rows = _rows(arguments, found, console)
    seconds = time.perf_counter() - started
    if arguments.json:
        emit_json(_document(rows, seconds))
    else:
        console.say(*_table(rows, console))
        console.say(_closing(rows, seconds))
    for row in rows:
        for finding in row.findings:
            console.finding(finding["severity"], f"{row.name}: {finding['message']}")
        if row.error is not None:
            console.failure(row.error, subject=row.name)
    return max((row.exit_code for row in rows), default=0)


def _rows(arguments: argparse.Namespace, found: Workspace, console: Console) -> list[_ServiceRow]:
    options = build_options(arguments)
    rows: dict[Path, _ServiceRow] = {}
    changed = []
    for service in found.services:
        document = workspace.recall(service, options.asked())
        if document is None:
            changed.append(service)
        else:
            document |= {"seconds": 0.0}
            name = _name(service, found.root)
            rows[service] = _ServiceRow(name=name, summary="unchanged", is_unchanged=True, document=document)
    if changed:
        from lamina.aws.store.team import team_store

        for made in workspace.build(changed, options, team_store=team_store, reporter=console):
            rows[made.project] = _made(made, found.root)
    return [rows[service] for service in found.services]


def _made(made: ServiceResult, root: Path) -> _ServiceRow:
    name = _name(made.project, root)
    if made.result is None:
        return _ServiceRow(name=name, summary=f"failed: {made.error}".partition("\n")[0], error=made.error)
    is_unchanged = all(each.build.reused for each in made.result.targets)
    changed = [layer for each in made.result.targets for layer in each.plan.decided if layer.reused is None]
    reasons = [f"{layer.name}: {layer.reason}" for layer in changed]
    if made.result.refused:
        summary = "not built: too large"
    elif is_unchanged:
        summary = "unchanged"
    else:
        summary = f"built in {made.seconds:.2f} s" + (f" ({reasons[0]})" if reasons else "")
    return _ServiceRow(
        name=name,
        summary=summary,
        is_unchanged=is_unchanged,
        is_refused=made.result.refused,
        document=build_summary.document(made.result, project=made.project),
        fetched=frozenset(pin.sha256 for each in made.result.targets for pin in each.fetched),
    )


def _name(service: Path, root: Path) -> str:
    return service.relative_to(root).as_posix()


def _table(rows: Iterable[_ServiceRow], console: Console) -> Iterator[str]:
    """
    Yield a table of the services that were built or that fail, or of all services if *console* is verbose.

    Otherwise the table has at most `_SHOWN` + 1 services. If there are more, failed services are shown first of all.
    """
    rows, verbose = list(rows), console.verbose
    shown = [row for row in rows if verbose or not row.is_unchanged or row.has_failed_checks]
    hidden = 0
    if not verbose and len(shown) > _SHOWN + 1:
        most = {row.name for row in sorted(shown, key=lambda row: row.exit_code == 0)[:_SHOWN]}
        hidden = len(shown) - _SHOWN
        shown = [row for row in shown if row.name in most]
    if not shown:
        return
    cells = []
    for row in shown:
        built = build_summary.documents({} if row.is_refused else row.document or {})
        layers = sum(layer["zipped_bytes"] for each in built for layer in each["layers"])
        functions = len(built[0]["functions"]) if built else 0
        cells.append((row.name, megabytes(layers) if built else "", str(functions) if built else ""))
    # `table` would align the summaries to the right.
    lines = list(table(("service", "layers", "functions"), cells))
    width = max(len(line) for line in lines)
    has_space = console.table_width is None or width + 2 + max(len(row.outcome) for row in shown) <= console.table_width
    for line, summary in zip(lines, ("", *(row.outcome for row in shown)), strict=True):
        if has_space or not summary:
            yield f"{line.ljust(width)}  {summary}".rstrip()
        else:
            yield line
            yield f"    {summary}"
    if hidden:
        yield f"  and {hidden} more (-v lists them)"


def _closing(rows: list[_ServiceRow], seconds: float) -> str:
    functions = sum(len(row.document["functions"]) for row in rows if row.document)
    unsound = sum(row.has_failed_checks for row in rows)
    unchanged = sum(row.is_unchanged and not row.has_failed_checks for row in rows)
    failed = sum(row.error is not None for row in rows)
    refused = sum(row.is_refused for row in rows)
    counts = [
        (len(rows) - unsound - unchanged - refused - failed, "built"),
        (unchanged, "unchanged"),
        (unsound, "with failed checks"),
        (refused, "not built"),
        (failed, "failed"),
    ]
    listed = ", ".join(f"{number} {word}" for number, word in counts if number)
    # Services planned at the same time may each list a wheel that is downloaded only once.
    fetched = len(frozenset().union(*(row.fetched for row in rows)))
    downloaded = f", downloaded {count(fetched, 'wheel')}" if fetched else ""
    return f"{count(len(rows), 'service')} ({listed}), {count(functions, 'function')} in {seconds:.2f} s{downloaded}"


def _document(rows: Iterable[_ServiceRow], seconds: float) -> dict[str, object]:
    return {
        "version": _VERSION,
        "services": [
            {
                "project": row.name,
                **(row.document or {}),
                **({} if row.failure is None else {"error": row.failure.document()}),
            }
            for row in rows
        ],
        "seconds": round(seconds, 3),
    }


def _dry_run(arguments: argparse.Namespace, found: Workspace) -> int:
    from lamina.cli import build_dry_run

    if arguments.json:
        raise ConfigError(
            "`--dry-run --json` needs exactly one service",
            hint="select a service with `--project DIR`, or build all services with `lamina build --json`",
        )
    console = Console.of(arguments)
    worst = 0
    for service in found.services:
        console.title(_name(service, found.root))
        try:
            code = build_dry_run.run(arguments, service)
        except LaminaError as error:
            console.failure(error)
            code = error.exit_code
        worst = max(worst, code)
    return worst
