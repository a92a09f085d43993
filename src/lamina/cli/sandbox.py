"""``lamina sandbox``: an embedded AWS on loopback, for trying everything without an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["EXAMPLE", "HELP", "configure", "run"]

HELP = (
    "Start an emulated AWS on a free port of loopback. With a command it runs that with the environment that makes AWS tools talk to it, and "
    "stops afterwards; without one it prints that environment and runs until it is interrupted."
)
EXAMPLE = """\
examples:
  lamina sandbox -- sh -c 'aws s3 mb s3://layers && lamina publish'
  lamina sandbox --keep-state                   buckets and functions are there again the next time
  lamina sandbox > sandbox.env &                the lines to be read by: . ./sandbox.env

Functions run there under the target's own minor version of Python, with their layers, their package and nothing else.
Its credentials are dummies, it listens on 127.0.0.1 only, and it checks no permissions.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    import argparse  # noqa: PLC0415

    parser.add_argument("--keep-state", action="store_true", help="keep what it holds in .lamina/sandbox between runs")
    parser.add_argument("--region", metavar="NAME", help="where the sandbox is to be (default: us-east-1)")
    parser.add_argument("--runtime", metavar="NAME", help="instead of the configured runtime, such as python3.13")
    parser.add_argument(
        "--python",
        metavar="FILE",
        help="a Python that has the server (MiniStack) installed, instead of one that lamina sets up",
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="[-- COMMAND]", help="what to run with it")


def run(arguments: argparse.Namespace) -> int:
    """Run the sandbox, and return the command's exit code."""
    from lamina.cli import _sandboxing  # noqa: PLC0415 - slow to import, and `--help` needs none of it

    return _sandboxing.run(arguments)
