"""``lamina build``: lock in, layers and function packages out, with a summary worth reading."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

__all__ = ["EXAMPLE", "HELP", "asked", "configure", "documents", "run"]

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
    parser.add_argument("--offline", action="store_true", help="use what is in the store, and no network")
    parser.add_argument("--runtime", metavar="NAME", help="instead of the configured runtime, such as python3.13")
    parser.add_argument("--architecture", metavar="NAME", help="instead of the configured one: x86_64 or arm64")
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="add a dependency group")
    parser.add_argument("--extra", action="append", default=[], metavar="NAME", help="add an extra")


def run(arguments: argparse.Namespace) -> int:
    """Build, and say what was done and why; 1 where a finding is an error."""
    started = time.perf_counter()
    # With `-v` somebody wants to know what is left out of the packages, and only walking the sources tells.
    if not (arguments.dry_run or arguments.verbose) and (document := _unchanged(arguments)) is not None:
        document |= {"seconds": round(time.perf_counter() - started, 3)}
        return _show(document, arguments)
    if (services := _services(arguments)) is not None:
        return services
    if arguments.dry_run:
        from lamina.cli import build_dry_run  # noqa: PLC0415 - the pipeline is slow to import

        return build_dry_run.run(arguments)
    from lamina.cli import _building  # noqa: PLC0415 - as above

    return _building.run(arguments)


def _unchanged(arguments: argparse.Namespace) -> dict[str, Any] | None:
    from lamina.pipeline import state  # noqa: PLC0415

    root = state.locate(arguments.project or os.getcwd())  # noqa: PTH109 - a Path costs ten times as much
    return None if root is None else state.recall(root, asked(arguments))


def _services(arguments: argparse.Namespace) -> int | None:
    """Build all services, if the directory is the root of several, and return the exit code."""
    from pathlib import Path  # noqa: PLC0415

    from lamina.pipeline import workspace  # noqa: PLC0415

    found = workspace.find(Path(arguments.project or "."))
    if found is None:
        return None
    from lamina.cli import build_workspace  # noqa: PLC0415

    return build_workspace.run(arguments, found)


def documents(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the documents of all targets, that of the first one first."""
    return [document, *document.get("other_targets", ())] if document else []


def asked(arguments: argparse.Namespace) -> dict[str, object]:
    """Return what the command line says that could change the result."""
    return {
        "runtime": arguments.runtime,
        "architecture": arguments.architecture,
        "groups": list(arguments.group),
        "extras": list(arguments.extra),
    }


def _show(document: dict[str, Any], arguments: argparse.Namespace) -> int:
    """Show a build that was found done; findings of then are findings of now."""
    from lamina.cli.console import Console  # noqa: PLC0415

    console = Console.of(arguments)
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        from lamina.cli import build_summary  # noqa: PLC0415

        for each in documents(document):
            for line in build_summary.lines(each, reasons={}, verbose=arguments.verbose):
                console.say(line)
        console.say(f"nothing to do, in {document['seconds']:.2f} s")
    errors = 0
    findings = [(row["severity"], row["message"]) for each in documents(document) for row in each["findings"]]
    for severity, message in dict.fromkeys(findings):
        console.say(f"{console.paint(severity, severity + ':')} {message}")
        errors += severity == "error"
    return 1 if errors else 0
