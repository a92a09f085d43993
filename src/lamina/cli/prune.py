"""``lamina prune``: delete the layer versions that nobody uses; a dry run unless asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.cli.options import add_regions

if TYPE_CHECKING:
    import argparse

__all__ = ["EXAMPLE", "HELP", "configure", "run"]

HELP = (
    "Say which layer versions nobody needs, and with --apply delete them. Kept are the newest, the young, and every version that a function, "
    "one of its published versions or an alias uses, or that a stack may go back to; also what others published, and what is shared."
)
EXAMPLE = """\
examples:
  lamina prune                            say what would be deleted, and how much that frees
  lamina prune --keep 10 --apply          delete it, but keep the ten newest versions of each layer
  lamina prune --all                      look at all layers that lamina has published in the account
  lamina prune --objects                  also at what the bucket has and no layer version needs
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.add_argument(
        "--keep", type=_positive, default=5, metavar="N", help="the newest versions of each layer (default: 5)"
    )
    parser.add_argument(
        "--keep-days", type=_days, default=14.0, metavar="DAYS", help="all that are younger (default: 14)"
    )
    parser.add_argument("--apply", action="store_true", help="delete; without it nothing is changed")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--layer",
        action="append",
        default=[],
        metavar="NAME",
        help="a layer by its name in Lambda, instead of the service's; may be repeated",
    )
    which.add_argument("--all", action="store_true", help="all layers in the account")
    parser.add_argument(
        "--objects",
        action="store_true",
        help="also objects in the bucket; not where accounts publish from it that are not in `roles`",
    )
    add_regions(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prune, or say what would be."""
    from lamina.cli import _pruning  # noqa: PLC0415 - slow to import, like everything that talks to AWS

    return _pruning.run(arguments)


def _positive(text: str) -> int:
    import argparse  # noqa: PLC0415

    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of versions, at least 1")
    return int(text)


def _days(text: str) -> float:
    import argparse  # noqa: PLC0415

    try:
        days = float(text)
    except ValueError:
        days = -1
    if not 0 <= days < float("inf"):
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of days")
    return days
