"""``lamina schema``: print the JSON Schema of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

HELP = "Print the JSON Schema of the configuration, with which editors complete keys, show their meaning and mark mistakes."
EXAMPLE = """\
examples:
  lamina schema > lamina.schema.json                 # for lamina.toml
  lamina schema --pyproject > lamina.schema.json     # for [tool.lamina] in pyproject.toml
"""
PAGE = "how-to/editor.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina schema`` to *parser*."""
    parser.add_argument(
        "--pyproject", action="store_true", help="print a schema of pyproject.toml (default: of lamina.toml)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the schema."""
    from lamina.cli.console import emit_json
    from lamina.project.schema import schema

    emit_json(schema(pyproject=arguments.pyproject))
    return 0
