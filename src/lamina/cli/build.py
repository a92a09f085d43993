"""``lamina build``: lock in, layers and function packages out, with a summary worth reading."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from lamina.cli.options import add_build, build_options

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from lamina.pipeline.build import Result

HELP = (
    "Build the layers and function packages of a service from its lock, into `.lamina/`. "
    "What has not changed is not made again. At the root of a repository it builds every service below."
)
EXAMPLE = """\
examples:
  lamina build                                  build what `[tool.lamina]` describes
  lamina build --dry-run                        say what would be fetched and built, with sizes
  lamina build --architecture arm64 --json      another target; the report as JSON
  lamina build --offline                        from the store alone
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.add_argument("--dry-run", action="store_true", help="say what would be fetched and built; write nothing")
    add_build(parser)


def run(arguments: argparse.Namespace) -> int:
    """Build, and say what was done and why; 1 where a finding is an error."""
    started = time.perf_counter()
    # With `-v` somebody wants to know what is left out of the packages, and only walking the sources tells.
    if not (arguments.dry_run or arguments.verbose) and (document := _unchanged(arguments)) is not None:
        document |= {"seconds": round(time.perf_counter() - started, 3)}
        return _show(arguments, document)
    # From here on the pipeline is imported, which takes longer than all that a build with nothing to do does.
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
    """Run the pipeline and show its result."""
    from lamina.aws.store.team import team_store
    from lamina.cli import build_summary
    from lamina.cli.console import Console
    from lamina.pipeline.build import build
    from lamina.project.file import find_project

    project = find_project(start)
    with Console.of(arguments) as console:
        result = build(project, build_options(arguments), team_store=team_store, reporter=console)
    return _show(arguments, build_summary.document(result, project=project), result)


def _show(arguments: argparse.Namespace, document: dict[str, Any], result: Result | None = None) -> int:
    """Show the report's *document*, and the *result* if anything was looked at; findings of then are findings of now."""
    findings = [finding for each in (document, *document.get("other_targets", ())) for finding in each["findings"]]
    if arguments.json:
        print(json.dumps(document, indent=2))
    has_errors = any(row["severity"] == "error" for row in findings)
    if result is not None or has_errors or not arguments.quiet:
        from lamina.cli import build_summary
        from lamina.cli.console import Console

        console = Console.of(arguments)
        if not arguments.json:
            console.say(*build_summary.lines(document, result, verbose=arguments.verbose))
        # What is wrong for several targets is often the same.
        for severity, message in dict.fromkeys((row["severity"], row["message"]) for row in findings):
            console.finding(severity, message)
    return int(has_errors)
