"""``lamina init``: create a configuration by inspecting the project."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.console import Console

if TYPE_CHECKING:
    import argparse

    from lamina.pipeline.proposal.propose import Proposal

HELP = (
    "Create a configuration by inspecting the project: find the Python version, the sources and the handlers, and add "
    "`[tool.lamina]` to `pyproject.toml`."
)
EXAMPLE = """\
examples:
  lamina init --dry-run               # show the configuration without writing it
  lamina init                         # append it to pyproject.toml
  lamina init --runtime python3.13    # choose the runtime yourself
"""
PAGE = "tutorial.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina init`` to *parser*."""
    parser.add_argument("--dry-run", action="store_true", help="show the configuration without writing it")
    parser.add_argument("--runtime", metavar="NAME", help="set the runtime, such as python3.13 (default: detected)")
    parser.add_argument("--architecture", metavar="NAME", help="set x86_64 or arm64 (default: x86_64)")


def run(args: argparse.Namespace) -> int:
    """Write a proposed configuration to the project, unless this is a dry run, and print it, or a JSON report, to stdout."""
    from lamina.pipeline.proposal.propose import propose, write

    console = Console.of(args)
    proposal = propose(
        Path(args.project or "."),
        today=dt.datetime.now(tz=dt.UTC).date(),
        runtime=args.runtime,
        architecture=args.architecture,
    )
    if not args.dry_run:
        write(proposal)
    print(_report(proposal, written=not args.dry_run) if args.json else proposal.text, end="")
    console.say(f"{'would write' if args.dry_run else 'wrote'} this configuration to `{proposal.path}`")
    console.note(f"runtime taken from {proposal.runtime_reason}")
    if not proposal.handlers:
        console.warn(
            "no handlers found, so only layers are built",
            hint="to build function packages, add `source` and `[tool.lamina.functions]`",
        )
    return 0


def _report(proposal: Proposal, *, written: bool) -> str:
    content = {
        "version": "1",
        "path": proposal.path.as_posix(),
        "written": written,
        "target": {"runtime": proposal.target.runtime, "architecture": str(proposal.target.architecture)},
        "source": list(proposal.source),
        "functions": [{"name": handler.name, "handler": handler.handler} for handler in proposal.handlers],
        "text": proposal.text,
    }
    return json.dumps(content, indent=2) + "\n"
