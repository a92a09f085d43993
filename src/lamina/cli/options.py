"""Options that the commands for AWS share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["add_plans", "add_regions"]


def add_regions(parser: argparse.ArgumentParser) -> None:
    """Let regions be named; `PublishConfig.at` takes them."""
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="NAME",
        help="instead of the configured regions; may be repeated",
    )


def add_plans(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Let the plan be asked for instead of what it says; return the group, for further things of that kind."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--dry-run", action="store_true", help="say what would be done; change nothing in AWS")
    group.add_argument("--check", action="store_true", help="like --dry-run, and exit 1 if anything would be done")
    return group
