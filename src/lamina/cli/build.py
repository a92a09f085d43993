"""``lamina build``: lock in, layers and function packages out, with a summary worth reading."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

__all__ = ["EXAMPLE", "HELP", "configure", "run"]

HELP = (
    "Build the layers and function packages of a service from its lock, into `.lamina/`. "
    "What has not changed is not made again."
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
    if not arguments.dry_run and (document := _unchanged(arguments)) is not None:
        document |= {"reused": True, "seconds": round(time.perf_counter() - started, 3)}
        return _show(document, arguments)
    if arguments.dry_run:
        from lamina.cli import _planning  # noqa: PLC0415 - the pipeline is slow to import

        return _planning.run(arguments)
    from lamina.cli import _building  # noqa: PLC0415 - as above

    return _building.run(arguments)


def _unchanged(arguments: argparse.Namespace) -> dict[str, Any] | None:
    from lamina import fresh  # noqa: PLC0415

    root = fresh.locate(arguments.project or os.getcwd())  # noqa: PTH109 - a Path costs ten times as much
    return None if root is None else fresh.recall(root, asked(arguments))


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
    from lamina.cli._console import Console  # noqa: PLC0415

    console = Console.of(arguments)
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        from lamina.cli import _summary  # noqa: PLC0415

        for line in _summary.lines(document, reasons={}, verbose=arguments.verbose):
            console.say(line)
        console.say(f"nothing to do, in {document['seconds']:.2f} s")
    errors = 0
    for finding in document["findings"]:
        console.say(f"{console.paint(finding['severity'], finding['severity'] + ':')} {finding['message']}")
        errors += finding["severity"] == "error"
    return 1 if errors else 0
