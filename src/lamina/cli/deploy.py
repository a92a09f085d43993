"""``lamina deploy``: publish, then bring the functions to their new code and layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.cli.options import add_plans, add_regions

if TYPE_CHECKING:
    import argparse

__all__ = ["EXAMPLE", "HELP", "configure", "run"]

HELP = (
    "Publish the layers of a service, then bring its functions to their new code and layers, in an order that never exceeds Lambda's limit; "
    "then publish a version of each function and move its alias. If anything fails everything is put back."
)
EXAMPLE = """\
examples:
  lamina deploy --dry-run                       say what would be published and updated, in which order, and why
  lamina deploy --alias live                    do it, and move the alias to versions that are complete
  lamina deploy --check                         exit 1 if anything would change
  lamina deploy --create --role ARN             make the functions that do not exist
  lamina deploy --migrate                       say how functions come from fat zips to layers, also with other tools
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.add_argument(
        "--function", action="append", default=[], metavar="NAME", help="this function only; may be repeated"
    )
    parser.add_argument("--alias", metavar="NAME", help="instead of the configured alias; made where it is missing")
    add_regions(parser)
    parser.add_argument("--create", action="store_true", help="make functions that do not exist; needs --role")
    parser.add_argument("--role", metavar="ARN", help="the role that new functions run as")
    add_plans(parser).add_argument(
        "--migrate", action="store_true", help="print how functions come to their layers, as Markdown; change nothing"
    )


def run(arguments: argparse.Namespace) -> int:
    """Deploy; 1 where a finding is an error, or where `--check` sees a change."""
    from lamina.cli import _deploying  # noqa: PLC0415 - slow to import, like everything that talks to AWS

    return _deploying.run(arguments)
