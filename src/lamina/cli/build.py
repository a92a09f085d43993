"""``lamina build``: build the layers and function packages of a service and print a summary."""

from __future__ import annotations

import os
import time

from lamina.cli.options import add_build, build_options

TYPE_CHECKING = False  # a build with nothing to do does not import `typing`
if TYPE_CHECKING:
    import argparse
    from pathlib import Path
    from typing import Any

    from lamina.pipeline.build import Result

HELP = (
    "Build a service's layers and function packages from its lock file into `.lamina/`. Unchanged layers and packages are reused. "
    "At the root of a workspace, build all services."
)
EXAMPLE = """\
examples:
  lamina build                                # build what `[tool.lamina]` configures
  lamina build --dry-run                      # show downloads, builds and sizes
  lamina build --architecture arm64 --json    # build for arm64 and print a JSON report
  lamina build --offline                      # build without the network
"""
PAGE = "tutorial.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina build`` to *parser*."""
    parser.add_argument("--dry-run", action="store_true", help="show what would be downloaded and built, with sizes")
    add_build(parser)


def run(arguments: argparse.Namespace) -> int:
    """
    Build the service or workspace, or show its dry run. Return 1 if a finding is an error.

    For a workspace, return the highest exit code of its services.
    """
    started = time.perf_counter()
    # `-v` lists the files left out of the packages, which needs a walk of the sources.
    if not (arguments.dry_run or arguments.verbose) and (document := _unchanged(arguments)) is not None:
        document |= {"seconds": round(time.perf_counter() - started, 3)}
        return _show(arguments, document)
    # Import the pipeline only now: importing it takes longer than a whole build with nothing to do.
    from pathlib import Path

    from lamina.pipeline import workspace

    start = Path(arguments.project or ".")
    if (found := workspace.find(start)) is not None:
        from lamina.cli import build_workspace

        return build_workspace.run(arguments, found)
    if arguments.dry_run:
        from lamina.cli import build_dry_run

        return build_dry_run.run(arguments, start)
    return _build(arguments, start)


def _unchanged(arguments: argparse.Namespace) -> dict[str, Any] | None:
    from lamina.pipeline import state

    root = state.locate(arguments.project or os.getcwd())
    return None if root is None else state.recall(root, build_options(arguments).asked())


def _build(arguments: argparse.Namespace, start: Path) -> int:
    from lamina.aws.store.team import team_store
    from lamina.cli import build_summary
    from lamina.cli.console import Console
    from lamina.cli.stopping import killable
    from lamina.pipeline.build import build
    from lamina.project.file import find_project

    project = find_project(start)
    with Console.of(arguments) as console, killable(arguments, console):
        result = build(project, build_options(arguments), team_store=team_store, reporter=console)
    return _show(arguments, build_summary.document(result, project=project), result)


def _show(arguments: argparse.Namespace, document: dict[str, Any], result: Result | None = None) -> int:
    """
    Print the build report *document* as JSON or as a summary, then its findings; return 1 if a finding is an error.

    If nothing has changed since the last build, *document* is the last build's report, and *result* is None.
    """
    findings = [finding for each in (document, *document.get("other_targets", ())) for finding in each["findings"]]
    if arguments.json:
        from lamina.cli.console import emit_json

        emit_json(document)
    has_errors = any(row["severity"] == "error" for row in findings)
    if result is not None or has_errors or not arguments.quiet:
        from lamina.cli import build_summary
        from lamina.cli.console import Console

        console = Console.of(arguments)
        if not arguments.json:
            console.say(*build_summary.lines(document, result, verbose=arguments.verbose, width=console.table_width))
        # Several targets often have the same finding.
        for severity, message in dict.fromkeys((row["severity"], row["message"]) for row in findings):
            console.finding(severity, message)
    return int(has_errors)
