"""``lamina publish``: build, plan from what AWS holds, and publish the layers that it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.cli.options import add_plans, add_regions

if TYPE_CHECKING:
    import argparse

__all__ = ["EXAMPLE", "HELP", "configure", "run"]

HELP = (
    "Publish the layers of a service, after building them. A new version is published exactly when none of the existing "
    "ones has the locked content; only what the bucket does not have yet is uploaded."
)
EXAMPLE = """\
examples:
  lamina publish --dry-run                      say what would be published, why, and how much would be sent
  lamina publish                                do it; the ARNs go to stdout
  lamina publish --region eu-west-1 --json      elsewhere; the report as JSON
  lamina publish --check                        exit 1 if anything would change
  lamina publish --env-file layers.env          LAMINA_LAYER_COMMON=arn:… for the next step of a pipeline
  lamina publish --upload-only && cdk deploy    have the layer in the bucket, and CloudFormation publish it
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.add_argument("--layer", action="append", default=[], metavar="NAME", help="this layer only; may be repeated")
    add_regions(parser)
    add_plans(parser)
    parser.add_argument(
        "--upload-only", action="store_true", help="put the layers together in the bucket, and publish no version"
    )
    parser.add_argument("--output", metavar="FILE", help="write the JSON report to a file, too")
    parser.add_argument("--env-file", metavar="FILE", help="write the ARNs as NAME=value to a file")


def run(arguments: argparse.Namespace) -> int:
    """Publish; 1 where a finding is an error, or where `--check` sees a change."""
    from lamina.cli import _publishing  # noqa: PLC0415 - slow to import, like everything that talks to AWS

    return _publishing.run(arguments)
