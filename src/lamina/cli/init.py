"""``lamina init``: write the configuration that the repository suggests."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.console import Console

if TYPE_CHECKING:
    import argparse

    from lamina.pipeline.proposal import Proposal

HELP = "write `[tool.lamina]` from what the repository shows"
EXAMPLE = """\
examples:
  lamina init --dry-run                  show what would be written
  lamina init                            append it to pyproject.toml
  lamina init --runtime python3.13       say what the repository does not
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options to *parser*."""
    parser.add_argument("--dry-run", action="store_true", help="show the configuration, and write nothing")
    parser.add_argument("--runtime", metavar="NAME", help="such as python3.13 (default: what the project asks for)")
    parser.add_argument("--architecture", metavar="NAME", help="x86_64 or arm64 (default: x86_64)")


def run(args: argparse.Namespace) -> int:
    """Propose, print what is proposed on stdout, and write it unless this is a dry run."""
    from lamina.pipeline.proposal import propose, write

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
    console.say(f"{'Would write' if args.dry_run else 'Wrote'} this to `{proposal.path}`")
    console.note(f"the runtime is from {proposal.runtime_reason}")
    if not proposal.handlers:
        console.warn(
            "No handler found: this builds layers only",
            hint="add `source` and a table `functions` for the packages: lamina build --help",
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
